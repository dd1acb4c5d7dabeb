"""Evidence maps of different kinds made comparable: what is ordinary on good pixels becomes 0, what is rare becomes 1.

The rare end must be really rare. A damage head's logit hardly moves on 99,999 of 100,000 good pixels and then jumps:
measured there, its unit came out a hundred times too small, it drowned the residuals, and NG stood at a score of 65.
One pixel in a million is near to where verdicts fall (a false region of 100 px on every tenth 26-megapixel image is one
in 2.6 million).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDINARY, RARE = 1 - 1e-3, 1 - 1e-6  # quantiles of good pixels that a standardised score calls 0 and 1
SMALLEST_SCALE = 0.01  # of evidence that never varies: its rounding errors are not to become scores


@dataclass(frozen=True)
class Standardisation:
    """Location and scale of each evidence map on good pixels; tuples of one value a map."""

    location: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def identity(cls, n_maps: int) -> "Standardisation":
        """For a network that is still learning: scores that nobody reads."""
        return cls((0.0,) * n_maps, (1.0,) * n_maps)

    @classmethod
    def measure(cls, evidence: NDArray[np.float32]) -> "Standardisation":
        """From the evidence of good pixels, float32 [K, n]; a few million of them know what one in a million shows."""
        ordinary = np.quantile(evidence, ORDINARY, axis=1)
        rare = np.quantile(evidence, RARE, axis=1)
        return cls(tuple(ordinary.tolist()), tuple(np.maximum(rare - ordinary, SMALLEST_SCALE).tolist()))
