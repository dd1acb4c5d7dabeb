"""Tiles fitted to what counts of an image: nothing else is cut, scored or stitched.

    look              a grid: 12 tiles           fitted: 5 tiles, in rows of their own
    . . . . . . . .   +---+---+---+---+
    . . # # # . . .   |   |   |   |   |          first row that counts: a row of tiles begins there, and in it at every
    . . # # # . # #   +---+---+---+---+          column that counts and that no tile before has answered for
    . . # # # . # #   |   |   |   |   |
    . . . . . . . .   +---+---+---+---+          next row that counts: the next row of tiles

A tile answers for the same inner part as in a grid, so that scores are those of the whole image.
"""

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.look_map import Look


@dataclass(frozen=True)
class FittedGrid(TileGrid):
    """A `TileGrid` whose tiles answer for the pixels of `look` (uint8 [height, width]) above 0, and few others.

    Tiles are numbered in the order described above; there is none where nothing counts. Raises ValueError for a look of
    another size, UsageError as `TileGrid` does.
    """

    look: Look = field(kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.look.shape != (self.height, self.width):
            raise ValueError(f"`look` {self.look.shape} must be as large as the image {self.height, self.width}")

    def __str__(self) -> str:
        return (
            f"{self.width}x{self.height} px, what counts of it in {len(self)} tiles of {self.tile_size} px, "
            f"overlap {self.overlap} px"
        )

    def __len__(self) -> int:
        return len(self._tiles)

    @cached_property
    def starts(self) -> np.ndarray:
        return self._tiles[:, :2]

    @cached_property
    def owned_boxes(self) -> np.ndarray:
        in_tile = self._tiles[:, 2:] - np.tile(self.starts, 2)
        return np.concatenate([in_tile, self._tiles[:, 2:] - self.border], axis=1)

    def tile_start(self, index: int) -> tuple[int, int]:
        y, x = self.starts[self._checked(index)].tolist()
        return y, x

    @cached_property
    def _tiles(self) -> np.ndarray:
        """int64 [n, 6]: start (y, x) and owned box (y0, x0, y1, x1) of every tile. Plane: padded image."""
        tiles = []
        rows = self.border + np.flatnonzero(cv2.reduce(self.look, 1, cv2.REDUCE_MAX))
        for start_y, y0, y1 in self._cover(rows, self.padded_height):
            band = self.look[y0 - self.border : y1 - self.border]
            columns = self.border + np.flatnonzero(cv2.reduce(band, 0, cv2.REDUCE_MAX))
            tiles += [(start_y, start_x, y0, x0, y1, x1) for start_x, x0, x1 in self._cover(columns, self.padded_width)]
        return np.array(tiles, np.int64).reshape(-1, 6)

    def _cover(self, counted: np.ndarray, length: int) -> list[tuple[int, int, int]]:
        """(start, first owned, end of owned) of tiles along one padded axis that own every one of `counted`, rising."""
        before = self.overlap // 2  # as `owned_ends` cuts an overlap in its middle
        after = self.overlap - before
        last_start = length - self.tile_size
        tiles = []
        next_one = 0
        while next_one < len(counted):
            first = int(counted[next_one])
            start = min(max(0, first - before) // self.multiple * self.multiple, last_start)
            end = length if start == last_start else start + self.tile_size - after
            next_one = int(np.searchsorted(counted, end))
            tiles.append((start, first, int(counted[next_one - 1]) + 1))
        return tiles
