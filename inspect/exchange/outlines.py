"""The outline of a region, where the run has heatmaps: along the edges of the pixels that belong to it.

A region's pixels are not written down, only its box. The heatmap says them again: they reach `grow`, and hang together
with one that reaches `candidate`, as in `flawmap.inspect.defects`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.defects import FRAGMENT_REACH
from flawmap.inspect.run.heatmap_file import open_heatmap
from flawmap.inspect.run.layout import heatmap_path
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.inspect.run.records import RegionRecord

LARGEST_PX = 1 << 24  # a box of more pixels has no outline: mostly a picture that is nothing but hits
ROUNDED = 2.0**-12  # relative, of a score in the file

Polygon = NDArray[np.int64]  # corners (x, y), [n, 2]; in px of the image, at corners of pixels


class Outlines:
    """The outlines of the regions of one image."""

    def __init__(self, run: RecordedRun, image: RecordedImage) -> None:
        self._record, self._thresholds = image.record, run.thresholds_of(image.record)
        self._heatmap = run.folder / heatmap_path(image.name)
        self._there = self._heatmap.is_file() and {"grow", "candidate"} <= set(self._thresholds)

    def polygons(self, region: RegionRecord) -> list[Polygon]:
        """The outer outlines of the pieces of `region`; none where they are not known: its box is all there is to say.

        ImageError where the heatmap is there and cannot be read.
        """
        mask = self.pixels(region)
        if mask is None:
            return []
        return [polygon + np.array([region.x_min, region.y_min]) for polygon in outer_edges(mask)]

    def pixels(self, region: RegionRecord) -> NDArray[np.bool_] | None:
        """Which pixels of its box belong to `region`, bool [height, width] of the box; None where that is not known.

        ImageError as in `polygons`.
        """
        box = region.y_min, region.x_min, region.y_max, region.x_max
        if not self._there or _size(region) > LARGEST_PX:
            return None
        with open_heatmap(self._heatmap, (self._record.height, self._record.width)) as file:
            return self._mask(file.box(*box), region)

    def _mask(self, scores: NDArray[np.float32], region: RegionRecord) -> NDArray[np.bool_]:
        """Which pixels of its box belong to a region: not those of another one that lies in a bay of it."""
        mask = scores >= np.float32(self._thresholds["grow"])
        seed = self._thresholds["candidate"]
        n_pieces, labels = cv2.connectedComponents(_reaching(mask), connectivity=8)
        ys, xs = np.nonzero(mask)
        pieces = np.asarray(labels[ys, xs], np.int32)
        peaks = np.full(n_pieces, -np.inf, np.float32)
        np.maximum.at(peaks, pieces, scores[ys, xs])
        (top, bottom), (left, right) = (
            _extents(n_pieces, pieces, places + origin) for places, origin in ((ys, region.y_min), (xs, region.x_min))
        )
        own = peaks >= seed - abs(seed) * ROUNDED
        for other in self._record.regions:
            if other is not region and _size(other) < _size(region):
                within_rows = (top >= other.y_min) & (bottom < other.y_max)
                own &= ~(within_rows & (left >= other.x_min) & (right < other.x_max))
        return np.asarray(mask & own[labels], np.bool_)


def outer_edges(mask: NDArray[np.bool_]) -> list[Polygon]:
    """The outlines of a mask [H, W] along the edges of its pixels, (0, 0) its upper left corner; holes are not cut out.

    OpenCV's contours run through the middles of border pixels. With every pixel made 2x2 the outer half of each lies
    on a side of its own, from which the corner follows: 2x stands for x, 2x + 1 for x + 1.
    """
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [_corners((contour[:, 0, :].astype(np.int64) + 1) // 2) for contour in contours]


def _corners(path: Polygon) -> Polygon:
    """`path` without points that repeat the one before or lie on a straight line."""
    path = path[(path != np.roll(path, 1, axis=0)).any(axis=1)]
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    return np.asarray(path[turns], np.int64)


def _reaching(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`mask` grown until what is at most FRAGMENT_REACH apart touches."""
    side = FRAGMENT_REACH  # odd: grown by half of it less one each, two pixels so far apart become neighbours
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)), np.uint8)


def _size(region: RegionRecord) -> int:
    return (region.y_max - region.y_min) * (region.x_max - region.x_min)


def _extents(
    n: int, pieces: NDArray[np.int32], places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the last of the `places` of each of `n` pieces, [n] each."""
    first, last = np.full(n, np.iinfo(np.int64).max), np.full(n, -1)
    np.minimum.at(first, pieces, places)
    np.maximum.at(last, pieces, places)
    return first, last
