"""The figures that images and regions give, each as a statistic that the bootstrap can take with other images.

On images: AUROC by severity; recall, precision and F1 by verdict, NG against the rest. On regions: the share of
defects found and the false regions on a good image, at a threshold.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.evaluation.bootstrap import Statistic, Weights
from flawmap.inspect.evaluation.matching import ImageOutcome

SIZES = (8, 25, 100)  # px, longer side: recall is reported up to each, and beyond
SIZE_NAMES = (*(f"<={size}" for size in SIZES), f">{SIZES[-1]}")


def size_name(size_px: int) -> str:
    """Which of SIZE_NAMES a defect of `size_px` belongs to."""
    return SIZE_NAMES[sum(size_px > size for size in SIZES)]


def image_statistics(outcomes: Sequence[ImageOutcome]) -> dict[str, Statistic]:
    """image_auroc, image_recall, image_precision, image_f1."""
    good = [o for o in outcomes if o.is_good]
    defective = [o for o in outcomes if not o.is_good]
    called_good = np.array([o.verdict == "NG" for o in good], np.float64)
    called = np.array([o.verdict == "NG" for o in defective], np.float64)

    def recall(_: Weights, w: Weights) -> NDArray[np.float64]:
        return np.asarray(w @ called / w.sum(axis=1))

    def precision(g: Weights, w: Weights) -> NDArray[np.float64]:
        return np.asarray(w @ called / (w @ called + g @ called_good))

    def f1(g: Weights, w: Weights) -> NDArray[np.float64]:
        return np.asarray(2 * (w @ called) / (w @ called + g @ called_good + w.sum(axis=1)))

    severities = np.array([o.severity for o in good]), np.array([o.severity for o in defective])
    return {
        "image_auroc": auroc_statistic(*severities),
        "image_recall": recall,
        "image_precision": precision,
        "image_f1": f1 if defective else undefined,  # without a defective image it would be 0 over the false alarms
    }


def auroc_statistic(good: NDArray[np.float64], defective: NDArray[np.float64]) -> Statistic:
    """Chance that a defective image is more severe than a good one, ties counting half (Mann and Whitney 1947)."""
    order = np.argsort(good)
    rising = good[order]
    below, up_to = (np.searchsorted(rising, defective, side=side) for side in ("left", "right"))

    def auroc(g: Weights, w: Weights) -> NDArray[np.float64]:
        counted = np.concatenate((np.zeros((len(g), 1)), np.cumsum(g[:, order], axis=1)), axis=1)
        beaten = (counted[:, below] + counted[:, up_to]) / 2  # good images below each defective one
        return np.asarray((beaten * w).sum(axis=1) / (g.sum(axis=1) * w.sum(axis=1)))

    return auroc if len(good) and len(defective) else undefined


def recall_statistic(outcomes: Sequence[ImageOutcome], score: float, size: str | None = None) -> Statistic:
    """Share of the defects (of one of SIZE_NAMES) that are found at `score`."""
    n_found, n_defects = np.array(
        [found_of(o, score, size) for o in outcomes if not o.is_good], np.float64
    ).reshape(-1, 2).T  # fmt: skip
    return lambda _, w: np.asarray(w @ n_found / (w @ n_defects))


def false_regions_statistic(outcomes: Sequence[ImageOutcome], score: float) -> Statistic:
    """False regions on a good image at `score`."""
    false = np.array([o.n_false(score) for o in outcomes if o.is_good], np.float64)
    return lambda g, _: np.asarray(g @ false / g.sum(axis=1))


def found_of(outcome: ImageOutcome, score: float, size: str | None = None) -> tuple[int, int]:
    """(defects found at `score`, defects) of one image, of one size or of all."""
    scores = [d.score for d in outcome.defects if size is None or size_name(d.size_px) == size]
    return sum(s >= score for s in scores), len(scores)


def undefined(g: Weights, _: Weights) -> NDArray[np.float64]:
    """The statistic of what cannot be said."""
    return np.full(len(g), math.nan)
