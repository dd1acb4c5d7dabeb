"""Some rows of the tiles of a grid, as a grid of their own.

        rows of tiles                 padded image        image: what they answer for
    row 0   [- - - - -|- -]           0 ..                 0 ..
    row 1           [- -|- - -|- -]  <- first_row         y0 ..     }
    row 2                   [- -|- - - ..                           }  the band
    row 3                           .. <- end_row         y1 ..

A band cuts the very tiles that the whole grid cuts there, so scores are those of the whole image; the bands of a grid
together answer for every row of the image once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flawmap.tiling.grid import Owned, TileGrid, cut_tiles


@dataclass(frozen=True)
class GridBand:
    """The tiles of rows `first_row`..`end_row` - 1 of `grid`, numbered from 0.

    What is stitched from them are the image's rows `y0`..`y1` - 1; what they are cut from are the rows
    `padded_y0`..`padded_y1` - 1 of the padded image.
    """

    grid: TileGrid
    first_row: int
    end_row: int

    def __post_init__(self) -> None:
        if not 0 <= self.first_row < self.end_row <= self.grid.rows:
            raise ValueError(
                f"rows of tiles {self.first_row}..{self.end_row - 1} must be some of the grid's 0..{self.grid.rows - 1}"
            )

    def __len__(self) -> int:
        return (self.end_row - self.first_row) * self.grid.columns

    @property
    def _tiles(self) -> slice:
        return slice(self.first_row * self.grid.columns, self.end_row * self.grid.columns)

    @property
    def tile_size(self) -> int:
        return self.grid.tile_size

    @cached_property
    def y0(self) -> int:
        return self.grid.owned(self._tiles.start).image.y0

    @cached_property
    def y1(self) -> int:
        return self.grid.owned(self._tiles.stop - 1).image.y1

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        return self.grid.width

    @cached_property
    def padded_y0(self) -> int:
        return self.grid.tile_start(self._tiles.start)[0]

    @cached_property
    def padded_y1(self) -> int:
        return self.grid.tile_start(self._tiles.stop - 1)[0] + self.tile_size

    @cached_property
    def owned_boxes(self) -> np.ndarray:
        """As of the grid, int64 [len, 8], but rows of the image are counted from the band's first."""
        return np.asarray(self.grid.owned_boxes[self._tiles] - np.array([0, 0, 0, 0, self.y0, 0, self.y0, 0]))

    def owned(self, index: int) -> Owned:
        """What tile `index` of the band answers for. Plane: the whole image."""
        if not 0 <= index < len(self):
            raise IndexError(f"`index` (={index}) must be in 0..{len(self) - 1}, the tiles of this band")
        return self.grid.owned(self._tiles.start + index)

    def cut(self, padded: np.ndarray, first: int, out: np.ndarray) -> int:
        """`TileGrid.cut` from the band's rows of the padded image, [padded_y1 - padded_y0, padded_width(, C)]."""
        expected = (self.padded_y1 - self.padded_y0, self.grid.padded_width, *padded.shape[2:])
        if padded.shape != expected or padded.ndim not in (2, 3):
            raise ValueError(f"`padded` {padded.shape} must be rows of a padded image {expected[:2]}")
        if not 0 <= first < len(self):
            raise IndexError(f"`first` (={first}) must be in 0..{len(self) - 1}, the tiles of this band")
        corners = self.grid.starts[self._tiles][first : first + len(out)] - (self.padded_y0, 0)
        return cut_tiles(padded, corners, self.tile_size, self.grid.padding, out)


def bands_of(grid: TileGrid, most_pixels: int) -> Iterator[GridBand]:
    """Bands that together answer for every row of the image once, from top to bottom.

    Each has as many rows of tiles as are cut from `most_pixels` px of the padded image, but one at least. A band whose
    tiles lie all in the padding, and answer for nothing, is left out.
    """
    rows = most_pixels // grid.padded_width
    n_rows = max(1, 1 + (rows - grid.tile_size) // (grid.tile_size - grid.overlap))
    for first in range(0, grid.rows, n_rows):
        band = GridBand(grid, first, min(first + n_rows, grid.rows))
        if band.height:
            yield band
