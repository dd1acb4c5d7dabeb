"""FROC: how many defects are found, at how many false regions on a good image, for every threshold there is.

Free-response receiver operating characteristic: Bunch, Hamilton, Sanderson and Simmons, "A free response approach to
the measurement and characterization of radiographic observer performance", Proc. SPIE 127 (1977). Here false regions
are counted on good images alone, as they are what a false alarm costs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.evaluation.image_figures import size_name
from flawmap.inspect.evaluation.matching import ImageOutcome

RATES = (0.0, 0.1, 0.5, 1.0)  # false regions a good image
CURVE_POINTS_MAX = 500


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold at which good images show at most `rate` false regions on average."""

    rate: float
    score: float  # regions at or above it count
    false_regions: int  # on all good images together, at this score
    from_candidates_end: bool  # no lower score is on record: `rate` is not used up


@dataclass(frozen=True)
class Froc:
    """Falling scores, and what stands at or above each of them."""

    scores: NDArray[np.float64]  # [k]
    false_regions: NDArray[np.int64]  # [k], on all good images together
    found: NDArray[np.int64]  # [k], defects
    n_good: int
    n_defects: int
    complete_from: float  # score: what lies below it is not all on record


def froc(outcomes: Sequence[ImageOutcome], size: str | None = None) -> Froc:
    """The whole curve: one point for every score at which another defect is found, and the end of what is known.

    `size`: one of SIZE_NAMES, to ask for the defects of that size alone.
    """
    complete_from = known_from(outcomes)
    asked = [d.score for o in outcomes for d in o.defects if size is None or size_name(d.size_px) == size]
    defects = np.sort([score for score in asked if score >= complete_from])
    false = _false_on_good(outcomes)
    scores = np.unique([*defects, complete_from])[::-1] if math.isfinite(complete_from) else np.zeros(0)
    return Froc(
        scores=scores,
        false_regions=_count_from(false, scores),
        found=_count_from(defects, scores),
        n_good=sum(outcome.is_good for outcome in outcomes),
        n_defects=len(asked),
        complete_from=complete_from,
    )


def operating_points(outcomes: Sequence[ImageOutcome], rates: Sequence[float] = RATES) -> list[OperatingPoint]:
    """The lowest threshold on record for each of `rates`; none without a good image."""
    n_good = sum(outcome.is_good for outcome in outcomes)
    if not n_good:
        return []
    complete_from = known_from(outcomes)
    false = _false_on_good(outcomes)
    points = []
    for rate in rates:
        allowed = math.floor(rate * n_good + 1e-9)  # 0.1 of 30 images are 3
        lowest = -math.inf
        if allowed < len(false):  # just above the first false region too many; scores are float32
            lowest = float(np.nextafter(np.float32(false[len(false) - 1 - allowed]), np.float32(np.inf)))
        score = max(lowest, complete_from)
        points.append(
            OperatingPoint(rate, score, int((false >= score).sum()), from_candidates_end=lowest < complete_from)
        )
    return points


def known_from(outcomes: Sequence[ImageOutcome]) -> float:
    """The score from which on every false region of the good images is on record; inf without an image.

    A defective image with more candidates than are kept does not raise it: at lower scores recall is a lower bound.
    """
    counted = [o for o in outcomes if o.is_good] or outcomes
    return max((outcome.complete_from for outcome in counted), default=math.inf)


def as_json(curve: Froc) -> dict[str, list[float]]:
    """Three lists of equal length, thinned evenly to CURVE_POINTS_MAX; empty without a good image or a defect."""
    if not curve.n_good or not curve.n_defects:
        return {"score": [], "false_regions_per_good_image": [], "region_recall": []}
    n_points = min(len(curve.scores), CURVE_POINTS_MAX)
    kept = np.linspace(0, len(curve.scores) - 1, n_points).round().astype(int)
    return {
        "score": curve.scores[kept].tolist(),
        "false_regions_per_good_image": (curve.false_regions[kept] / curve.n_good).tolist(),
        "region_recall": (curve.found[kept] / curve.n_defects).tolist(),
    }


def _false_on_good(outcomes: Sequence[ImageOutcome]) -> NDArray[np.float64]:
    """Scores of all false regions on good images, rising."""
    return np.sort(np.array([r.score for o in outcomes if o.is_good for r in o.false_regions], np.float64))


def _count_from(rising: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many of `rising` are at or above each of `scores`."""
    return np.asarray(len(rising) - np.searchsorted(rising, scores, side="left"), np.int64)
