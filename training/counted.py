"""Which pixels of the good images count: training draws its tiles there, and measures nothing elsewhere."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.context_map import Matrix
from flawmap.tiling.errors import UsageError
from flawmap.tiling.look_map import INSIDE, OUTSIDE, Look, LookMap
from flawmap.tiling.padding import Padding, source_index
from flawmap.tiling.plain_background import BLOCK, Blocks

CELL = 16  # px: places are drawn cell by cell


@dataclass(frozen=True)
class Counted:
    """What counts of images of `sizes` (height, width) px around which at least `border` px are padded.

    `padded_sizes`: with these, which show what `padding` says.
    `look_map`: what an engineer drew; `to_map` takes the px of each image to it, None where they are the same.
    `backgrounds`: blocks of each image that show no part. Either may be missing.
    """

    sizes: list[tuple[int, int]]
    padded_sizes: list[tuple[int, int]]
    border: int
    padding: Padding
    look_map: LookMap | None = None
    to_map: list[Matrix] = field(default_factory=list)
    backgrounds: list[Blocks] = field(default_factory=list)

    def look(self, index: int, y: int, x: int, height: int, width: int) -> Look:
        """The look of `height` x `width` px from (`y`, `x`) on in padded image `index`."""
        look = np.full((height, width), INSIDE, np.uint8)
        if self.look_map is not None:
            to_map = self.to_map[index] if self.to_map else None
            look = self.look_map.tile(to_map, self.border, self.padding, y, x, height, width)
        if self.backgrounds:
            rows, columns = (
                source_index(np.arange(first - self.border, first - self.border + n), side, self.padding) // BLOCK
                for first, n, side in zip((y, x), (height, width), self.sizes[index], strict=True)
            )
            look = np.where(self.backgrounds[index][np.ix_(rows, columns)], np.uint8(OUTSIDE), look)
        return look

    def draw_image(self, rng: np.random.Generator) -> int:
        """A random image of which something counts."""
        images = [index for index, cells in enumerate(self._cells) if len(cells)]
        return images[int(rng.integers(len(images)))]

    def draw(self, rng: np.random.Generator, index: int, height: int, width: int) -> tuple[int, int]:
        """(y, x) in padded image `index` of a random tile of which something counts, in its middle if there is room."""
        cells = self._cells[index]
        at = cells[int(rng.integers(len(cells)))]
        half = np.array([max(1, height // 2), max(1, width // 2)])
        corner = at - (height, width) + (height // 4, width // 4) + rng.integers(0, half)
        y, x = np.clip(corner, 0, np.subtract(self.padded_sizes[index], (height, width))).tolist()
        return y, x

    def middle(self, index: int) -> tuple[int, int]:
        """(y, x) in padded image `index`, in the middle of what counts of it, or of the image if nothing does."""
        cells = self._cells[index]
        y, x = np.median(cells, axis=0) if len(cells) else np.array(self.padded_sizes[index]) / 2
        return int(y), int(x)

    def counts(self, index: int, y: int, x: int, height: int, width: int) -> bool:
        """Whether anything counts in the middle half of the tile at (`y`, `x`) of padded image `index`."""
        return bool(self.look(index, y + height // 4, x + width // 4, -(-height // 2), -(-width // 2)).any())

    @cached_property
    def _cells(self) -> list[NDArray[np.int64]]:
        """(y, x), in the padded image, of one pixel that counts in every cell that has one; int64 [k, 2] an image."""
        found: list[NDArray[np.int64]] = []
        for index, (height, width) in enumerate(self.sizes):
            if index and not self.to_map and not self.backgrounds:
                found.append(found[0])  # all look alike
                continue
            look = self.look(index, self.border, self.border, height, width)
            found.append(self.border + _one_a_cell(look))
        if not any(len(cells) for cells in found):
            raise UsageError("`where` leaves nothing to look at on the good images")
        return found


def _one_a_cell(look: Look) -> NDArray[np.int64]:
    """(y, x) of the first pixel above 0 in every square of `CELL` px that has one; int64 [k, 2]."""
    y, x = np.nonzero(look)
    _, first = np.unique((y // CELL) * look.shape[1] + x // CELL, return_index=True)
    return np.stack([y[first], x[first]], axis=1)
