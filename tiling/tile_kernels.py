"""Copying pixels between tiles and images.

Pixels arrive as rows of bytes or of float32 (`width` below counts these), so that each kernel is compiled once or
twice and not for every dtype and channel count. A row is sliced before the loop over it, and
from a row, never a box from an image: numba then knows it to be contiguous and the loop is twice as fast.

Every kernel takes the rows of part `part` of `parts` of each tile (see `flawmap.tiling.threads`).
"""

import numpy as np

from flawmap.tiling.compiled import compiled


@compiled
def copy_tiles(
    image: np.ndarray, corners: np.ndarray, bytes_a_pixel: int, tiles: np.ndarray, part: int, parts: int
) -> None:
    """Copy the tiles at `corners` [n, 2] (y, x in px) of `image` [height, width] bytes into `tiles` [n, rows, width].

    Tiles may reach beyond the image, which is reflected there without repeating its edge pixel.
    """
    size = tiles.shape[1]
    height, width = image.shape[0], image.shape[1] // bytes_a_pixel
    for k in range(corners.shape[0]):
        y0, x0 = corners[k, 0], corners[k, 1]
        left = min(max(0, -x0), size)  # px of the tile: up to here, and from `right` on, reflection
        right = max(left, min(size, width - x0))
        begin, end = (x0 + left) * bytes_a_pixel, (x0 + right) * bytes_a_pixel
        whole = left == 0 and right == size
        for y in range(size * part // parts, size * (part + 1) // parts):
            row = image[_reflected(y0 + y, height)]
            tile_row = tiles[k, y]
            source = row[begin:end]
            if whole:
                for x in range(tile_row.shape[0]):
                    tile_row[x] = source[x]
                continue
            target = tile_row[left * bytes_a_pixel : right * bytes_a_pixel]
            for x in range(target.shape[0]):
                target[x] = source[x]
            _copy_reflected(row, x0, 0, left, width, bytes_a_pixel, tile_row)
            _copy_reflected(row, x0, right, size, width, bytes_a_pixel, tile_row)


@compiled
def _copy_reflected(
    row: np.ndarray, x0: int, begin: int, end: int, width: int, bytes_a_pixel: int, tile_row: np.ndarray
) -> None:
    for x in range(begin, end):
        source = _reflected(x0 + x, width) * bytes_a_pixel
        for byte in range(bytes_a_pixel):
            tile_row[x * bytes_a_pixel + byte] = row[source + byte]


@compiled
def _reflected(index: int, length: int) -> int:
    """Where a line of `length` px, mirrored at its first and last px for ever, shows `index`."""
    if 0 <= index < length:
        return index
    if length == 1:
        return 0
    period = 2 * length - 2
    index %= period
    return index if index < length else period - index


@compiled
def copy_owned(tiles: np.ndarray, boxes: np.ndarray, image: np.ndarray, part: int, parts: int) -> tuple[int, int, int]:
    """Copy the owned box of each of `tiles` [n, rows, width] into `image` [height, width]; stop at NaN and infinity.

    `boxes` [n, 8]: y0, x0, y1, x1 in the tile, then in the image. Returns (k, y, x) of the first value that is not
    finite, in the tile plane, or (-1, -1, -1).
    """
    for k in range(boxes.shape[0]):
        y0, x0, y1, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        image_y0, image_x0, image_x1 = boxes[k, 4], boxes[k, 5], boxes[k, 7]
        for y in range((y1 - y0) * part // parts, (y1 - y0) * (part + 1) // parts):
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


@compiled
def copy_residual(
    tiles: np.ndarray,
    reconstructions: np.ndarray,
    channels: int,
    boxes: np.ndarray,
    image: np.ndarray,
    part: int,
    parts: int,
) -> tuple[int, int, int]:
    """As `copy_owned`, with the residual |tile - reconstruction|, of several channels the largest, as float32.

    `tiles` and `reconstructions` are [n, rows, width * channels] of one dtype, uint8, uint16 or float32; `boxes` and
    what is returned count px.
    """
    for k in range(boxes.shape[0]):
        y0, x0, y1, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        image_y0, image_x0, image_x1 = boxes[k, 4], boxes[k, 5], boxes[k, 7]
        for y in range((y1 - y0) * part // parts, (y1 - y0) * (part + 1) // parts):
            shown = tiles[k, y0 + y][x0 * channels : x1 * channels]
            expected = reconstructions[k, y0 + y][x0 * channels : x1 * channels]
            target = image[image_y0 + y][image_x0:image_x1]
            broken = False
            if channels == 1:
                for x in range(target.shape[0]):
                    value = abs(np.float32(shown[x]) - np.float32(expected[x]))
                    broken |= value - value != 0
                    target[x] = value
            else:
                for x in range(target.shape[0]):
                    value = np.float32(0)
                    for c in range(x * channels, (x + 1) * channels):
                        one = abs(np.float32(shown[c]) - np.float32(expected[c]))
                        broken |= one - one != 0
                        value = max(value, one)
                    target[x] = value
            if broken:
                for x in range(target.shape[0]):
                    for c in range(x * channels, (x + 1) * channels):
                        one = np.float32(shown[c]) - np.float32(expected[c])
                        if one - one != 0:
                            target[x] = one
                            return k, y0 + y, x0 + x
    return -1, -1, -1
