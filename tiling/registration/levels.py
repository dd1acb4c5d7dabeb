"""An image at native size and shrunk, for a search from coarse to fine."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.shrink import area_means

Grey = NDArray[np.float32]

COARSE_SIDE = 320
"""px of the longer side at the coarsest level: a Fourier transform of it takes a millisecond."""
_BLUR = 0.8  # px of a shrunk level: standard deviation of a Gaussian


@dataclass(frozen=True)
class Level:
    """A picture whose every pixel is the mean of `factor` x `factor` native ones, a little blurred after that.

    `pixels`: [h, w] float32, grey; at factor 1 the image itself, [H, W] or [H, W, 3] in its own dtype, not blurred.
    Level pixel i lies at native pixel `factor * i + (factor - 1) / 2`.
    """

    factor: int
    pixels: NDArray[Any]


def level_factors(height: int, width: int) -> list[int]:
    """Coarsest first, 1 last: 16, 4, 1 at 5120 px. Each is a multiple of the next."""
    coarse = -(-max(height, width) // COARSE_SIDE)
    if coarse <= 4:
        return [coarse, 1] if coarse > 1 else [1]
    middle = round(coarse**0.5)
    return [middle * -(-coarse // middle), middle, 1]


def make_levels(image: NDArray[Any]) -> list[Level]:
    """The levels of `image` ([H, W] or [H, W, 3], uint8, uint16 or float32), coarsest first.

    Rows and columns beyond a whole number of cells are left out of a shrunk level: its geometry stays exact.
    """
    levels, means, done = [Level(1, image)], image, 1
    for factor in level_factors(*image.shape[:2])[-2::-1]:
        means = _cell_means(means, factor // done)
        done = factor
        # Cell means of a sharp edge jump; a step of a patch reckons with slopes.
        levels.append(Level(factor, cv2.GaussianBlur(means, (0, 0), _BLUR)))
    return levels[::-1]


def grey(pixels: NDArray[Any]) -> Grey:
    """[h, w] float32 of a picture of any of the three dtypes, in its own grey levels; of several lights their mean."""
    if pixels.ndim == 3:
        if pixels.shape[2] != 3:
            return np.asarray(pixels.mean(axis=2, dtype=np.float32))
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(pixels, np.float32)


def _cell_means(pixels: NDArray[Any], cells: int) -> Grey:
    height, width = (side // cells for side in pixels.shape[:2])
    whole = pixels[: height * cells, : width * cells]
    return grey(area_means(whole, height, width))
