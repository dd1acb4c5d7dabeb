"""Where a heatmap rises above what good images show: connected regions, with what a report needs to know of each."""

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.region_kernels import REGION_DTYPE, SPAN_DTYPE, label_spans, rank_keys, reduce_spans, scan_spans
from flawmap.tiling.region_shapes import TracedRegions
from flawmap.tiling.threads import in_threads
from flawmap.tiling.visible_pixels import Deviations, Levels

__all__ = ["REGION_DTYPE", "RegionScan", "TooManyRunsError", "find_regions"]


class TooManyRunsError(ValueError):
    """The foreground is in so many pieces that it is noise, not defects: `grow` is too low for this heatmap."""


def find_regions(
    heatmap: np.ndarray, *, grow: float, seed: float, reach: int = 1, max_runs: int = 1_000_000
) -> np.ndarray:
    """Regions of `heatmap` (float32 [H, W]): pixels >= `grow` that hang together and of which one is >= `seed`.

    Two pixels hang together when they are at most `reach` px apart along both axes (Chebyshev distance): 1 is
    8-connectivity, 3 also joins fragments that two pixels of background part. Thresholds are compared in float32, as
    `heatmap >= grow` does. This is hysteresis thresholding as in Canny, "A computational approach to edge detection",
    IEEE PAMI 8 (1986), section VIII.

    Returns an array of REGION_DTYPE, the highest `score_max` first (ties by y0, then x0), in the image plane:
        y0, x0, y1, x1          half-open box
        area_px                 number of pixels >= grow
        score_max, score_mean   over these pixels
        centroid_y, centroid_x  their mean position, unweighted
        peak_y, peak_x          where score_max lies, the first such pixel row by row

    Raises TooManyRunsError for a foreground of more than `max_runs` runs (horizontal strings of pixels at most `reach`
    apart; each takes 48 bytes), ValueError for NaN in the heatmap, another dtype or shape, `seed` below `grow` or
    NaN, and `reach` below 1.
    """
    if heatmap.ndim != 2 or heatmap.dtype != np.float32:
        raise ValueError(f"`heatmap` ({heatmap.shape} {heatmap.dtype}) must be float32 [H, W]")
    scan = RegionScan(heatmap.shape[1], grow=grow, seed=seed, reach=reach, max_runs=max_runs)
    scan.add(heatmap)
    return scan.regions()


class RegionScan:
    """`find_regions` of a heatmap that comes in bands of rows, from top to bottom, and is never held as a whole.

    The regions are those of the whole heatmap, wherever it was cut: what is kept of a band are its runs, and these are
    told apart when all are there. Arguments and errors are those of `find_regions`; `width` is the heatmap's.
    """

    def __init__(self, width: int, *, grow: float, seed: float, reach: int = 1, max_runs: int = 1_000_000) -> None:
        if not seed >= grow:
            raise ValueError(f"`seed` (={seed}) must not be below `grow` (={grow}), and neither may be NaN")
        if reach < 1:
            raise ValueError(f"`reach` (={reach}) must be at least 1 px")
        self.width = width
        self.height = 0  # of the bands so far
        self._grow, self._reach, self._max_runs = grow, reach, max_runs
        with np.errstate(over="ignore"):  # a threshold beyond float32 is infinite there: found nowhere below infinity
            self._grow_score, self._seed_score = np.float32(grow), np.float32(seed)
        self._spans: list[np.ndarray] = []
        self._deviations = Deviations()
        self._n_spans = 0

    def add(self, band: np.ndarray, levels: Levels | None = None) -> None:
        """The next rows of the heatmap, float32 [n, width]. ValueError for NaN, named in the image plane.

        `levels`: the same rows of image and reconstruction, each [n, width] or [n, width, C]; with them `traced` knows
        what is visible of a region.
        """
        if band.ndim != 2 or band.dtype != np.float32 or band.shape[1] != self.width:
            raise ValueError(f"`band` ({band.shape} {band.dtype}) must be float32 [n, {self.width}]")
        rows = band.shape[0]
        if (self.height + rows) * self.width > 2**32:
            raise ValueError(f"`heatmap` {(self.height + rows, self.width)} must not have more than 2**32 pixels")
        band = np.ascontiguousarray(band)
        most = max(0, self._max_runs - self._n_spans)

        def scan(part: int, parts: int) -> tuple[np.ndarray, int, int, int]:
            begin, end = rows * part // parts, rows * (part + 1) // parts
            # Memory that is never written to is never taken: as many spans as there may be cost nothing.
            spans = np.empty(min(most, (end - begin) * ((self.width + 1) // 2)), SPAN_DTYPE)
            n_spans, nan_y, nan_x = scan_spans(
                band[begin:end], self.height + begin, self._grow_score, self._reach, spans
            )
            return spans[:n_spans].copy(), n_spans, nan_y, nan_x  # the copy lets go of the rest

        for found, n_spans, nan_y, nan_x in in_threads(scan, band.nbytes):
            if nan_y >= 0:
                raise ValueError(f"`heatmap` is NaN at pixel (y={nan_y}, x={nan_x})")
            self._spans.append(found)
            self._deviations.add(found, self.height, band, self._grow_score, levels)
            self._n_spans += n_spans
        self._deviations.sample(self.height, band, levels)
        self.height += rows

    def regions(self) -> np.ndarray:
        """The regions of all bands. TooManyRunsError as of `find_regions`."""
        return self._regions()[0]

    def traced(self) -> TracedRegions:
        """The same with their visible pixels. TooManyRunsError as of `find_regions`."""
        regions, spans, places = self._regions()
        kept = np.flatnonzero(places >= 0)
        order = kept[np.argsort(places[kept], kind="stable")]  # row by row within a region, as they came
        begins = np.searchsorted(places[order], np.arange(len(regions) + 1))
        return TracedRegions(regions, *self._deviations.visible(spans, order, begins))

    def _regions(self) -> tuple[np.ndarray, np.ndarray, NDArray[np.int32]]:
        """(regions, spans of all bands, the region that each of these belongs to, -1 for none)."""
        if self._n_spans > self._max_runs:
            raise TooManyRunsError(
                f"the heatmap has {self._n_spans} runs of pixels >= `grow` (={self._grow}), more than `max_runs` "
                f"(={self._max_runs}): that is noise, not regions"
            )
        spans = np.concatenate(self._spans) if self._spans else np.empty(0, SPAN_DTYPE)
        labels, n_regions = label_spans(spans, self.height, self._reach)
        score_max, y0, x0 = rank_keys(spans, labels, n_regions)
        kept = np.flatnonzero(score_max >= self._seed_score)
        order = kept[_argsort(score_max[kept], y0[kept].astype(np.int64) * self.width + x0[kept])]
        regions = np.zeros(len(order), REGION_DTYPE)
        place = np.full(n_regions, -1, np.int32)
        place[order] = np.arange(len(order))
        reduce_spans(spans, place[labels], regions)
        return regions, spans, place[labels]


def _argsort(score: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Order of falling `score` (float32), ties by `position` (int64, below 2**32).

    One key of 64 bits sorts seven times faster than `np.lexsort` on two.
    """
    bits = (0 - score).view(np.int32).astype(np.int64)  # 0 - score has no negative zero, which would not tie with zero
    bits = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # negative floats grow downwards
    return np.argsort((bits << 32) + position)
