"""Where the tiles of an image lie, and which of them answers for which pixel.

One axis, tile_size 8, overlap 4 (so a tile every 4 px), an image of 14 px, a border of 2 px around it:

    padded   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7
    image        0 1 2 3 4 5 6 7 8 9 0 1 2 3
    tile 0  [- - - - - -|- -]
    tile 1          [- -|- - - -|- -]                 | cuts every overlap in its middle:
    tile 2                  [- -|- - -|- - -]         a pixel belongs to the tile where it lies deepest
    tile 3                      [- - -|- - - - -]     the last tile is flush with the padded edge

Three planes: a tile's index; a pixel in the padded image; a pixel in the image. Names and docstrings say which.
Boxes are half-open (y0, x0, y1, x1).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from flawmap.tiling.errors import UsageError
from flawmap.tiling.padding import BORDER_TYPES, Padding
from flawmap.tiling.threads import in_threads
from flawmap.tiling.tile_kernels import copy_tiles


class Box(NamedTuple):
    """A half-open box of pixels; empty where y0 == y1 or x0 == x1."""

    y0: int
    x0: int
    y1: int
    x1: int


class Owned(NamedTuple):
    """The pixels that one tile answers for: the same box in two planes."""

    tile: Box
    image: Box


def tile_starts(length: int, tile_size: int, stride: int) -> np.ndarray:
    """Starts (int64) of the tiles along a padded axis of `length` >= `tile_size` px; the last is flush with its end."""
    return np.append(np.arange(0, length - tile_size, stride), length - tile_size)


def owned_ends(starts: np.ndarray, tile_size: int) -> np.ndarray:
    """Where along one padded axis each tile stops answering and the next one begins: the middle of their overlap.

    Tiles are equally long, so the nearest centre is the deepest tile; the last one answers up to the padded edge.
    """
    middles = (starts[:-1] + starts[1:] + tile_size) // 2
    return np.append(middles, starts[-1] + tile_size)


def cut_tiles(image: np.ndarray, corners: np.ndarray, tile_size: int, padding: Padding, out: np.ndarray) -> int:
    """Fill `out` with the tiles of `image` at `corners` (y, x), int64 [n, 2], and return n; the rest is untouched.

    Where they reach beyond `image` [H, W(, C)] they show what `padding` says. `out` [>= n, tile_size, tile_size(, C)]
    has its dtype; both are C-contiguous. ValueError otherwise.
    """
    expected = (tile_size, tile_size, *image.shape[2:])
    if out.shape[1:] != expected or out.dtype != image.dtype:
        raise ValueError(f"`out` ({out.shape} {out.dtype}) must hold tiles of {expected} {image.dtype}, like the image")
    if not (image.flags.c_contiguous and out.flags.c_contiguous):
        raise ValueError("the image and `out` must be C-contiguous")
    bytes_a_pixel = image.itemsize * math.prod(image.shape[2:])
    rows = image.view(np.uint8).reshape(image.shape[0], -1)
    tiles = out.view(np.uint8).reshape(len(out), tile_size, -1)[: len(corners)]
    replicate = padding == "replicate"
    in_threads(
        lambda part, parts: copy_tiles(rows, corners, bytes_a_pixel, replicate, tiles, part, parts), tiles.nbytes
    )
    return len(corners)


@dataclass(frozen=True)
class TileGrid:
    """Cuts an image of `height` x `width` px into square tiles of `tile_size` px that overlap by at least `overlap` px.

    Tile starts, the tile size and the padded size are multiples of `multiple` px (the network's stride), because a
    convolutional network with pooling answers differently at other offsets. `border` px are added on every side
    first (as training saw a picture's edge), then below and to the right up to such a multiple and up to one tile; they
    show what `padding` says. Tiles are numbered row by row.

    Raises UsageError for an impossible geometry.
    """

    height: int
    width: int
    tile_size: int
    overlap: int
    multiple: int = 1
    border: int = 0
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        for name in ("height", "width", "tile_size", "multiple"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` (={getattr(self, name)}) must be at least 1")
        for name in ("overlap", "border"):
            if getattr(self, name) < 0:
                raise UsageError(f"`{name}` (={getattr(self, name)}) must not be negative")
        if self.overlap >= self.tile_size:
            raise UsageError(f"`overlap` (={self.overlap}) must be smaller than `tile_size` (={self.tile_size})")
        for name in ("tile_size", "overlap", "border"):
            if getattr(self, name) % self.multiple:
                raise UsageError(
                    f"`{name}` (={getattr(self, name)}) must be a multiple of `multiple` (={self.multiple}), "
                    "the stride of the network"
                )

    def __str__(self) -> str:
        return (
            f"{self.width}x{self.height} px in {self.columns}x{self.rows} tiles of {self.tile_size} px, "
            f"overlap {self.overlap} px"
        )

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def rows(self) -> int:
        return len(self._starts_y)

    @property
    def columns(self) -> int:
        return len(self._starts_x)

    @property
    def padded_height(self) -> int:
        return self._padded_length(self.height)

    @property
    def padded_width(self) -> int:
        return self._padded_length(self.width)

    def _padded_length(self, length: int) -> int:
        length += 2 * self.border
        return max(length + -length % self.multiple, self.tile_size)

    @cached_property
    def _starts_y(self) -> np.ndarray:
        return tile_starts(self.padded_height, self.tile_size, self.tile_size - self.overlap)

    @cached_property
    def _starts_x(self) -> np.ndarray:
        return tile_starts(self.padded_width, self.tile_size, self.tile_size - self.overlap)

    @cached_property
    def starts(self) -> np.ndarray:
        """(y, x) of every tile's first pixel, int64 [len, 2]. Plane: padded image."""
        return np.stack([np.repeat(self._starts_y, self.columns), np.tile(self._starts_x, self.rows)], axis=1)

    @cached_property
    def owned_boxes(self) -> np.ndarray:
        """int64 [len, 8]: the owned box (y0, x0, y1, x1) of every tile in the tile plane, then in the image plane."""
        y0, y1, in_tile_y0, in_tile_y1 = self._owned_along(self._starts_y, self.height)
        x0, x1, in_tile_x0, in_tile_x1 = self._owned_along(self._starts_x, self.width)
        down = [np.repeat(column, self.columns) for column in (in_tile_y0, in_tile_y1, y0, y1)]
        across = [np.tile(column, self.rows) for column in (in_tile_x0, in_tile_x1, x0, x1)]
        return np.stack(
            [down[0], across[0], down[1], across[1], down[2], across[2], down[3], across[3]],
            axis=1,
        )

    def _owned_along(self, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Owned begin and end of every tile along one axis, in the image plane and in the tile plane."""
        ends = owned_ends(starts, self.tile_size)
        end = np.clip(ends - self.border, 0, length)
        begin = np.append(0, end[:-1])
        # A tile all in the padding owns nothing: begin == end, kept inside the tile.
        in_tile = np.clip(begin + self.border - starts, 0, self.tile_size)
        return begin, end, in_tile, in_tile + (end - begin)

    def tile_start(self, index: int) -> tuple[int, int]:
        """(y, x) of the tile's first pixel. Plane: padded image."""
        row, column = divmod(self._checked(index), self.columns)
        return int(self._starts_y[row]), int(self._starts_x[column])

    def owned(self, index: int) -> Owned:
        """The box that tile `index` answers for: every image pixel is owned by exactly one tile.

        It is the tile in which the pixel lies farthest from the tile's edge, where the edge of the padded image does
        not count. A tile that lies all in the padding owns an empty box.
        """
        box = [int(edge) for edge in self.owned_boxes[self._checked(index)]]
        return Owned(tile=Box(*box[:4]), image=Box(*box[4:]))

    def _checked(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"`index` (={index}) must be in 0..{len(self) - 1}, the tiles of this grid")
        return index

    def pad(self, image: np.ndarray) -> np.ndarray:
        """The image with what is seen beyond its border, up to the padded size.

        [H, W] or [H, W, C] -> [padded_height, padded_width(, C)], same dtype, C-contiguous; the image itself where
        nothing is to be added. Raises ValueError for an image of another size than the grid's.
        """
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(
                f"`image` {image.shape[:2]} must be as large as the grid's image {self.height, self.width}"
            )
        if (self.padded_height, self.padded_width) == image.shape[:2]:
            return np.ascontiguousarray(image)
        padded = cv2.copyMakeBorder(
            image,
            top=self.border,
            bottom=self.padded_height - self.height - self.border,
            left=self.border,
            right=self.padded_width - self.width - self.border,
            borderType=BORDER_TYPES[self.padding],
        )
        return padded.reshape(*padded.shape[:2], *image.shape[2:])  # cv2 drops a last axis of 1

    def cut(self, image: np.ndarray, first: int, out: np.ndarray) -> int:
        """Fill `out` with the tiles `first`, `first` + 1, ... and return how many there were; the rest is untouched.

        `image` [height, width(, C)] is padded on the way, which spares the copy that `pad` makes; a padded one
        [padded_height, padded_width(, C)] is taken as it is. `out` [n, tile_size, tile_size(, C)] has the same dtype
        and is meant to be used again for every batch. Both C-contiguous. Raises ValueError otherwise, IndexError for a
        `first` outside the grid.
        """
        sizes = (self.height, self.width), (self.padded_height, self.padded_width)
        if image.shape[:2] not in sizes or image.ndim not in (2, 3):
            raise ValueError(
                f"`image` {image.shape} must be an image {sizes[0]}, or a padded one {sizes[1]}, "
                "with at most one more axis"
            )
        count = min(len(out), len(self) - self._checked(first))
        corners = self.starts[first : first + count]
        if image.shape[:2] != sizes[1]:
            corners = corners - self.border
        return cut_tiles(image, corners, self.tile_size, self.padding, out)
