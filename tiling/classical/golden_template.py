"""The non-learned control of aligned products: does a pixel leave what the reference shows within a few px around it?

Golden template comparison, as boards were inspected before anything learned (Moganti, Ercal, Dagli and Tsunekawa,
"Automatic PCB inspection algorithms: a survey", Computer Vision and Image Understanding 63, 1996). Subtracted from a
golden picture, every edge that lies a px beside its place is a defect. So the picture is grown and shrunk by that much,
and what lies in the band between the two is good; one row of a trace of 5 px with a slack of 2:

    reference                0 0 0 0 0 9 9 9 9 9 0 0 0 0 0
    grown: the largest       0 0 0 9 9 9 9 9 9 9 9 9 0 0 0      within 2 px
    shrunk: the smallest     0 0 0 0 0 0 0 9 0 0 0 0 0 0 0      within 2 px
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.context_map import ContextMap

BOX = 3  # px: the residual's mean, as for the repair network


@dataclass(frozen=True)
class GoldenTemplate:
    """The fitted numbers; the reference and its spread come with each tile.

    `slack`: px by which an edge may lie beside its place. `noise`: standard deviation of the camera's, in grey levels.
    `location`, `scale`: of the evidence on good pixels.
    """

    slack: int
    noise: float
    location: NDArray[np.float32]  # [1]
    scale: NDArray[np.float32]  # [1]

    def score(self, tile: NDArray[Any], context: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """[H, W] or [H, W, C], and what the reference shows there, [H, W, C + 1] as of `ContextMap`, both of one dtype.

        Gives the score float32 [H, W] and, like the tile, the value in the band that is nearest to each pixel's.
        """
        nearest = self.nearest(tile, context)
        return (self._evidence(tile, nearest, context)[0] - self.location) / self.scale, nearest

    def evidence(self, tile: NDArray[Any], context: NDArray[Any]) -> NDArray[np.float32]:
        """How far out of the band, in units of noise and spread, the largest channel's, float32 [1, H, W]."""
        return self._evidence(tile, self.nearest(tile, context), context)

    def nearest(self, tile: NDArray[Any], context: NDArray[Any]) -> NDArray[Any]:
        """The tile with each value brought into the band, like the tile."""
        reference, square = ContextMap(context).image, np.ones((2 * self.slack + 1,) * 2, np.uint8)
        low, high = cv2.erode(reference, square), cv2.dilate(reference, square)
        return np.asarray(np.clip(tile, low, high), tile.dtype)

    def _evidence(self, tile: NDArray[Any], nearest: NDArray[Any], context: NDArray[Any]) -> NDArray[np.float32]:
        unit = np.float32(self.noise) + ContextMap(context).spread
        residual = tile.astype(np.float32) - nearest.astype(np.float32)
        residual /= unit if residual.ndim == 2 else unit[..., None]
        mean = np.abs(cv2.blur(residual, (BOX, BOX), borderType=cv2.BORDER_REFLECT_101))
        return (mean if mean.ndim == 2 else mean.max(axis=2))[None]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For model.npz."""
        return {name: np.asarray(value) for name, value in vars(self).items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "GoldenTemplate":
        """The inverse of `arrays`; KeyError where one is missing."""
        return cls(int(arrays["slack"]), float(arrays["noise"]), arrays["location"], arrays["scale"])
