"""Routes a board's traces on a grid: straight runs and 45 degree bends that keep clear of everything placed before."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

PITCH = 12
"""Px from one routing track to the next."""

Cell = tuple[int, int]  # (row, column) of the routing grid


class Router:
    """Who owns which cell of the routing grid: 0 nobody, -1 kept clear, else a net."""

    def __init__(self, height: int, width: int) -> None:
        self.owner: NDArray[np.int32] = np.zeros((height // PITCH, width // PITCH), np.int32)

    def is_free(self, y0: int, x0: int, y1: int, x1: int) -> bool:
        """Whether a half-open box of cells lies on the board and belongs to nobody."""
        rows, columns = self.owner.shape
        inside = y0 >= 0 and x0 >= 0 and y1 <= rows and x1 <= columns
        return inside and not self.owner[y0:y1, x0:x1].any()

    def take(self, y0: int, x0: int, y1: int, x1: int, net: int) -> None:
        """Gives a half-open box of cells to a net."""
        self.owner[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = net

    def connect(self, start: Cell, end: Cell, net: int, other: int, rng: np.random.Generator) -> list[Cell] | None:
        """The corners of a free way from `start` (in `net`) to `end` (in `other`), which it then owns; None: no way."""
        for corners in _ways(start, end, rng):
            cells = _cells(corners)
            rows, columns = cells[:, 0], cells[:, 1]
            if rows.min() < 1 or columns.min() < 1 or rows.max() >= len(self.owner) - 1:
                continue
            if columns.max() >= self.owner.shape[1] - 1:
                continue
            owners = self.owner[rows, columns]
            if not np.isin(owners, (0, net, other)).all():
                continue
            # A diagonal cuts corners: the cells beside it must be nobody's too.
            beside = self.owner[rows[1:], columns[:-1]]
            if not np.isin(beside, (0, net, other)).all():
                continue
            self.owner[rows, columns] = net
            self.owner[rows[1:], columns[:-1]] = net
            return corners
        return None


def _ways(start: Cell, end: Cell, rng: np.random.Generator) -> list[list[Cell]]:
    """Ways with one diagonal: first, last or in the middle of the straight run."""
    dy, dx = end[0] - start[0], end[1] - start[1]
    diagonal = min(abs(dy), abs(dx))
    sy, sx = int(np.sign(dy)), int(np.sign(dx))
    straight = max(abs(dy), abs(dx)) - diagonal
    step = (sy, 0) if abs(dy) > abs(dx) else (0, sx)
    ways: list[list[Cell]] = []
    for before in (straight // 2, straight, 0, straight // 4, 3 * straight // 4):
        bend = (start[0] + step[0] * before, start[1] + step[1] * before)
        after = (bend[0] + sy * diagonal, bend[1] + sx * diagonal)
        ways.append([start, bend, after, end])
    first = ways[1:]
    rng.shuffle(first)
    return [ways[0], *first]


def _cells(corners: list[Cell]) -> NDArray[np.int64]:
    """All cells along the way, [n, 2]."""
    runs = [np.array([corners[0]])]
    for a, b in pairwise(corners):
        steps = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
        if steps:
            runs.append(np.rint(np.linspace(a, b, steps + 1)[1:]).astype(int))
    return np.concatenate(runs)
