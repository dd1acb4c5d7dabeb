"""Good pictures, padded as inspection pads them; windows of those that are too large to be held as a whole.

Windows are some of a picture's rows, spread evenly from top to bottom. One is cut from the padded picture, so its
sides show what inspection shows there, its top and bottom too where they are the picture's own; elsewhere it ends in
the middle of the picture, and nothing is padded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_picture
from flawmap.tiling.padding import Padding
from flawmap.tiling.reading import Reading
from flawmap.tiling.shrink import shrink
from flawmap.tiling.strips.open_rows import WHOLE_PIXELS, open_rows, strip_size
from flawmap.tiling.strips.padded_rows import PaddedRows
from flawmap.tiling.strips.whole_limit import too_large

WINDOW_ROWS = 1024  # rather more windows than taller ones


@dataclass(frozen=True)
class Window:
    """Rows `top`, `top` + 1, ... of a padded picture."""

    padded: NDArray[Any]  # [n, padded width] or [n, padded width, C]
    top: int


@dataclass(frozen=True)
class Geometry:
    """Sides of what training draws tiles from: see `TileGrid`; px."""

    tile_size: int
    multiple: int
    border: int
    padding: Padding

    def grid(self, height: int, width: int) -> TileGrid:
        return TileGrid(height, width, self.tile_size, 0, self.multiple, self.border, self.padding)


@dataclass(frozen=True)
class PaddedPicture:
    """A picture of `size` (height, width) in one window that is all of it, or in several."""

    size: tuple[int, int]
    windows: list[Window]
    bits: int | None  # significant ones, where its file says them

    @property
    def nbytes(self) -> int:
        return sum(window.padded.nbytes for window in self.windows)


def read_padded(
    path: Path, *, geometry: Geometry, reading: Reading, longest_side: int | None, needs_whole: str, most_bytes: int
) -> PaddedPicture:
    """The picture at `path`, shrunk to `longest_side` and padded; of one too large for that, windows.

    Windows take `most_bytes` together, but `tile_size` rows at least. `needs_whole` says what cannot do with them.
    ImageError for a picture that cannot be read, or is too large for what needs it whole.
    """
    size = strip_size(path)
    if size is not None and not needs_whole:
        return _read_windows(path, geometry, reading, most_bytes)
    if size is not None and size[0] * size[1] > WHOLE_PIXELS:
        raise ImageError(path, too_large(size, needs_whole))
    picture = read_picture(path, reading)
    image = shrink(picture.pixels, longest_side)
    size = image.shape[0], image.shape[1]
    return PaddedPicture(size, [Window(geometry.grid(*size).pad(image), 0)], picture.bits)


def _read_windows(path: Path, geometry: Geometry, reading: Reading, most_bytes: int) -> PaddedPicture:
    with open_rows(path, reading) as rows:
        grid = geometry.grid(rows.height, rows.width)
        row_bytes = grid.padded_width * rows.channels * rows.dtype.itemsize
        most_rows = most_bytes // row_bytes
        tops, height = window_places(grid.padded_height, most_rows, geometry.tile_size, geometry.multiple)
        padded = PaddedRows(rows, grid)
        windows = [Window(padded.read(top, top + height), top) for top in tops]
        return PaddedPicture((rows.height, rows.width), windows, rows.bits)


def window_places(length: int, most_rows: int, fewest_rows: int, multiple: int) -> tuple[list[int], int]:
    """(first rows, height) of windows on an axis of `length` rows that together have `most_rows`.

    They do not overlap; the first begins and the last ends with the axis, unless there is but one: that lies in the
    middle. First rows and height are multiples of `multiple`, as `length` and `fewest_rows` must be; a window has
    `fewest_rows` at least, which may be more than `most_rows`.
    """
    if most_rows >= length:
        return [0], length
    count = max(1, most_rows // max(WINDOW_ROWS, fewest_rows))
    height = max(most_rows // count // multiple * multiple, fewest_rows)
    if count == 1:
        return [(length - height) // 2 // multiple * multiple], height
    places = np.linspace(0, (length - height) // multiple, count).astype(int) * multiple
    return places.tolist(), height
