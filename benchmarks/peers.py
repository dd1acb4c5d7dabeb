"""The usual ways to do what flawmap's kernels do, written as well as their libraries allow."""

import cv2
import numpy as np
from skimage.filters import apply_hysteresis_threshold
from skimage.measure import label, regionprops_table

from flawmap.tiling.grid import TileGrid


def cut_with_numpy(grid: TileGrid, padded: np.ndarray, out: np.ndarray) -> None:
    size = grid.tile_size
    for first in range(0, len(grid), len(out)):
        for k, (y, x) in enumerate(grid.starts[first : first + len(out)].tolist()):
            out[k] = padded[y : y + size, x : x + size]


def merge_with_numpy(boxes: list[list[int]], tiles: np.ndarray, image: np.ndarray) -> None:
    """The same ownership as the stitcher's, without its look for NaN, missing and repeated tiles."""
    for tile, (y0, x0, y1, x1, image_y0, image_x0, image_y1, image_x1) in zip(tiles, boxes, strict=True):
        image[image_y0:image_y1, image_x0:image_x1] = tile[y0:y1, x0:x1]


def regions_with_cv2(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """float64 [k, 9], sorted by score_max: y0, x0, y1, x1, area_px, score_max, score_mean, centroid_y, centroid_x."""
    foreground = heatmap >= np.float32(grow)
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(foreground.view(np.uint8), connectivity=8)
    places = np.flatnonzero(foreground)
    of_pixel, scores = labels.ravel()[places].astype(np.intp), heatmap.ravel()[places]
    score_max = np.full(count, -np.inf, np.float32)
    np.maximum.at(score_max, of_pixel, scores)
    score_sum = np.bincount(of_pixel, scores, count)
    x0, y0, width, height, area = stats.T
    table = [y0, x0, y0 + height, x0 + width, area, score_max, score_sum / area, centroids[:, 1], centroids[:, 0]]
    kept = 1 + np.flatnonzero(score_max[1:] >= np.float32(seed))  # 0 is the background
    kept = kept[np.argsort(-score_max[kept])]
    return np.stack([np.asarray(column, np.float64)[kept] for column in table], axis=1)


def regions_with_skimage(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """As `regions_with_cv2`."""
    labels = label(heatmap >= np.float32(grow), connectivity=2)  # type: ignore[no-untyped-call]
    properties = ("bbox", "area", "intensity_max", "intensity_mean", "centroid")
    columns = regionprops_table(labels, heatmap, properties=properties).values()  # type: ignore[no-untyped-call]
    table = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    table = table[table[:, 5] >= np.float32(seed)]
    return table[np.argsort(-table[:, 5])]


def hysteresis_with_cv2(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """Mask of the pixels >= grow that hang together with one >= seed; no region is measured."""
    count, labels = cv2.connectedComponents((heatmap >= np.float32(grow)).view(np.uint8), connectivity=8)
    keep = np.zeros(count, bool)
    keep[labels[heatmap >= np.float32(seed)]] = True
    keep[0] = False
    mask: np.ndarray = keep[labels]
    return mask


def hysteresis_with_skimage(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """The same with 4-connectivity, which is all that skimage has."""
    mask: np.ndarray = apply_hysteresis_threshold(heatmap, grow, seed)  # type: ignore[no-untyped-call]
    return mask
