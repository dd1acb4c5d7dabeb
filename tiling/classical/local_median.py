"""The non-learned control: how far is a pixel from the median of its surroundings, in units of what good images show?

Whatever is learned must beat this. A small bright or dark defect leaves the median as it is; edges and texture do not,
which is why the residual is standardised on good images of the product.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BOXES = (1, 3, 5, 9)  # px: the residual's means, as for the networks; larger ones would see their own background


@dataclass(frozen=True)
class LocalMedian:
    """The fitted numbers.

    `window`: side of the median in px, odd. `low`, `high`: range of good images' values; `cv2.medianBlur` takes 8 bits,
    so the background of deeper images comes from their 8-bit copy over that range, while the residual keeps their full
    depth. `unit`: standard deviation of good images' values. `location`, `scale`: one a box, on good pixels.
    """

    window: int
    low: float
    high: float
    unit: float
    location: NDArray[np.float32]  # [K]
    scale: NDArray[np.float32]  # [K]

    def score(self, tile: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """[H, W] or [H, W, 3] -> score float32 [H, W] and the background, like the tile."""
        background = self.background(tile)
        rarest = (self._evidence(tile, background) - self.location[:, None, None]) / self.scale[:, None, None]
        return np.ascontiguousarray(rarest.max(axis=0)), background

    def evidence(self, tile: NDArray[Any]) -> NDArray[np.float32]:
        """Absolute box means of the residual, the largest channel's, float32 [K, H, W]; not standardised."""
        return self._evidence(tile, self.background(tile))

    def background(self, tile: NDArray[Any]) -> NDArray[Any]:
        """The local median, of the tile's shape and dtype."""
        if tile.dtype == np.uint8:
            return _median(tile, self.window)
        step = (self.high - self.low) / 255
        coarse = np.clip((tile.astype(np.float32) - self.low) / step, 0, 255).round().astype(np.uint8)
        background = _median(coarse, self.window).astype(np.float32) * step + self.low
        return np.asarray(background, tile.dtype)

    def _evidence(self, tile: NDArray[Any], background: NDArray[Any]) -> NDArray[np.float32]:
        residual = (tile.astype(np.float32) - background.astype(np.float32)) / np.float32(self.unit)
        maps = []
        for box in BOXES:
            mean = np.abs(cv2.blur(residual, (box, box), borderType=cv2.BORDER_REFLECT_101))
            maps.append(mean if mean.ndim == 2 else mean.max(axis=2))
        return np.stack(maps)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For model.npz."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "LocalMedian":
        """The inverse of `arrays`; KeyError where one is missing."""
        numbers = {name: float(arrays[name]) for name in ("low", "high", "unit")}
        return cls(window=int(arrays["window"]), location=arrays["location"], scale=arrays["scale"], **numbers)


def _median(tile: NDArray[np.uint8], window: int) -> NDArray[np.uint8]:
    """`cv2.medianBlur` of any number of channels: OpenCV takes 1, 3 and 4."""
    if tile.ndim == 2 or tile.shape[2] in (1, 3, 4):
        return np.asarray(cv2.medianBlur(tile, window), np.uint8).reshape(tile.shape)
    return np.dstack([cv2.medianBlur(np.ascontiguousarray(tile[..., k]), window) for k in range(tile.shape[2])])
