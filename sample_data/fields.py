"""Random fields that every surface is made of: slow changes, streaks, grain.

A slow field is drawn on a coarse grid and enlarged, so that its cost follows its detail and not the picture's size.
All fields are float32 with mean about 0 and standard deviation about 1.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def white(rng: np.random.Generator, height: int, width: int) -> Field:
    """Independent normal values, float32 [height, width]."""
    return rng.standard_normal((height, width), dtype=np.float32)


def blur(layer: Field, sigma: float, sigma_y: float | None = None) -> Field:
    """A Gaussian of `sigma` px (across, and down unless `sigma_y` says otherwise) over a layer, float32 as it is."""
    return np.asarray(cv2.GaussianBlur(layer, (0, 0), sigmaX=sigma, sigmaY=sigma if sigma_y is None else sigma_y))


def slow(rng: np.random.Generator, height: int, width: int, period_y: float, period_x: float) -> Field:
    """A smooth field float32 [height, width] whose features are about `period_y` x `period_x` px large.

    The coarse grid has three nodes a period and is blurred before it is enlarged: without the blur the grid itself
    shows through the interpolation.
    """
    if min(period_y, period_x) >= 36:  # so slow that a quarter of the pixels tell all: linear steps in between
        quarter = slow(rng, -(-height // 4), -(-width // 4), period_y / 4, period_x / 4)
        return np.asarray(cv2.resize(quarter, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    step_y, step_x = max(period_y / 3, 1.0), max(period_x / 3, 1.0)
    rows, columns = int(np.ceil(height / step_y)) + 8, int(np.ceil(width / step_x)) + 8
    coarse = blur(white(rng, rows, columns), 1.0)
    coarse *= np.float32(2 * np.sqrt(np.pi))  # a Gaussian of sigma 1 leaves 1 / (2 sqrt(pi)) of white noise's deviation
    # Only a window of the coarse grid is looked at, with a random phase: no node sits at the same pixel twice.
    phase_y, phase_x = rng.uniform(2, 3, 2)
    if step_y == 1 and step_x == 1:
        return np.ascontiguousarray(coarse[4 : 4 + height, 4 : 4 + width])
    matrix = np.array([[1 / step_x, 0, phase_x], [0, 1 / step_y, phase_y]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(coarse, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT))


def slow_like(rng: np.random.Generator, other: NDArray[Any], period_y: float, period_x: float) -> Field:
    """A smooth field as `slow` draws it, as large as the plane `other`."""
    return slow(rng, other.shape[0], other.shape[1], period_y, period_x)


class Streaks:
    """Horizontal streaks over `height` x `width` px: about `length` px long, with Gaussian sigma `thickness` px across.

    Drawn some rows at a time: the pieces stay in the cache, and no full-size plane is asked of the system.
    """

    def __init__(self, rng: np.random.Generator, height: int, width: int, length: float, thickness: float) -> None:
        self.width = width
        self._step = max(length / 12, 1.0)  # px from one node of the coarse grid to the next
        self._coarse = blur(white(rng, height, int(np.ceil(width / self._step)) + 16), 4.0, thickness)
        self._coarse /= np.float32(max(float(self._coarse.std()), 1e-6))
        self._phase = float(rng.uniform(4, 12))

    def rows(self, rows: slice) -> Field:
        """Some of its rows, float32 [rows, width]."""
        piece = self._coarse[rows]
        matrix = np.array([[1 / self._step, 0, self._phase], [0, 1, 0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(piece, matrix, (self.width, len(piece)), flags=flags), np.float32)


def profile(rng: np.random.Generator, length: int, period: float) -> Field:
    """A smooth curve float32 [length], for edges that wave and yarns that change along their way."""
    return slow(rng, 1, length, 1.0, period)[0] if length else np.zeros(0, np.float32)


def add(scene: Field, layer: NDArray[np.floating[Any]] | Any, gain: float) -> None:
    """`scene += gain * layer` in place, in one pass and without a full-size temporary."""
    cv2.scaleAdd(layer, gain, scene, dst=scene)
