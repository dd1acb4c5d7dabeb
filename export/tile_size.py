"""Which tile size scores an image with the least work: overlaps and padding are pixels scored twice or for nothing."""

from collections.abc import Callable

import cv2
import numpy as np

from flawmap.tiling.fitted_grid import FittedGrid
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.look_map import Look

SMALLEST, LARGEST = 256, 1280  # px: below, overlaps eat everything; above, working memory leaves the 1.2 GiB budget
PIXELS_PER_CALL = 20_000  # what a call of the network costs beyond its pixels, measured in pixels
MOVES = 24  # px: a part that is not quite in its place must not need one more row of tiles


def choose_tile_size(image_sizes: list[tuple[int, int]], overlap: int, stride: int, border: int) -> int:
    """The multiple of `stride` that scores images of `image_sizes` (height, width) with the least work.

    Works for mixed sizes and for images smaller than any tile; without images it answers 1024 or the nearest that holds
    twice the overlap.
    """
    if not image_sizes:
        return max(1024 - 1024 % stride, _candidates(overlap, stride)[0])
    return _least_work(
        _candidates(overlap, stride),
        lambda size: sum(len(TileGrid(h, w, size, overlap, multiple=stride, border=border)) for h, w in image_sizes),
    )


def choose_fitted_tile_size(look: Look, overlap: int, stride: int, border: int) -> int:
    """The same where only what `look` (uint8 [H, W]) shows counts, and tiles are fitted to it: see `FittedGrid`."""
    height, width = look.shape
    around = np.asarray(cv2.dilate(look, np.ones((2 * MOVES + 1,) * 2, np.uint8)), np.uint8)

    def n_tiles(size: int) -> int:
        return len(FittedGrid(height, width, size, overlap, multiple=stride, border=border, look=around))

    return _least_work(_candidates(overlap, stride), n_tiles)


def _candidates(overlap: int, stride: int) -> range:
    smallest = max(SMALLEST, 2 * overlap)
    smallest += -smallest % stride
    return range(smallest, max(LARGEST, smallest) + 1, stride)


def _least_work(sizes: range, n_tiles: Callable[[int], int]) -> int:
    return min(sizes, key=lambda size: n_tiles(size) * (size * size + PIXELS_PER_CALL))
