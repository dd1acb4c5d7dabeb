"""The tiling written the slow, obvious way: what the kernels are held against."""

from collections import deque
from typing import Any

import numpy as np

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.padding import Padding
from flawmap.tiling.regions import REGION_DTYPE

NUMPY_MODES: dict[Padding, Any] = {"reflect": "reflect", "replicate": "edge"}  # of np.pad


def depth(grid: TileGrid, index: int) -> np.ndarray:
    """How deep every pixel of the padded image lies in tile `index` (1 at its edge), -1 outside of it.

    An edge that the tile shares with the padded image does not count.
    """
    start_y, start_x = grid.tile_start(index)
    depths = np.full((grid.padded_height, grid.padded_width), -1)
    for y in range(start_y, start_y + grid.tile_size):
        for x in range(start_x, start_x + grid.tile_size):
            distances = [10**6]
            if start_y > 0:
                distances.append(y - start_y + 1)
            if start_x > 0:
                distances.append(x - start_x + 1)
            if start_y + grid.tile_size < grid.padded_height:
                distances.append(start_y + grid.tile_size - y)
            if start_x + grid.tile_size < grid.padded_width:
                distances.append(start_x + grid.tile_size - x)
            depths[y, x] = min(distances)
    return depths


def to_image_plane(grid: TileGrid, padded: np.ndarray) -> np.ndarray:
    return padded[grid.border : grid.border + grid.height, grid.border : grid.border + grid.width]


def cut(grid: TileGrid, padded: np.ndarray) -> np.ndarray:
    """All tiles at once."""
    starts = [grid.tile_start(index) for index in range(len(grid))]
    return np.stack([padded[y : y + grid.tile_size, x : x + grid.tile_size] for y, x in starts])


def components(heatmap: np.ndarray, grow: float, reach: int) -> list[list[tuple[int, int]]]:
    """Pixels >= grow in sets of those that hang together: breadth-first, over (2 reach + 1)^2 neighbours."""
    waiting = {(int(y), int(x)) for y, x in np.argwhere(heatmap >= np.float32(grow))}
    found = []
    while waiting:
        start = min(waiting)
        waiting.remove(start)
        members, queue = [start], deque([start])
        while queue:
            y, x = queue.popleft()
            for near_y in range(y - reach, y + reach + 1):
                for near_x in range(x - reach, x + reach + 1):
                    if (near_y, near_x) in waiting:
                        waiting.remove((near_y, near_x))
                        members.append((near_y, near_x))
                        queue.append((near_y, near_x))
        found.append(sorted(members))
    return found


def find_regions(heatmap: np.ndarray, grow: float, seed: float, reach: int = 1) -> np.ndarray:
    rows = []
    for members in components(heatmap, grow, reach):
        ys, xs = np.array(members).T
        scores = heatmap[ys, xs]
        if scores.max() < np.float32(seed):
            continue
        peak = int(np.argmax(scores))  # the first of them, row by row
        mean = scores.mean(dtype=np.float64)
        box = (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
        rows.append((*box, len(ys), scores.max(), mean, ys.mean(), xs.mean(), ys[peak], xs[peak]))
    rows.sort(key=lambda row: (-row[5], row[0], row[1]))
    return np.array(rows, REGION_DTYPE)
