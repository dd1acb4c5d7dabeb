"""Histograms of oriented gradients of every window of a tile, and a map of what was said about the windows.

Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005, as scikit-image computes them (9
unsigned orientations, cells of 8 px, blocks of 2 x 2 cells, L2-Hys), but for all windows at once: neighbours share
their cells and blocks, and nothing loops in Python. Windows of 64 px every 32 px; one axis of a tile of 160 px:

    window 0  [- - - - - -]                   windows' centres: 31.5, 63.5, 95.5, 127.5
    window 1        [- - - - - -]             between two centres a pixel's score is interpolated,
    window 2              [- - - - - -]       before the first and behind the last it is theirs
    window 3                    [- - - - - -]
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = 64  # px
STRIDE = 32  # px, half a window: the map is interpolated between centres
CELL = 8  # px
ORIENTATIONS = 9
BLOCK = 2  # cells
HYSTERESIS = 0.2  # values are cut here between two normalisations
EPSILON = 1e-5
BLOCKS = WINDOW // CELL - BLOCK + 1  # a window's side
N_FEATURES = BLOCKS**2 * BLOCK**2 * ORIENTATIONS
RECEPTIVE_FIELD = 2 * (STRIDE + WINDOW // 2) + 2  # px: windows with centres less than a stride away, and gradients


def hog_windows(tile: NDArray[Any]) -> NDArray[np.float32]:
    """[H, W] or [H, W, 3], H and W multiples of `STRIDE` -> features float32 [rows, columns, `N_FEATURES`]."""
    blocks = _blocks(cell_histograms(tile))
    windows = np.lib.stride_tricks.sliding_window_view(blocks, (BLOCKS, BLOCKS), axis=(0, 1))
    step = STRIDE // CELL
    windows = windows[::step, ::step].transpose(0, 1, 3, 4, 2)  # [rows, columns, BLOCKS, BLOCKS, 36]
    return np.ascontiguousarray(windows).reshape(*windows.shape[:2], N_FEATURES)


def cell_histograms(tile: NDArray[Any]) -> NDArray[np.float32]:
    """Mean gradient magnitude by orientation, float32 [H / CELL, W / CELL, `ORIENTATIONS`]."""
    values = tile.astype(np.float32)
    down, across = np.zeros_like(values), np.zeros_like(values)
    down[1:-1] = values[2:] - values[:-2]
    across[:, 1:-1] = values[:, 2:] - values[:, :-2]
    magnitude = np.hypot(down, across)
    if values.ndim == 3:  # the channel that changes most
        strongest = magnitude.argmax(axis=2)[..., None]
        down, across, magnitude = (
            np.take_along_axis(part, strongest, axis=2)[..., 0] for part in (down, across, magnitude)
        )
    angle = np.rad2deg(np.arctan2(down, across)) % 180
    bins = np.minimum(angle * (ORIENTATIONS / 180), ORIENTATIONS - 1).astype(np.uint8)
    size = (tile.shape[1] // CELL, tile.shape[0] // CELL)
    means = [
        cv2.resize(np.where(bins == k, magnitude, 0), size, interpolation=cv2.INTER_AREA) for k in range(ORIENTATIONS)
    ]
    return np.stack(means, axis=-1)


def _blocks(cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalised blocks, float32 [rows - 1, columns - 1, 36]: L2, cut, L2 again."""
    rows, columns = cells.shape[0] - BLOCK + 1, cells.shape[1] - BLOCK + 1
    shifted = [cells[y : y + rows, x : x + columns] for y in range(BLOCK) for x in range(BLOCK)]
    blocks = _normalised(np.concatenate(shifted, axis=-1))
    return _normalised(np.minimum(blocks, HYSTERESIS))


def _normalised(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    squares = np.einsum("ijk,ijk->ij", blocks, blocks)
    return np.asarray(blocks / np.sqrt(squares + np.float32(EPSILON**2))[..., None], np.float32)


def map_of_windows(scores: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scores of windows [rows, columns] -> float32 [H, W] of the tile, bilinear between the windows' centres."""
    # Enlarged by a stride, a value's centre lies half a stride into its cell; a window's lies a whole stride in.
    padded = cv2.copyMakeBorder(scores.astype(np.float32), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    large = cv2.resize(padded, None, fx=STRIDE, fy=STRIDE, interpolation=cv2.INTER_LINEAR)
    half = STRIDE // 2
    return np.ascontiguousarray(large[half:-half, half:-half])


def share_of_windows(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share of every window that is True, float32 [rows, columns]; `mask` as large as a tile for `hog_windows`."""
    squares = mask.reshape(mask.shape[0] // STRIDE, STRIDE, mask.shape[1] // STRIDE, STRIDE).mean(axis=(1, 3))
    pairs = squares[1:] + squares[:-1]
    return np.asarray((pairs[:, 1:] + pairs[:, :-1]) / 4, np.float32)
