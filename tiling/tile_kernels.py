"""Copying pixels between tiles and images.

Pixels arrive as rows of bytes or of float32 (`width` below counts these), so that each kernel is compiled once or
twice and not for every dtype and channel count. Loops over a row go by unsigned indices into the whole array, never
over a slice of it: `flawmap.tiling.streaming` says why.

Every kernel takes the rows of part `part` of `parts` of each tile (see `flawmap.tiling.threads`).
"""

import numpy as np

from flawmap.tiling.compiled import compiled, inlined
from flawmap.tiling.streaming import settle, stream_row


@compiled
def copy_tiles(
    image: np.ndarray,
    corners: np.ndarray,
    bytes_a_pixel: int,
    replicate: bool,
    tiles: np.ndarray,
    part: int,
    parts: int,
) -> None:
    """Copy the tiles at `corners` [n, 2] (y, x in px) of `image` [height, width] bytes into `tiles` [n, rows, width].

    Where tiles reach beyond the image they show its last pixel (`replicate`), or the image reflected at it.
    """
    size = tiles.shape[1]
    height, width = image.shape[0], image.shape[1] // bytes_a_pixel
    for k in range(corners.shape[0]):
        y0, x0 = corners[k, 0], corners[k, 1]
        left = min(max(0, -x0), size)  # px of the tile: up to here, and from `right` on, beyond the image
        right = max(left, min(size, width - x0))
        for y in range(size * part // parts, size * (part + 1) // parts):
            image_y = _source_index(y0 + y, height, replicate)
            _copy_bytes(
                image, image_y, (x0 + left) * bytes_a_pixel, tiles, k, y, left * bytes_a_pixel, right * bytes_a_pixel
            )
            if left > 0 or right < size:  # to be called for nothing took three times as long as the copy
                _copy_padding(image, image_y, x0, 0, left, width, bytes_a_pixel, replicate, tiles, k, y)
                _copy_padding(image, image_y, x0, right, size, width, bytes_a_pixel, replicate, tiles, k, y)


@compiled
def _copy_bytes(
    image: np.ndarray, image_y: int, image_begin: int, tiles: np.ndarray, k: int, y: int, begin: int, end: int
) -> None:
    source_y, source_x = np.uintp(image_y), np.uintp(image_begin)
    tile, target_y, target_x = np.uintp(k), np.uintp(y), np.uintp(begin)
    for x in range(np.uintp(end - begin)):
        tiles[tile, target_y, target_x + x] = image[source_y, source_x + x]


@compiled
def _copy_padding(
    image: np.ndarray,
    image_y: int,
    x0: int,
    begin: int,
    end: int,
    width: int,
    bytes_a_pixel: int,
    replicate: bool,
    tiles: np.ndarray,
    k: int,
    y: int,
) -> None:
    for x in range(begin, end):
        source = _source_index(x0 + x, width, replicate) * bytes_a_pixel
        for byte in range(bytes_a_pixel):
            tiles[k, y, x * bytes_a_pixel + byte] = image[image_y, source + byte]


@compiled
def _source_index(index: int, length: int, replicate: bool) -> int:
    """As `flawmap.tiling.padding.source_index`, of one index."""
    if 0 <= index < length:
        return index
    if replicate:
        return 0 if index < 0 else length - 1
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
    size = tiles.shape[1]
    rows = tiles.reshape(tiles.shape[0] * size, tiles.shape[2])
    broken = -1, -1, -1
    for k in range(boxes.shape[0]):
        y0, x0, y1, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        image_y0, image_x0 = boxes[k, 4], boxes[k, 5]
        for y in range((y1 - y0) * part // parts, (y1 - y0) * (part + 1) // parts):
            row, begin, width = np.uintp(k * size + y0 + y), np.uintp(x0), np.uintp(x1 - x0)
            stream_row(rows, row, begin, image, np.uintp(image_y0 + y), np.uintp(image_x0), width)
            x = _first_broken(rows, row, begin, width)
            if x >= 0:
                broken = k, y0 + y, x0 + x
                break
        if broken[0] >= 0:
            break
    settle()
    return broken


@inlined
def _first_broken(rows: np.ndarray, row: np.uintp, begin: np.uintp, width: np.uintp) -> np.intp:
    """Where the first of the `width` values from `begin` on is that is NaN or infinite, counted from there, or -1."""
    broken = False
    for x in range(width):
        value = rows[row, begin + x]
        broken |= value - value != 0  # NaN and the infinities; never true for bytes
    if broken:
        for x in range(width):
            value = rows[row, begin + x]
            if value - value != 0:
                return np.intp(x)
    return np.intp(-1)


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
    values = np.empty((1, tiles.shape[2]), np.float32)  # of one row, which stay in the cache
    residual = np.empty((1, tiles.shape[1]), np.float32)
    first, count = np.uintp(0), np.uintp(channels)
    broken = -1, -1, -1
    for k in range(boxes.shape[0]):
        y0, x0, y1, x1 = boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3]
        image_y0, image_x0, width = boxes[k, 4], np.uintp(boxes[k, 5]), np.uintp(x1 - x0)
        for y in range((y1 - y0) * part // parts, (y1 - y0) * (part + 1) // parts):
            tile, row, image_y = np.uintp(k), np.uintp(y0 + y), np.uintp(image_y0 + y)
            begin = np.uintp(x0 * channels)
            if channels == 1:
                finite = _residuals(tiles, reconstructions, tile, row, begin, values, width)
                stream_row(values, first, first, image, image_y, image_x0, width)
            else:
                finite = _residuals(tiles, reconstructions, tile, row, begin, values, width * count)
                _largest_of_channels(values, count, residual, width)
                stream_row(residual, first, first, image, image_y, image_x0, width)
            if not finite:
                at = _first_broken(values, first, first, width * count)
                image[image_y, image_x0 + np.uintp(at // channels)] = values[first, np.uintp(at)]
                broken = k, y0 + y, x0 + at // channels
                break
        if broken[0] >= 0:
            break
    settle()
    return broken


@inlined
def _residuals(
    tiles: np.ndarray,
    reconstructions: np.ndarray,
    tile: np.uintp,
    row: np.uintp,
    begin: np.uintp,
    values: np.ndarray,
    width: np.uintp,
) -> bool:
    """Write `width` residuals of a row of one tile, from `begin` on, into `values` [1, *]; whether all are finite."""
    first = np.uintp(0)
    broken = False
    for x in range(width):
        shown, expected = tiles[tile, row, begin + x], reconstructions[tile, row, begin + x]
        value = abs(np.float32(shown) - np.float32(expected))
        broken |= value - value != 0
        values[first, x] = value
    return not broken


@inlined
def _largest_of_channels(values: np.ndarray, channels: np.uintp, residual: np.ndarray, width: np.uintp) -> None:
    """Write the largest of every `channels` of `values` [1, *] into `residual` [1, *], `width` times."""
    first = np.uintp(0)
    for x in range(width):
        residual[first, x] = values[first, x * channels]
    for c in range(np.uintp(1), channels):
        for x in range(width):
            residual[first, x] = max(residual[first, x], values[first, x * channels + c])
