"""Calibration images that are not good: those with a peak that the tail of all the others does not expect.

One defect among the calibration images raises the threshold above every defect like it, and nobody looks at images that
were only held out. So each image's highest peak is judged by a tail fitted without it: of an odd one, fewer than
`EXPECTED` such peaks are expected on all the images together.

Good images have rare places too, and a threshold made without them would break its promise. The tail is therefore
taken to be heavy (`HEAVY`) whatever the others' peaks say, few images may be called odd, and none among fewer than
`FEWEST_IMAGES`. Several odd images hide one another when they are taken out one at a time; so it begins with as many as
may be odd, as Rosner's test for several outliers does (Technometrics 25, 1983).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flawmap.export.calibration_record import ParetoTail

FEWEST_IMAGES = 8
MOST_SHARE = 0.1  # of the images may be odd, or one
EXPECTED = 0.05
HEAVY = 0.3  # shape of the tail at least: with it a rate falls as about the third power of the score

Peaks = NDArray[np.float64]


def most_odd(n_images: int) -> int:
    """How many of `n_images` may be odd."""
    return 0 if n_images < FEWEST_IMAGES else max(1, int(n_images * MOST_SHARE))


def find_odd(peaks: Sequence[Peaks], fit: Callable[[Peaks, int], ParetoTail]) -> dict[int, float]:
    """Which images are odd, the oddest first: index -> how many peaks as high are expected on all images together.

    `peaks`: of every image's regions, float64 [n] each; `fit(ascending peaks, number of images)` gives their tail.
    """
    highest = np.array([image.max(initial=-np.inf) for image in peaks])
    order = np.argsort(-highest, kind="stable")
    for n_odd in range(most_odd(len(peaks)), 0, -1):
        others = np.sort(np.concatenate([peaks[i] for i in order[n_odd:]]))
        if not len(others):
            continue
        tail = fit(others, len(peaks) - n_odd)
        heavy = tail.model_copy(update={"shape": max(tail.shape, HEAVY)})
        odd = order[:n_odd]
        above = np.maximum(highest[odd], tail.threshold)
        expected = len(peaks) * tail.rate * 10 ** -heavy.decades(above)
        if expected.max() < EXPECTED:
            return {int(i): float(n) for i, n in zip(odd, expected, strict=True)}
    return {}
