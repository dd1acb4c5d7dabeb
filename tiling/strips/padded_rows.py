"""The rows of a padded image, from top to bottom, while only a band of the image is in memory."""

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.padding import BORDER_TYPES, source_index

Image = NDArray[Any]


class Rows(Protocol):
    """An image [height, width] or [height, width, 3] that is read row by row, from top to bottom."""

    height: int
    width: int
    channels: int  # 1: [height, width]
    dtype: np.dtype[Any]

    def read(self, count: int) -> Image:
        """The next `count` rows, [count, width] or [count, width, 3], native byte order; at the end those left.

        Raises ImageError for rows that cannot be read.
        """
        ...

    def skip(self, count: int) -> None:
        """Leaves out the next `count` rows, of which there must be so many."""
        ...


class PaddedRows:
    """What `TileGrid.pad` gives, row by row.

    A row beyond the border is a row of the image that came before (at the bottom) or comes after (at the top): rows are
    kept as long as the padded image may show them again.
    """

    def __init__(self, rows: Rows, grid: TileGrid) -> None:
        """ValueError for `rows` of another size than the grid's image."""
        if (rows.height, rows.width) != (grid.height, grid.width):
            raise ValueError(
                f"`rows` {rows.height, rows.width} must be as large as the grid's image {grid.height, grid.width}"
            )
        self._rows = rows
        self._grid = grid
        # The row of the image that each padded row shows, and the topmost one that it or any below it shows.
        self._shown = source_index(np.arange(grid.padded_height) - grid.border, grid.height, grid.padding)
        self._needed_from = np.minimum.accumulate(self._shown[::-1])[::-1]
        self._kept = rows.read(0)
        self._top = 0  # of `_kept`, in the image

    def read(self, y0: int, y1: int) -> Image:
        """Rows `y0`..`y1` - 1 of the padded image, [n, padded_width(, 3)], C-contiguous; `y0` must never fall back."""
        needed_from, end = int(self._needed_from[y0]), int(self._shown[y0:y1].max()) + 1
        if needed_from < self._top:
            raise ValueError(f"`y0` (={y0}) must not be above what was read before")
        dropped = needed_from - self._top
        if dropped > len(self._kept):  # rows that nobody asked for
            self._rows.skip(dropped - len(self._kept))
        kept = self._kept[dropped:]
        missing = end - needed_from - len(kept)
        self._kept = np.concatenate([kept, self._rows.read(missing)]) if missing > 0 else kept.copy()
        self._top = needed_from
        return self._widened(self._kept[self._shown[y0:y1] - self._top])

    def _widened(self, rows: Image) -> Image:
        left = self._grid.border
        right = self._grid.padded_width - self._grid.width - left
        if not left and not right:
            return rows
        padded = cv2.copyMakeBorder(rows, 0, 0, left, right, BORDER_TYPES[self._grid.padding])
        return np.asarray(padded.reshape(*padded.shape[:2], *rows.shape[2:]))
