"""Where on a picture to look, pixel by pixel.

A look is an array uint8 [H, W]: 0 where nothing counts, 1 where everything does, 2 and more in the zones of a product,
2 the first. A look map is the look that an engineer drew, on one picture or, of an aligned product, on its reference;
it moves with the part from image to image.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.context_map import Matrix
from flawmap.tiling.padding import Padding, source_index
from flawmap.tiling.shrink import shrunk_size

Look = NDArray[np.uint8]

OUTSIDE, INSIDE, FIRST_ZONE = 0, 1, 2
MOST_ZONES = 256 - FIRST_ZONE


@dataclass(frozen=True)
class LookMap:
    """`pixels` is the look, uint8 [H, W], in the plane it was drawn in."""

    pixels: Look

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels and their shape, hex."""
        return hashlib.sha256(repr(self.shape).encode() + self.pixels.tobytes()).hexdigest()

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.pixels.shape
        return height, width

    def shrunk(self, longest_side: int | None) -> "LookMap":
        """The map of images that are shrunk to `longest_side` px: see `flawmap.tiling.shrink`."""
        height, width = shrunk_size(self.shape, longest_side)
        return self if (height, width) == self.shape else LookMap(resized(self.pixels, (height, width)))

    def seen_by(self, to_map: Matrix | None) -> Look:
        """The look of an image [H, W] of the map's size; the map's own where `to_map` is None.

        `to_map`: float64 [2, 3], takes (x, y, 1) of the image to (x, y) of the map. What lies beyond the map's edge
        counts as the edge does.
        """
        return self.pixels if to_map is None else self._moved(to_map, 0, 0, *self.shape)

    def tile(
        self, to_map: Matrix | None, border: int, padding: Padding, y: int, x: int, height: int, width: int
    ) -> Look:
        """`height` x `width` px of the look from (`y`, `x`) on, in an image padded by `border` px as `padding` says."""
        rows = source_index(np.arange(y - border, y - border + height), self.shape[0], padding)
        columns = source_index(np.arange(x - border, x - border + width), self.shape[1], padding)
        if to_map is None:
            return np.asarray(self.pixels[np.ix_(rows, columns)])
        y0, x0 = int(rows.min()), int(columns.min())
        part = self._moved(to_map, y0, x0, int(rows.max()) + 1 - y0, int(columns.max()) + 1 - x0)
        return np.asarray(part[np.ix_(rows - y0, columns - x0)])

    def _moved(self, to_map: Matrix, y: int, x: int, height: int, width: int) -> Look:
        matrix = to_map.copy()
        matrix[:, 2] += to_map[:, :2] @ (x, y)
        moved = cv2.warpAffine(
            self.pixels,
            matrix,
            (width, height),
            flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(moved, np.uint8)


@dataclass(frozen=True)
class WhereToLook:
    """What a part description says of where to look; nothing: everywhere."""

    look_map: LookMap | None = None
    drawn_on: Path | None = None  # the picture that the map was drawn on; None: the reference, or any image
    plain_background: bool = False  # that is not part is found in each image and left out

    @property
    def digest(self) -> str:
        """Equal where the same counts; empty where everything does."""
        if self.look_map is None and not self.plain_background:
            return ""
        return repr((self.look_map.digest if self.look_map else "", str(self.drawn_on), self.plain_background))


EVERYWHERE = WhereToLook()


def resized(look: Look, shape: tuple[int, int]) -> Look:
    """`look` at another (height, width): every pixel is the nearest one's."""
    return np.asarray(cv2.resize(look, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
