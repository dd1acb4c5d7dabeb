"""Puts tiles back together into one image: every pixel comes from the tile in which it lies deepest.

Nothing is blended and nothing is averaged: a mean over overlapping tiles would thin out a dot of 5x5 px. A pixel that
no tile wrote, a tile that came twice and a score that is not a number stop the inspection of that image, because a
zero in their place would read as a good part.
"""

import threading

import numpy as np
import numpy.typing as npt

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.strips.grid_band import GridBand
from flawmap.tiling.tile_kernels import copy_owned


class Stitcher:
    """Collects the tiles of one image, or of a band of it; `add` may be called from several threads, in any order.

    Heatmaps: `Stitcher(grid)`, float32 [H, W]. Reconstructions: give the `dtype` (uint8, uint16 or float32) and, for
    [H, W, C], the `channels`. `out` is the array to write to, so that one buffer serves image after image; what it
    held before is overwritten whole.

    Raises ValueError for an `out` of another shape or dtype, or one that is not C-contiguous.
    """

    def __init__(
        self,
        grid: TileGrid | GridBand,
        out: np.ndarray | None = None,
        *,
        dtype: npt.DTypeLike = np.float32,
        channels: int | None = None,
    ) -> None:
        self.grid = grid
        self._dtype = np.dtype(dtype)
        if self._dtype not in (np.uint8, np.uint16, np.float32):
            raise ValueError(f"`dtype` (={self._dtype}) must be uint8, uint16 or float32")
        self._pixel_shape = () if channels is None else (channels,)
        shape = (grid.height, grid.width, *self._pixel_shape)
        self._image = np.empty(shape, self._dtype) if out is None else out
        if self._image.shape != shape or self._image.dtype != self._dtype or not self._image.flags.c_contiguous:
            raise ValueError(
                f"`out` ({self._image.shape} {self._image.dtype}) must be a C-contiguous array of {shape} {self._dtype}"
            )
        # The kernel sees rows of float32, or of bytes: boxes are stretched along x by what one pixel holds.
        self._element = np.dtype(np.float32 if self._dtype == np.float32 else np.uint8)
        self._elements_a_pixel = self._dtype.itemsize // self._element.itemsize * (channels or 1)
        self._boxes = grid.owned_boxes * np.tile([1, self._elements_a_pixel], 4)
        self._lock = threading.Lock()
        self._claimed = np.zeros(len(grid), bool)
        self._stitched = np.zeros(len(grid), bool)

    def add(self, first: int, tiles: np.ndarray) -> None:
        """Copy what the tiles `first`, `first` + 1, ... own: `tiles` [n, tile_size, tile_size(, C)] of the given dtype.

        Raises ValueError for another shape or dtype, tiles outside the grid, a tile that was added before, and NaN or
        infinity in an owned pixel (named in the image plane).
        """
        size = self.grid.tile_size
        expected = (size, size, *self._pixel_shape)
        if tiles.shape[1:] != expected or tiles.dtype != self._dtype:
            raise ValueError(f"`tiles` ({tiles.shape} {tiles.dtype}) must be n tiles of {expected} {self._dtype}")
        last = first + len(tiles)
        if first < 0 or last > len(self.grid):
            raise ValueError(f"tiles {first}..{last - 1} must be in 0..{len(self.grid) - 1}, the tiles of this grid")
        with self._lock:
            twice = np.flatnonzero(self._claimed[first:last])
            if len(twice):
                raise ValueError(f"tile {first + twice[0]} was added twice")
            self._claimed[first:last] = True
        rows = np.ascontiguousarray(tiles).view(self._element).reshape(len(tiles), size, -1)
        image = self._image.view(self._element).reshape(self.grid.height, -1)
        k, y, x = copy_owned(rows, self._boxes[first:last], image)
        if k >= 0:
            self._raise_not_finite(first + k, y, x // self._elements_a_pixel, rows[k, y, x])
        self._stitched[first:last] = True

    def _raise_not_finite(self, index: int, y: int, x: int, value: np.generic) -> None:
        in_tile, in_image = self.grid.owned(index)
        y, x = y - in_tile.y0 + in_image.y0, x - in_tile.x0 + in_image.x0
        raise ValueError(f"tile {index} is {value} at pixel (y={y}, x={x}) of the image; it must be a finite number")

    def result(self) -> np.ndarray:
        """The whole image [H, W(, C)], which is `out` where that was given; not a copy.

        Raises ValueError naming the first tile and pixel that is missing.
        """
        missing = np.flatnonzero(~self._stitched)
        for index in missing:
            box = self.grid.owned(int(index)).image
            if box.y0 < box.y1 and box.x0 < box.x1:
                raise ValueError(
                    f"pixel (y={box.y0}, x={box.x0}) of the image is covered by no tile: tile {index} was not added "
                    f"({len(missing)} of {len(self.grid)} tiles are missing)"
                )
        return self._image
