"""The filters of a PNG's rows undone: each byte was written as its difference from what its neighbours foretell.

Format: https://www.w3.org/TR/png-3/#9Filters
"""

import numpy as np

from flawmap.tiling.compiled import compiled, inlined


@compiled
def unfilter(rows: np.ndarray, above: np.ndarray, pixel_bytes: int, pixels: np.ndarray) -> bool:
    """Undo the filters of `rows` [n, 1 + bytes], each led by its filter's number, into `pixels` [n, bytes]; uint8.

    `above` [bytes] is the row before the first. False for a filter that does not exist.
    """
    step, width = np.uintp(pixel_bytes), np.uintp(pixels.shape[1])
    one, first = np.uintp(1), np.uintp(0)
    before = np.empty((1, pixels.shape[1]), np.uint8)
    before[0] = above
    for row in range(rows.shape[0]):
        y, kind = np.uintp(row), rows[row, 0]
        up, up_y = (pixels, y - one) if row > 0 else (before, first)
        if kind == 0:
            for x in range(width):
                pixels[y, x] = rows[y, x + one]
        elif kind == 1:
            for start in range(step):  # along one byte of a pixel, so that the value before it stays in a register
                value = np.uint8(0)
                for x in range(start, width, step):
                    value += rows[y, x + one]
                    pixels[y, x] = value
        elif kind == 2:
            for x in range(width):
                pixels[y, x] = rows[y, x + one] + up[up_y, x]
        elif kind == 3:
            for start in range(step):
                value = np.uint8(0)
                for x in range(start, width, step):
                    value = np.uint8(rows[y, x + one] + ((np.int32(value) + np.int32(up[up_y, x])) >> 1))
                    pixels[y, x] = value
        elif kind == 4:
            for start in range(step):
                left, corner = np.int32(0), np.int32(0)
                for x in range(start, width, step):
                    over = np.int32(up[up_y, x])
                    left = np.int32(rows[y, x + one] + _paeth(left, over, corner)) & np.int32(0xFF)
                    pixels[y, x] = left
                    corner = over
        else:
            return False
    return True


@inlined
def _paeth(left: np.int32, up: np.int32, corner: np.int32) -> np.int32:
    """Whichever of the three is nearest to left + up - corner."""
    to_left, to_up = up - corner, left - corner
    to_corner = abs(to_left + to_up)
    to_left, to_up = abs(to_left), abs(to_up)
    guess, nearest = (corner, to_corner) if to_corner < to_up else (up, to_up)
    return left if to_left <= nearest else guess
