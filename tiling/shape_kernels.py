"""The work behind `flawmap.tiling.region_shapes`: hulls, rectangles and distances of regions given as spans.

Pixels are squares: the pixel (y, x) reaches from y to y + 1 and from x to x + 1, so that a region of one pixel is 1
long, and two pixels that touch are 0 apart. `y_scale` and `x_scale` are what a pixel is high and wide.
"""

import math

import numpy as np

from flawmap.tiling.compiled import compiled
from flawmap.tiling.region_kernels import root_of


@compiled
def rectangles(spans: np.ndarray, begins: np.ndarray, y_scale: float, x_scale: float, sides: np.ndarray) -> None:
    """Write the longer and the shorter side of the smallest rectangle around each region into `sides` [k, 2]."""
    for region in range(len(begins) - 1):
        hull = _hull(spans, begins[region], begins[region + 1], y_scale, x_scale)
        sides[region, 0], sides[region, 1] = _smallest_rectangle(hull)


@compiled
def _hull(spans: np.ndarray, first: int, last: int, y_scale: float, x_scale: float) -> np.ndarray:
    """Corners [n, 2] (y, x) of the convex hull of a region's pixels, in order; its spans come row by row.

    Andrew's monotone chain, once down the left side and once up the right side: rows come sorted already.
    """
    top, height = spans[first].y, spans[last - 1].y - spans[first].y + 1
    left, right = np.full(height + 1, np.inf), np.full(height + 1, -np.inf)  # of the corners between two rows
    x_origin = spans[first].x0  # small numbers: nothing is lost far from the image's corner
    for i in range(first, last):
        for y in range(spans[i].y - top, spans[i].y - top + 2):
            left[y] = min(left[y], float(spans[i].x0 - x_origin))
            right[y] = max(right[y], float(spans[i].x1 - x_origin))
    hull = np.empty((2 * (height + 1), 2), np.float64)
    n = _add_side(left, 1.0, y_scale, x_scale, hull, 0)
    return hull[: _add_side(right, -1.0, y_scale, x_scale, hull, n)]


@compiled
def _add_side(side: np.ndarray, turn: float, y_scale: float, x_scale: float, hull: np.ndarray, n: int) -> int:
    """Put the corners of one side behind the `n` of `hull`, downwards (turn 1) or upwards (-1); return how many."""
    start = n
    for k in range(len(side)):
        row = k if turn > 0 else len(side) - 1 - k
        if not math.isfinite(side[row]):
            continue
        y, x = row * y_scale, side[row] * x_scale
        while n - start >= 2:
            ay, ax = hull[n - 1, 0] - hull[n - 2, 0], hull[n - 1, 1] - hull[n - 2, 1]
            by, bx = y - hull[n - 2, 0], x - hull[n - 2, 1]
            if ay * bx - ax * by > 0:  # the last corner sticks out
                break
            n -= 1
        hull[n, 0], hull[n, 1] = y, x
        n += 1
    return n


@compiled
def _smallest_rectangle(hull: np.ndarray) -> tuple[float, float]:
    """(longer, shorter) side of the rectangle of the smallest area around `hull`: one of its sides lies on the hull's.

    Freeman and Shapira, "Determining the minimum-area encasing rectangle for an arbitrary closed curve", Communications
    of the ACM 18 (1975).
    """
    smallest, length, width = np.inf, 0.0, 0.0
    for i in range(len(hull)):
        after = (i + 1) % len(hull)
        uy, ux = hull[after, 0] - hull[i, 0], hull[after, 1] - hull[i, 1]
        norm = math.sqrt(uy * uy + ux * ux)
        if norm == 0:
            continue
        uy, ux = uy / norm, ux / norm
        along_low, along_high, across_low, across_high = np.inf, -np.inf, np.inf, -np.inf
        for j in range(len(hull)):
            along = hull[j, 0] * uy + hull[j, 1] * ux
            across = hull[j, 1] * uy - hull[j, 0] * ux
            along_low, along_high = min(along_low, along), max(along_high, along)
            across_low, across_high = min(across_low, across), max(across_high, across)
        one, other = along_high - along_low, across_high - across_low
        if one * other < smallest * (1 - 1e-12):  # of equal ones the first: rounding must not choose
            smallest, length, width = one * other, max(one, other), min(one, other)
    return length, width


@compiled
def nearest_gaps(
    spans: np.ndarray,
    begins: np.ndarray,
    boxes: np.ndarray,
    counted: np.ndarray,
    within: float,
    y_scale: float,
    x_scale: float,
) -> np.ndarray:
    """Distance of each region from the nearest other one that is `counted` (bool [k]); inf beyond `within`.

    `boxes` int64 [k, 4] half-open y0, x0, y1, x1.
    """
    nearest = np.full(len(boxes), np.inf)
    order = np.argsort(boxes[:, 0])
    falling = boxes[order]  # one after the other in memory: most pairs are only looked at
    for at in range(len(order)):
        i = order[at]
        for after in range(at + 1, len(order)):
            if (falling[after, 0] - falling[at, 2]) * y_scale > within:
                break  # and so are all that begin further down
            beside = max(falling[after, 1] - falling[at, 3], falling[at, 1] - falling[after, 3])
            j = order[after]
            if beside * x_scale > within or not (counted[i] or counted[j]):
                continue
            gap = _gap(spans, begins, boxes, i, j, within, y_scale, x_scale)
            if counted[j]:
                nearest[i] = min(nearest[i], gap)
            if counted[i]:
                nearest[j] = min(nearest[j], gap)
    return nearest


@compiled
def join_near(
    spans: np.ndarray, begins: np.ndarray, boxes: np.ndarray, within: float, y_scale: float, x_scale: float
) -> np.ndarray:
    """int64 [k]: the lowest number among the regions that each hangs together with over gaps of at most `within`."""
    parent = np.arange(len(boxes))
    order = np.argsort(boxes[:, 0])
    falling = boxes[order]
    for at in range(len(order)):
        i = order[at]
        for after in range(at + 1, len(order)):
            if (falling[after, 0] - falling[at, 2]) * y_scale > within:
                break
            if max(falling[after, 1] - falling[at, 3], falling[at, 1] - falling[after, 3]) * x_scale > within:
                continue
            j = order[after]
            root_i, root_j = root_of(parent, i), root_of(parent, j)
            if root_i != root_j and _gap(spans, begins, boxes, i, j, within, y_scale, x_scale) <= within:
                parent[max(root_i, root_j)] = min(root_i, root_j)
    for i in range(len(parent)):
        parent[i] = root_of(parent, i)
    return parent


@compiled
def _gap(
    spans: np.ndarray,
    begins: np.ndarray,
    boxes: np.ndarray,
    i: int,
    j: int,
    within: float,
    y_scale: float,
    x_scale: float,
) -> float:
    """Distance between the nearest pixels of two regions, edge to edge; inf beyond `within`."""
    down = max(boxes[i, 0] - boxes[j, 2], boxes[j, 0] - boxes[i, 2], 0) * y_scale
    across = max(boxes[i, 1] - boxes[j, 3], boxes[j, 1] - boxes[i, 3], 0) * x_scale
    if math.sqrt(down * down + across * across) > within:
        return np.inf
    nearest = np.inf
    start = begins[j]
    for a in range(begins[i], begins[i + 1]):
        y, x0, x1 = spans[a].y, spans[a].x0, spans[a].x1
        while start < begins[j + 1] and (y - spans[start].y - 1) * y_scale > within:
            start += 1  # above all that follow, too
        for b in range(start, begins[j + 1]):
            if (spans[b].y - y - 1) * y_scale > within:
                break
            down = max(abs(spans[b].y - y) - 1, 0) * y_scale
            across = max(spans[b].x0 - x1, x0 - spans[b].x1, 0) * x_scale
            nearest = min(nearest, math.sqrt(down * down + across * across))
    return nearest if nearest <= within else np.inf
