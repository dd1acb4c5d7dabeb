"""Evidence maps of different kinds made comparable: a score of 0 is what good images show once a megapixel, each
further 1 is ten times rarer.

What counts is how often the peaks of a map come, not its pixels: maps are cut into blocks, and the highest pixel of
each is a peak. The highest peaks above a threshold fall off as an exponential (Pickands 1975, with shape 0), whose mean
excess gives the scale. Pixel quantiles were tried before: what one pixel in a million shows says little about what one
region in a hundred million pixels shows, and the residual's edges drowned the head (docs/detection.md).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # px
TAIL_PEAKS = 60  # the highest ones tell the scale...
TAIL_SHARE = 0.25  # ...but no more than this share of all
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
    def measure(cls, evidence: Iterable[NDArray[np.float32]]) -> "Standardisation":
        """From the evidence of good tiles, float32 [K, H, W] each; more than a few megapixels give a sound scale.

        Pixels at -inf are not counted.
        """
        peaks, megapixels = [], 0.0
        for maps in evidence:
            peaks.append(block_peaks(maps))
            megapixels += int(np.count_nonzero(maps[0] > -np.inf)) / 1e6
        highest = np.sort(np.concatenate(peaks, axis=1).astype(np.float64), axis=1)[:, ::-1]  # [K, n]
        n_tail = min(TAIL_PEAKS, max(1, int(highest.shape[1] * TAIL_SHARE)))
        threshold = highest[:, min(n_tail, highest.shape[1] - 1)]
        mean_excess = np.maximum(highest[:, :n_tail].mean(axis=1) - threshold, SMALLEST_SCALE / math.log(10))
        once_a_megapixel = threshold + mean_excess * math.log(n_tail / megapixels)
        return cls(tuple(once_a_megapixel.tolist()), tuple((mean_excess * math.log(10)).tolist()))


def block_peaks(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Highest value of every block, maps [K, H, W] -> [K, n]; a rest at the far edges is not counted, nor is -inf."""
    n_maps, height, width = maps.shape
    rows, columns = min(BLOCK, height), min(BLOCK, width)
    n_y, n_x = height // rows, width // columns
    blocks = maps[:, : n_y * rows, : n_x * columns].reshape(n_maps, n_y, rows, n_x, columns)
    peaks = blocks.max(axis=(2, 4)).reshape(n_maps, -1)
    return np.asarray(peaks[:, peaks[0] > -np.inf], np.float32)
