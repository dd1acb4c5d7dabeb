"""What a shift and a turn leave over: sheets stretch, boards are made of panels, parts of a layout lie a few px off.

After registration the reference is laid on the image and compared with it in large blocks. Where a block differs more
than most, it is looked for in its surroundings; what is found there is a candidate for the small blocks around, each of
which takes the one that fits it best. Displacements come from blocks of `LARGE` px only: a defect is too small to move
one, and cannot be explained away by a displacement of its own.

Large blocks are matched by normalised cross-correlation (Lewis, "Fast normalized cross-correlation", 1995) at half
size, then to a fraction of a px by a parabola through the differences.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.grid import Box
from flawmap.tiling.registration.levels import Grey, grey

Image = NDArray[Any]
Shift = tuple[float, float]  # px (dy, dx)

SMALL = 32  # px: blocks that have a displacement each
MARGIN = 16  # px around a small block that are compared with it
LARGE = 160  # px: blocks that displacements are found with...
STEP = 80  # px: ...one begins so far from the next: one of them lies all on its panel
SUSPECT = 1.3  # times the median difference of all large blocks, and a block is looked for elsewhere
NEAR = 2  # px around the place found at half size that are searched at full size
LIKENESS = 0.7  # correlation at the place found, at least
LARGE_GAIN = 0.9  # of the difference that a large block shows at its own place may be left elsewhere, at most: it may
# straddle two panels, of which one lies right
GAIN = 0.8  # the same of a small block
SMALLEST = 0.7  # px: a displacement below it is none


@dataclass(frozen=True)
class LocalShifts:
    """Displacements beside a pose, a block of `SMALL` px each; (0, 0) where the pose fits.

    `shifts`: float32 [rows, columns, 2], px (dy, dx). What the pose lays at pixel (y, x) of a block is, in truth, what
    it lays at (y + dy, x + dx).
    """

    shifts: NDArray[np.float32]

    def __bool__(self) -> bool:
        return bool(self.shifts.any())

    @property
    def largest(self) -> float:
        """px."""
        return float(np.hypot(*np.moveaxis(self.shifts, 2, 0)).max(initial=0.0))

    def within(self, y0: int, x0: int, y1: int, x1: int) -> Iterator[tuple[Box, float, float]]:
        """(box, dy, dx) of displaced blocks, as far as they lie within the box given; px of the image.

        Neighbours in a row that are displaced alike come as one.
        """
        first_row, first_column = y0 // SMALL, x0 // SMALL
        part = self.shifts[first_row : -(-y1 // SMALL), first_column : -(-x1 // SMALL)]
        for row in np.flatnonzero(part.any(axis=(1, 2))).tolist():
            top = (row + first_row) * SMALL
            changes = np.flatnonzero((part[row, 1:] != part[row, :-1]).any(axis=1)) + 1
            for start, end in pairwise([0, *changes.tolist(), part.shape[1]]):
                dy, dx = part[row, start].tolist()
                if dy or dx:
                    left, right = (start + first_column) * SMALL, (end + first_column) * SMALL
                    yield Box(max(top, y0), max(left, x0), min(top + SMALL, y1), min(right, x1)), dy, dx


def measure_local_shifts(laid: Image, image: Image, reach: int) -> LocalShifts:
    """By how much `image` lies beside `laid`, the reference as the pose lays it on the image.

    Both [H, W] or [H, W, C] of one dtype. `reach`: px along both axes, the farthest that is looked; 0 finds nothing.
    """
    height, width = image.shape[:2]
    n_small = -(-height // SMALL), -(-width // SMALL)
    shifts = np.zeros((*n_small, 2), np.float32)
    if reach and min(height, width) >= LARGE + 2 * reach:
        for (row, column), candidates in _candidates(laid, image, reach).items():
            shifts[row, column] = _best(laid, image, row, column, candidates)
    return LocalShifts(shifts)


def warp_displaced(out: Image, y: int, x: int, local: LocalShifts, warp: Callable[[Box, float, float], Image]) -> None:
    """Overwrites the displaced blocks of `out`, a picture's pixels from (`y`, `x`) on, with `warp(box, dy, dx)`."""
    for box, dy, dx in local.within(y, x, y + out.shape[0], x + out.shape[1]):
        out[box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x] = warp(box, dy, dx)


def _candidates(laid: Image, image: Image, reach: int) -> dict[tuple[int, int], list[Shift]]:
    """For every small block near a displaced large one: the displacements found around it, one of each whole px."""
    height, width = image.shape[:2]
    ys, xs = (_starts(n, reach) for n in (height, width))
    differences = np.array([[_difference(laid, image, y, x, LARGE) for x in xs] for y in ys])
    suspect = differences > SUSPECT * float(np.median(differences))
    displaced: list[tuple[float, Shift, int, int]] = []
    for row, column in np.argwhere(suspect).tolist():
        y, x = ys[row], xs[column]
        shift = _displacement(laid, image, y, x, reach)
        if shift is None or max(map(abs, shift)) < SMALLEST:  # not found, or where it should be
            continue
        left = _difference(laid, image, y, x, LARGE, 0, shift) / differences[row, column]
        if left <= LARGE_GAIN:
            displaced.append((left, shift, y, x))
    found: dict[tuple[int, int], dict[tuple[int, int], Shift]] = {}
    for _, shift, y, x in sorted(displaced):  # what leaves least was measured best
        whole = round(shift[0]), round(shift[1])
        for small_y in range(max(0, y - LARGE) // SMALL, -(-min(height, y + 2 * LARGE) // SMALL)):
            for small_x in range(max(0, x - LARGE) // SMALL, -(-min(width, x + 2 * LARGE) // SMALL)):
                found.setdefault((small_y, small_x), {}).setdefault(whole, shift)
    return {block: list(shifts.values()) for block, shifts in found.items()}


def _starts(n: int, reach: int) -> list[int]:
    """Of large blocks along `n` px; they keep `reach` from either end, so that they can be looked for all around."""
    last = n - LARGE - reach
    return [int(start) for start in np.unique(np.append(np.arange(reach, last, STEP), last))]


def _displacement(laid: Image, image: Image, y: int, x: int, reach: int) -> Shift | None:
    """Where the large block of `image` at (y, x) is found in `laid`, beside its place; None where it is not."""
    window = laid[y - reach : y + LARGE + reach, x - reach : x + LARGE + reach]
    block, window = grey(image[y : y + LARGE, x : x + LARGE]), grey(window)
    if float(np.ptp(block)) == 0:
        return None
    alike = cv2.matchTemplate(_half(window), _half(block), cv2.TM_CCOEFF_NORMED)
    best_y, best_x = np.unravel_index(int(alike.argmax()), alike.shape)
    if alike[best_y, best_x] < LIKENESS:
        return None
    y1, x1 = (max(0, 2 * int(n) - NEAR) for n in (best_y, best_x))
    near = window[y1 : y1 + LARGE + 2 * NEAR, x1 : x1 + LARGE + 2 * NEAR]
    squares: Grey = np.asarray(cv2.matchTemplate(near, block, cv2.TM_SQDIFF), np.float32)
    step_y, step_x = (int(n) for n in np.unravel_index(int(squares.argmin()), squares.shape))
    dy = y1 + step_y - reach + _vertex(squares[:, step_x], step_y)
    dx = x1 + step_x - reach + _vertex(squares[step_y], step_x)
    return dy, dx


def _best(laid: Image, image: Image, row: int, column: int, candidates: list[Shift]) -> Shift:
    """The candidate that explains the small block best; none where none explains it much better than the pose.

    With its margin, which tells more, and by itself: at a seam the margin lies on another panel (of several windows the
    one that fits best counts: Fusiello, Roberto and Trucco, "Efficient stereo with multiple windowing", CVPR 1997).
    """
    y, x = row * SMALL, column * SMALL
    best, least = (0.0, 0.0), GAIN
    for margin in (MARGIN, 0):
        own = _difference(laid, image, y, x, SMALL, margin)
        if own == 0:  # nothing is left to explain
            continue
        for shift in candidates:
            left = _difference(laid, image, y, x, SMALL, margin, shift) / own
            if left < least:
                best, least = shift, left
    return best


def _difference(
    laid: Image, image: Image, y: int, x: int, side: int, margin: int = 0, shift: Shift = (0.0, 0.0)
) -> float:
    """Mean absolute difference of a block and its margin, `laid` displaced by whole px; as far as both reach."""
    height, width = image.shape[:2]
    dy, dx = round(shift[0]), round(shift[1])
    y0, x0 = max(0, y - margin, -dy), max(0, x - margin, -dx)
    y1, x1 = min(height, height - dy, y + side + margin), min(width, width - dx, x + side + margin)
    if y0 >= y1 or x0 >= x1:
        return np.inf
    apart = cv2.absdiff(image[y0:y1, x0:x1], laid[y0 + dy : y1 + dy, x0 + dx : x1 + dx])
    return float(cv2.mean(apart.reshape(len(apart), -1))[0])


def _half(picture: Grey) -> Grey:
    return np.asarray(cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.float32)


def _vertex(squares: NDArray[np.float32], at: int) -> float:
    """Where the parabola through three neighbours has its lowest point, px from `at`; 0 at the end of the row."""
    if not 0 < at < len(squares) - 1:
        return 0.0
    before, here, after = (float(v) for v in squares[at - 1 : at + 2])
    curve = before - 2 * here + after
    return float(np.clip((before - after) / (2 * curve), -0.5, 0.5)) if curve > 0 else 0.0
