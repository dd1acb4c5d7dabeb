"""Copying pixels between tiles and images.

Pixels arrive as rows of bytes or of float32 (`width` below counts these), so that each kernel is compiled once or
twice and not for every dtype and channel count. A row is sliced before the loop over it, and
from a row, never a box from an image: numba then knows it to be contiguous and the loop is twice as fast.
"""

import numpy as np

from flawmap.tiling.compiled import compiled


@compiled
def copy_tiles(padded: np.ndarray, corners: np.ndarray, tiles: np.ndarray) -> None:
    """Copy the tiles at `corners` [n, 2] (y, x) of `padded` [height, width] into `tiles` [n, rows, width]."""
    for k in range(corners.shape[0]):
        y0, x0 = corners[k, 0], corners[k, 1]
        for y in range(tiles.shape[1]):
            target = tiles[k, y]
            source = padded[y0 + y][x0 : x0 + target.shape[0]]
            for x in range(target.shape[0]):
                target[x] = source[x]


@compiled
def copy_owned(tiles: np.ndarray, boxes: np.ndarray, image: np.ndarray) -> tuple[int, int, int]:
    """Copy the owned box of each of `tiles` [n, rows, width] into `image` [height, width]; stop at NaN and infinity.

    `boxes` [n, 8]: y0, x0, y1, x1 in the tile, then in the image. Returns (k, y, x) of the first value that is not
    finite, in the tile plane, or (-1, -1, -1).
    """
    for k in range(boxes.shape[0]):
        y0, x0, y1, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        image_y0, image_x0, image_x1 = boxes[k, 4], boxes[k, 5], boxes[k, 7]
        for y in range(y1 - y0):
            source = tiles[k, y0 + y][x0:x1]
            target = image[image_y0 + y][image_x0:image_x1]
            broken = False
            for x in range(source.shape[0]):
                value = source[x]
                broken |= value - value != 0  # NaN and the infinities; never true for bytes
                target[x] = value
            if broken:
                for x in range(source.shape[0]):
                    if source[x] - source[x] != 0:
                        return k, y0 + y, x0 + x
    return -1, -1, -1
