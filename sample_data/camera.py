"""From the scene to the picture: illumination, vignette, sensor noise, rounding."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.fields import Field, slow

NOISE_SIGMA = 1.1
"""Sensor noise in 8-bit grey levels at mid grey."""

_ROWS = 256  # of the picture that are noised at a time: the noise stays in the cache


def photograph(scene: Field, rng: np.random.Generator, dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
    """Photographs a scene, float32 [H, W] in grey levels 0..255, as uint8 (or uint16, 257 times that) [H, W].

    The same generator state gives the same light and the same noise whatever the scene holds, so two pictures, one with
    a defect and one without, differ at the defect alone.
    """
    height, width = scene.shape
    coarse = _illumination(rng, height, width)
    scale = np.float32(257 if np.dtype(dtype) == np.uint16 else 1)
    picture = np.empty((height, width), dtype)
    for y in range(0, height, _ROWS):
        rows = min(_ROWS, height - y)
        gain = _enlarge_rows(coarse, y, rows, height, width)
        light = scene[y : y + rows] * gain
        noise = rng.standard_normal((rows, width), dtype=np.float32)
        noise *= NOISE_SIGMA * (0.6 + 0.4 / 128 * light)  # shot noise on top of read noise
        light += noise
        np.clip(light, 0, 255, out=light)
        light *= scale
        light += 0.5
        picture[y : y + rows] = light  # rounds to nearest: the cast cuts off
    return picture


def _illumination(rng: np.random.Generator, height: int, width: int) -> Field:
    """The gain on a 64-node grid: level, gradient, vignette and a slow unevenness; mean about 1."""
    y, x = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64), indexing="ij")
    level = 1 + rng.normal(0, 0.012)
    gradient = rng.normal(0, 0.012) * y + rng.normal(0, 0.012) * x
    vignette = -(0.045 + rng.normal(0, 0.004)) * (y * y + x * x - 2 / 3)
    uneven = 0.006 * slow(rng, 64, 64, 40, 40)
    return np.asarray(level + gradient + vignette + uneven, np.float32)


def _enlarge_rows(coarse: Field, y: int, rows: int, height: int, width: int) -> Field:
    """Rows y .. y + rows of the grid enlarged to height x width: never the whole plane at once."""
    lines = np.arange(y, y + rows) * (63 / max(height - 1, 1))
    low = np.minimum(lines.astype(int), 62)
    part = (lines - low).astype(np.float32)[:, None]
    band = coarse[low] * (1 - part) + coarse[low + 1] * part
    return np.asarray(cv2.resize(band, (width, rows), interpolation=cv2.INTER_LINEAR))
