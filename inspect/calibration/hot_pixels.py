"""The hottest pixels of a heatmap: a thousandth of it, and all that calibration needs to find its regions again."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flawmap.export.calibration_record import BorderZone
from flawmap.inspect.calibration.border_zones import lowered
from flawmap.inspect.defects import FRAGMENT_REACH, Heatmap
from flawmap.tiling.regions import RegionScan

KEPT_FRACTION = 1e-3  # of an image's pixels are kept, the hottest: enough to find its regions at `grow`...
KEPT_PIXELS = 20_000  # ...but so many at least: a hot spot must not fill all that is kept of a small image
PIXELS_AT_ONCE = 1 << 21  # looked at: before a level is known all of them are kept
ROWS_AT_ONCE = 1024  # drawn again to find regions in


@dataclass(frozen=True)
class HotPixels:
    """The hottest pixels of one heatmap: flat indices, ascending, and scores, everything at or above `level`.

    `n_pixels` were looked at: those at -inf are none.
    """

    shape: tuple[int, int]
    indices: NDArray[np.int64]
    scores: NDArray[np.float32]
    level: float
    n_pixels: int

    @classmethod
    def of(cls, heatmap: Heatmap) -> "HotPixels":
        """Keeps a thousandth of `heatmap` (float32 [H, W]), of a small one more."""
        scan = HotScan(heatmap.shape)
        scan.add(heatmap)
        return scan.result()

    def lowered(self, zones: list[BorderZone]) -> "HotPixels":
        """The same after `lower_border`, as far as the pixels kept know it."""
        height, width = self.shape
        y, x = np.divmod(self.indices, width)
        distances = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x)).astype(np.int32)
        return replace(self, scores=lowered(self.scores, distances, zones))

    def and_those_of(self, others: Iterable["HotPixels"]) -> "HotPixels":
        """Of the same heatmap, of which `others` looked at other pixels."""
        all_of_them = [self, *others]
        level = max(hot.level for hot in all_of_them)  # below it not everything is known
        indices = np.concatenate([hot.indices for hot in all_of_them])
        scores = np.concatenate([hot.scores for hot in all_of_them])
        order = np.argsort(indices)
        order = order[scores[order] >= level]
        n_pixels = sum(hot.n_pixels for hot in all_of_them)
        return HotPixels(self.shape, indices[order], scores[order], level, n_pixels)

    def peaks(self, grow: float) -> NDArray[np.float32]:
        """Highest score of every region at or above `grow`."""
        height, width = self.shape
        scan = RegionScan(width, grow=grow, seed=grow, reach=FRAGMENT_REACH)
        for top in range(0, height, ROWS_AT_ONCE):
            band = np.full((min(ROWS_AT_ONCE, height - top), width), -np.inf, np.float32)
            first, last = np.searchsorted(self.indices, (top * width, top * width + band.size))
            band.ravel()[self.indices[first:last] - top * width] = self.scores[first:last]
            scan.add(band)
        peaks: NDArray[np.float32] = scan.regions()["score_max"]
        return peaks


class HotScan:
    """`HotPixels.of` a heatmap that comes in bands of rows, from top to bottom."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: of the whole heatmap."""
        self._shape = shape[0], shape[1]
        self._n_pixels = shape[0] * shape[1]
        self._n_kept = min(self._n_pixels, max(KEPT_PIXELS, int(self._n_pixels * KEPT_FRACTION)))
        self._level = -np.inf
        self._seen = 0
        self._n_counted = 0
        self._indices: list[NDArray[np.int64]] = []
        self._scores: list[NDArray[np.float32]] = []

    def add(self, band: Heatmap) -> None:
        """The next rows, float32 [n, W]; -inf where nothing counts."""
        flat = band.ravel()
        for first in range(0, flat.size, PIXELS_AT_ONCE):
            part = flat[first : first + PIXELS_AT_ONCE]
            counted = part > -np.inf
            self._n_counted += int(np.count_nonzero(counted))
            hot = np.flatnonzero(counted & (part >= self._level))
            self._indices.append(hot + self._seen)
            self._scores.append(part[hot])
            self._seen += part.size
            if sum(len(scores) for scores in self._scores) > 2 * self._n_kept:
                self._prune()

    def result(self) -> HotPixels:
        """After the last band."""
        self._prune()
        return HotPixels(self._shape, self._indices[0], self._scores[0], self._level, self._n_counted)

    def _prune(self) -> None:
        """Leaves the `_n_kept` hottest so far and what is as hot as the last of these."""
        indices, scores = np.concatenate(self._indices), np.concatenate(self._scores)
        if len(scores) > self._n_kept:
            rank = len(scores) - self._n_kept
            self._level = float(np.partition(scores, rank)[rank])
            hot = scores >= self._level
            if np.count_nonzero(hot) > 2 * self._n_kept and (scores > self._level).any():
                # A blank part of the picture, all of one score: only what is above it can be kept.
                self._level = float(np.nextafter(np.float32(self._level), np.float32(np.inf)))
                hot = scores >= self._level
            kept = np.flatnonzero(hot)[: 2 * self._n_kept]  # a picture that is blank all over
            indices, scores = indices[kept], scores[kept]
        self._indices, self._scores = [indices], [scores]
