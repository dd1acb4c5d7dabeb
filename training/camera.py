"""What the camera adds to a picture: noise and blur. Synthetic damage gets as much of both.

A network that learns from damage sharper than the picture finds sharpness, not damage: on commutators, whose pictures
are soft, the residual's image AUROC was 0.75 with crisp damage and 0.94 with soft one. Damage softer than the picture
does harm too: on magnetic tiles 0.92 became 0.80 (docs/detection.md).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.training.good_images import GoodImages, Normalisation

IMAGES = 8  # looked at
SIDE = 1024  # px of each, its middle
EDGE_SHARE = 0.005  # of the pixels, the steepest, are taken for edges
EDGE_REACH = 6  # px to each side, over which an edge rises
SHARPEST = 0.25  # quantile of the edges: wide transitions are not blur
STEP_WIDTH = 0.8  # px: what the measure gives for a step between two pixels


@dataclass(frozen=True)
class Camera:
    """`noise`: standard deviation in normalised units. `blur`: of the lens, standard deviation in px."""

    noise: float
    blur: float

    @classmethod
    def measure(cls, images: GoodImages, normalisation: Normalisation) -> "Camera":
        """From the middle of a few good images, or of what counts of them."""
        centres = [normalisation.apply(_centre(images, index)) for index in range(min(IMAGES, len(images.padded)))]
        noise = float(np.median([noise_of(centre) for centre in centres]))
        # A dark or saturated background shows none at all; what rounding to whole grey levels hides is there still.
        rounding = 12**-0.5 / max(normalisation.std) if images.dtype.kind == "u" else 0.0
        blurs = [blur_of(centre if centre.ndim == 2 else centre.mean(axis=2)) for centre in centres]
        return cls(max(noise, rounding), float(np.median(blurs)))


def noise_of(image: NDArray[np.float32]) -> float:
    """Standard deviation of the sensor's noise of [H, W] or [H, W, C].

    After Immerkaer, "Fast noise variance estimation", CVIU 64 (1996), with the median instead of the mean, so that
    texture and edges count little.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
    return float(np.median(np.abs(cv2.filter2D(image, cv2.CV_32F, kernel)))) / 0.6745


def blur_of(image: NDArray[np.float32]) -> float:
    """Standard deviation in px of the blur that the sharpest edges of [H, W] show; 0 where there is none.

    An edge of height h under a Gaussian blur is as steep as h / (sigma sqrt(2 pi)) in its middle.
    """
    steepness = np.hypot(*(np.gradient(image, axis=axis) for axis in (0, 1)))
    window = np.ones((2 * EDGE_REACH + 1,) * 2, np.uint8)
    height = cv2.dilate(image, window) - cv2.erode(image, window)
    edges = steepness >= max(float(np.quantile(steepness, 1 - EDGE_SHARE)), 1e-6)
    if not edges.any():
        return 0.0
    width = float(np.quantile(height[edges] / steepness[edges], SHARPEST)) / math.sqrt(2 * math.pi)
    return math.sqrt(max(0.0, width**2 - STEP_WIDTH**2))


def _centre(images: GoodImages, index: int) -> NDArray[np.generic]:
    """The middle of an image, or of what counts of it."""
    image = images.padded[index]
    rows, columns = (min(SIDE, n) for n in image.shape[:2])
    middle = (image.shape[0] // 2, image.shape[1] // 2) if images.counted is None else images.counted.middle(index)
    y, x = (min(max(0, m - n // 2), room - n) for m, n, room in zip(middle, (rows, columns), image.shape, strict=False))
    return image[y : y + rows, x : x + columns]
