"""Confidence intervals by the bootstrap over images: how far would a figure move with other images of the same kind?

Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7 (1979); percentile intervals, good and
defective images drawn apart so that their numbers stay. A statistic is a function of how often each image was drawn,
so that the figure itself is the same function with every image drawn once.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 20_240_529
LEVEL = 0.95
NUMBERS_AT_ONCE = 2_000_000  # of weights: memory stays at tens of MiB however many images there are

Weights = NDArray[np.float64]  # [b, n]: how often each of n images was drawn, in b resamples
# (weights of the good images [b, n_good], of the defective [b, n_defective]) -> the figure [b], NaN where undefined
Statistic = Callable[[Weights, Weights], NDArray[np.float64]]


def estimates(n_good: int, n_defective: int, statistics: Mapping[str, Statistic]) -> dict[str, float | None]:
    """Each figure on the images as they are; None where it is not defined."""
    once = np.ones((1, n_good)), np.ones((1, n_defective))
    return {name: _number(float(_evaluated(statistic, *once)[0])) for name, statistic in statistics.items()}


def intervals(
    n_good: int, n_defective: int, statistics: Mapping[str, Statistic], *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, list[float] | None]:
    """[low, high] at LEVEL for each figure, the same for the same seed; None where no resample defines it.

    Resamples that leave a figure undefined (precision, where none of the images drawn was called NG) are left out.
    """
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[NDArray[np.float64]]] = {name: [] for name in statistics}
    at_once = max(1, NUMBERS_AT_ONCE // max(n_good, n_defective, 1))
    for first in range(0, resamples, at_once):
        count = min(at_once, resamples - first)
        good, defective = _draw(rng, count, n_good), _draw(rng, count, n_defective)
        for name, statistic in statistics.items():
            drawn[name].append(_evaluated(statistic, good, defective))
    return {name: _percentiles(np.concatenate(values)) for name, values in drawn.items()}


def _draw(rng: np.random.Generator, count: int, n: int) -> Weights:
    if not n:
        return np.zeros((count, 0))
    return rng.multinomial(n, np.full(n, 1 / n), size=count).astype(np.float64)


def _evaluated(statistic: Statistic, good: Weights, defective: Weights) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(statistic(good, defective), np.float64)


def _percentiles(values: NDArray[np.float64]) -> list[float] | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return [float(low), float(high)]


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
