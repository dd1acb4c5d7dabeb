"""Variation that good images show anyway: orientation, a little light. Albumentations draws it."""

import os

# albumentations 2.0.8 asks the network for its newest version on import unless told not to.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import numpy as np
from numpy.typing import NDArray

from flawmap.training.config import VariationSettings


class Variation:
    """Varies good tiles as good images vary.

    Works on float32 in 0..1, which is what albumentations holds all its transforms to (uint16 fails in several), so
    values are divided by `full_scale`, the largest value the camera writes.
    """

    def __init__(self, settings: VariationSettings, full_scale: float) -> None:
        self.full_scale = np.float32(full_scale)
        flip = 0.5 if settings.flips else 0.0
        self.compose = albumentations.Compose(
            [
                albumentations.HorizontalFlip(p=flip),
                albumentations.VerticalFlip(p=flip),
                albumentations.RandomBrightnessContrast(
                    brightness_limit=settings.brightness,
                    contrast_limit=settings.contrast,
                    ensure_safe_range=True,
                    p=0.8,
                ),
            ]
        )

    def seed(self, seed: int) -> None:
        """Fixes what the following calls draw, so that a resumed training sees what an undisturbed one does."""
        self.compose.set_random_seed(seed)

    def __call__(
        self, tile: NDArray[np.generic], context: NDArray[np.generic] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.generic] | None]:
        """(`tile`, [H, W] or [H, W, C] of any image dtype, as float32 of the same shape and scale; `context`).

        What a tile's reference shows, `context` [H, W, K], is turned with it, but light is the tile's alone.
        """
        scaled = np.ascontiguousarray(tile, dtype=np.float32) / self.full_scale
        drawn = {"image": scaled if scaled.ndim == 3 else scaled[..., None]}
        varied = self.compose(**drawn if context is None else {**drawn, "mask": context})
        image = np.ascontiguousarray(varied["image"], dtype=np.float32).reshape(tile.shape) * self.full_scale
        return image, varied.get("mask")
