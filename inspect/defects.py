"""What a heatmap says about defects: regions that someone should see, and candidates that only an evaluation asks for.

Heatmaps may come in bands of rows: the answer is that of the whole heatmap, bit for bit, wherever it was cut.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.region_kernels import SPAN_DTYPE
from flawmap.tiling.region_shapes import TracedRegions
from flawmap.tiling.regions import REGION_DTYPE, RegionScan, TooManyRunsError
from flawmap.tiling.threads import in_threads
from flawmap.tiling.visible_pixels import Levels

Heatmap = NDArray[np.float32]

FRAGMENT_REACH = 3  # px, Chebyshev: fragments of one defect this near are one region
CANDIDATES_MAX = 300  # of one image
ROWS_AT_ONCE = 256  # copied, where every row of a heatmap has a hit


@dataclass(frozen=True)
class Found:
    """What a heatmap shows, before anybody decides what it means."""

    traced: TracedRegions  # that reach `candidate`, as far as `grow`, the highest first
    told_apart: bool  # False: hits everywhere, and one region around everything at or above `review`
    peak: float  # highest score of the heatmap


class DefectScan:
    """Looks for defects in a heatmap that comes in bands of rows, from top to bottom."""

    def __init__(self, width: int, thresholds: Thresholds, *, max_runs: int = 1_000_000) -> None:
        """`width`: of the heatmap, px; `max_runs`: see `find_regions`."""
        self.peak = -np.inf  # highest score so far
        self._thresholds = thresholds
        self._scan = RegionScan(
            width, grow=thresholds.grow, seed=thresholds.candidate, reach=FRAGMENT_REACH, max_runs=max_runs
        )
        self._around_all = _OneRegion(width, thresholds.review)

    def add(self, band: Heatmap, levels: Levels | None = None) -> None:
        """The next rows, float32 [n, width]; ValueError for NaN. `levels`: see `RegionScan.add`."""
        top = self._scan.height
        self._scan.add(band, levels)
        row_peaks = np.concatenate(in_threads(lambda part, parts: _row_peaks(band, part, parts), band.nbytes))
        self.peak = max(self.peak, float(row_peaks.max()))
        rows = np.flatnonzero(row_peaks >= np.float32(self._thresholds.review))
        for first in range(0, len(rows), ROWS_AT_ONCE):
            self._around_all.add(band, rows[first : first + ROWS_AT_ONCE], top)

    def result(self) -> Found:
        """Regions are those that reach `review`, candidates the others.

        A heatmap so full of hits that regions would take minutes to tell apart gives one region around everything at
        or above `review`, and no candidate: such a part is NG, and what is wrong with it needs no list.
        """
        try:
            return Found(self._scan.traced(), True, self.peak)
        except TooManyRunsError:
            return Found(self._around_all.traced(), False, self.peak)


def _row_peaks(band: Heatmap, part: int, parts: int) -> NDArray[np.float32]:
    """The highest score of each row of one part."""
    rows = len(band)
    peaks: NDArray[np.float32] = band[rows * part // parts : rows * (part + 1) // parts].max(axis=1)
    return peaks


class _OneRegion:
    """One region (or none) that holds every pixel at or above `seed`; its box also holds what lies between them."""

    def __init__(self, width: int, seed: float) -> None:
        self._seed = np.float32(seed)
        self._of_column = np.zeros(width, np.int64)  # hits
        self._of_row: list[NDArray[np.int64]] = []  # hits of each row that has one
        self._rows: list[NDArray[np.int64]] = []  # these rows, px of the image
        self._sums: list[NDArray[np.float64]] = []  # of the scores of each: the same however the heatmap is cut
        self._peak = (np.float32(-np.inf), 0, 0)  # score, y, x

    def add(self, band: Heatmap, rows: NDArray[np.int64], top: int) -> None:
        """The `rows` of `band` that have a hit; its first row is row `top` of the image."""
        scores = band[rows]
        hit = scores >= self._seed
        self._of_column += hit.sum(axis=0)
        self._of_row.append(hit.sum(axis=1))
        self._rows.append(rows + top)
        self._sums.append(np.where(hit, scores, np.float32(0)).sum(axis=1, dtype=np.float64))
        y, x = divmod(int(scores.argmax()), band.shape[1])
        if scores[y, x] > self._peak[0]:
            self._peak = scores[y, x], int(rows[y]) + top, x

    def traced(self) -> TracedRegions:
        """The one region as if it filled its box, or none where nothing was hit."""
        region = self._region()
        spans = np.zeros(int((region["y1"] - region["y0"]).sum()), SPAN_DTYPE)
        if len(region):
            spans["y"] = np.arange(region["y0"][0], region["y1"][0])
            spans["x0"], spans["x1"] = region["x0"][0], region["x1"][0]
        begins = np.array([0, len(spans)][: len(region) + 1], np.int64)
        widths = (spans["x1"] - spans["x0"]).astype(np.int64)
        return TracedRegions(region, spans, begins, widths, np.full(len(spans), np.nan))

    def _region(self) -> NDArray[np.void]:
        """REGION_DTYPE [1], or [0] where nothing was hit."""
        if not self._rows:
            return np.zeros(0, REGION_DTYPE)
        rows, of_row, sums = (np.concatenate(parts) for parts in (self._rows, self._of_row, self._sums))
        columns, area = np.flatnonzero(self._of_column), int(of_row.sum())
        score_max, peak_y, peak_x = self._peak
        fields = {
            "y0": rows[0], "x0": columns[0], "y1": rows[-1] + 1, "x1": columns[-1] + 1,
            "area_px": area,
            "score_max": score_max,
            "score_mean": sums.sum() / area,
            "centroid_y": (of_row * rows).sum() / area,
            "centroid_x": (self._of_column * np.arange(len(self._of_column))).sum() / area,
            "peak_y": peak_y, "peak_x": peak_x,
        }  # fmt: skip
        region = np.zeros(1, REGION_DTYPE)
        for name, value in fields.items():
            region[name] = value
        return region
