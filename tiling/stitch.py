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
from flawmap.tiling.threads import in_threads
from flawmap.tiling.tile_kernels import copy_owned, copy_residual

DTYPES = (np.uint8, np.uint16, np.float32)


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
        if self._dtype not in DTYPES:
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
        rows = np.ascontiguousarray(tiles).view(self._element).reshape(len(tiles), size, -1)
        image = self._image.view(self._element).reshape(self.grid.height, -1)
        boxes = self._claim(first, len(tiles))
        broken = in_threads(lambda part, parts: copy_owned(rows, boxes, image, part, parts), rows.nbytes)
        self._finish(first, boxes, broken, self._elements_a_pixel)

    def add_residual(self, first: int, tiles: np.ndarray, reconstructions: np.ndarray) -> None:
        """As `add`, of a heatmap of residuals |tile - reconstruction|, of several channels the largest.

        For a network that only reconstructs: nothing but the heatmap is written. `tiles` and `reconstructions`
        [n, tile_size, tile_size(, C)], both uint8, uint16 or float32. Raises ValueError as `add` does.
        """
        size = self.grid.tile_size
        if self._dtype != np.float32 or self._pixel_shape:
            raise ValueError("residuals make a heatmap: float32, without channels")
        if tiles.shape[1:3] != (size, size) or tiles.ndim not in (3, 4) or tiles.dtype not in DTYPES:
            raise ValueError(
                f"`tiles` ({tiles.shape} {tiles.dtype}) must be n tiles of {(size, size)} uint8, uint16 or float32"
            )
        if (reconstructions.shape, reconstructions.dtype) != (tiles.shape, tiles.dtype):
            raise ValueError(
                f"`reconstructions` ({reconstructions.shape} {reconstructions.dtype}) must be like `tiles` "
                f"({tiles.shape} {tiles.dtype})"
            )
        channels = tiles.shape[3] if tiles.ndim == 4 else 1
        shown, expected = (np.ascontiguousarray(a).reshape(len(a), size, -1) for a in (tiles, reconstructions))
        boxes = self._claim(first, len(tiles))
        broken = in_threads(
            lambda part, parts: copy_residual(shown, expected, channels, boxes, self._image, part, parts),
            2 * shown.nbytes,
        )
        self._finish(first, boxes, broken, 1)

    def _claim(self, first: int, count: int) -> np.ndarray:
        """The boxes of the tiles from `first` on, which from now on are this caller's to write."""
        last = first + count
        if first < 0 or last > len(self.grid):
            raise ValueError(f"tiles {first}..{last - 1} must be in 0..{len(self.grid) - 1}, the tiles of this grid")
        with self._lock:
            twice = np.flatnonzero(self._claimed[first:last])
            if len(twice):
                raise ValueError(f"tile {first + twice[0]} was added twice")
            self._claimed[first:last] = True
        boxes: np.ndarray = self._boxes[first:last]
        return boxes

    def _finish(self, first: int, boxes: np.ndarray, broken: list[tuple[int, int, int]], step: int) -> None:
        """`broken`: of every thread, (k, y, x) of its first value that is not finite, in the tile plane, or -1.

        x counts values, `step` of them a pixel.
        """
        for k, y, x in sorted(broken):
            if k < 0:
                continue
            in_tile, in_image = self.grid.owned(first + k)
            box = boxes[k]
            # It was written before it was looked at.
            value = self._image.reshape(self.grid.height, -1)[y - box[0] + box[4], x - box[1] + box[5]]
            y, x = y - in_tile.y0 + in_image.y0, x // step - in_tile.x0 + in_image.x0
            raise ValueError(
                f"tile {first + k} is {value} at pixel (y={y}, x={x}) of the image; it must be a finite number"
            )
        self._stitched[first : first + len(boxes)] = True

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
