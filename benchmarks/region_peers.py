"""Regions with their measurements, and hysteresis, as the usual libraries do them.

Every `regions_...` returns float64 [k, 9], sorted by score_max: y0, x0, y1, x1, area_px, score_max, score_mean,
centroid_y, centroid_x. Regions hang together by 8-connectivity.
"""

import cv2
import numpy as np
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold
from skimage.measure import label, regionprops_table

EIGHT = np.ones((3, 3), np.uint8)


def regions_with_cv2(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """Labels and their statistics by OpenCV, scores by numpy on the foreground's pixels alone."""
    foreground = heatmap >= np.float32(grow)
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(foreground.view(np.uint8), connectivity=8)
    score_max, score_sum = _scores(heatmap, foreground, labels, count)
    x0, y0, width, height, area = stats.T
    return _table(
        [y0, x0, y0 + height, x0 + width, area, score_max, score_sum / area, centroids[:, 1], centroids[:, 0]], seed
    )


def regions_with_contours(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """Outer contours by OpenCV, each filled and measured in its own crop: what costs least where little is found."""
    foreground = cv2.compare(heatmap, float(np.float32(grow)), cv2.CMP_GE)
    contours, _ = cv2.findContours(foreground, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rows = []
    for contour in contours:
        x0, y0, width, height = cv2.boundingRect(contour)
        inside = np.zeros((height, width), np.uint8)
        cv2.drawContours(inside, [contour], -1, 255, cv2.FILLED, offset=(-x0, -y0))
        crop = np.s_[y0 : y0 + height, x0 : x0 + width]
        inside &= foreground[crop]  # a contour is filled over its holes
        ys, xs = np.nonzero(inside)
        scores = heatmap[crop][ys, xs]
        score_max = float(scores.max())
        if score_max >= np.float32(seed):
            mean = float(scores.mean(dtype=np.float64))
            box = (y0, x0, y0 + height, x0 + width)
            rows.append((*box, len(ys), score_max, mean, y0 + ys.mean(), x0 + xs.mean()))
    table = np.array(rows, np.float64).reshape(-1, 9)
    ordered: np.ndarray = table[np.argsort(-table[:, 5])]
    return ordered


def regions_with_cc3d(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    import cc3d

    foreground = heatmap >= np.float32(grow)
    labels, count = cc3d.connected_components(foreground, connectivity=8, return_N=True, binary_image=True)
    statistics = cc3d.statistics(labels, no_slice_conversion=True)
    score_max, score_sum = _scores(heatmap, foreground, labels, count + 1)
    boxes, area = statistics["bounding_boxes"].astype(np.int64), statistics["voxel_counts"]
    centroids = statistics["centroids"]
    columns = [boxes[:, 0], boxes[:, 2], boxes[:, 1] + 1, boxes[:, 3] + 1, area, score_max, score_sum / area]
    return _table([*columns, centroids[:, 0], centroids[:, 1]], seed)


def regions_with_skimage(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    labels = label(heatmap >= np.float32(grow), connectivity=2)  # type: ignore[no-untyped-call]
    properties = ("bbox", "area", "intensity_max", "intensity_mean", "centroid")
    columns = regionprops_table(labels, heatmap, properties=properties).values()  # type: ignore[no-untyped-call]
    table = np.stack([np.asarray(column, np.float64) for column in columns], axis=1)
    table = table[table[:, 5] >= np.float32(seed)]
    return table[np.argsort(-table[:, 5])]


def regions_with_scipy(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    foreground = heatmap >= np.float32(grow)
    labels, count = ndimage.label(foreground, EIGHT)
    index = np.arange(1, count + 1)
    boxes = np.array([(y.start, x.start, y.stop, x.stop) for y, x in ndimage.find_objects(labels)], np.float64).reshape(
        -1, 4
    )
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    score_max, score_mean = ndimage.maximum(heatmap, labels, index), ndimage.mean(heatmap, labels, index)
    centroids = np.array(ndimage.center_of_mass(foreground, labels, index)).reshape(-1, 2)
    table = np.column_stack([boxes, area, score_max, score_mean, centroids])
    table = table[table[:, 5] >= np.float32(seed)]
    ordered: np.ndarray = table[np.argsort(-table[:, 5])]
    return ordered


def hysteresis_with_cv2(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """Mask of the pixels >= grow that hang together with one >= seed; no region is measured."""
    count, labels = cv2.connectedComponents((heatmap >= np.float32(grow)).view(np.uint8), connectivity=8)
    return _kept(heatmap, labels, count, seed)


def hysteresis_with_cc3d(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    import cc3d

    labels, count = cc3d.connected_components(heatmap >= np.float32(grow), connectivity=8, return_N=True)
    return _kept(heatmap, labels, count + 1, seed)


def hysteresis_with_scipy(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    labels, count = ndimage.label(heatmap >= np.float32(grow), EIGHT)
    return _kept(heatmap, labels, count + 1, seed)


def hysteresis_with_skimage(heatmap: np.ndarray, grow: float, seed: float) -> np.ndarray:
    """The same with 4-connectivity, which is all that skimage has."""
    mask: np.ndarray = apply_hysteresis_threshold(heatmap, grow, seed)  # type: ignore[no-untyped-call]
    return mask


def _scores(
    heatmap: np.ndarray, foreground: np.ndarray, labels: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Highest score and sum of scores of every label."""
    places = np.flatnonzero(foreground)
    of_pixel, scores = labels.ravel()[places].astype(np.intp), heatmap.ravel()[places]
    score_max = np.full(count, -np.inf, np.float32)
    np.maximum.at(score_max, of_pixel, scores)
    return score_max, np.bincount(of_pixel, scores, count)


def _table(columns: list[np.ndarray], seed: float) -> np.ndarray:
    """Without the background, which is label 0, and what stays below the seed."""
    score_max = columns[5]
    kept = 1 + np.flatnonzero(score_max[1:] >= np.float32(seed))
    kept = kept[np.argsort(-score_max[kept])]
    return np.stack([np.asarray(column, np.float64)[kept] for column in columns], axis=1)


def _kept(heatmap: np.ndarray, labels: np.ndarray, count: int, seed: float) -> np.ndarray:
    keep = np.zeros(count, bool)
    keep[labels[heatmap >= np.float32(seed)]] = True
    keep[0] = False
    mask: np.ndarray = keep[labels]
    return mask
