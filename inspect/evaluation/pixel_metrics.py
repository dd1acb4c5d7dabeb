"""Pixel AP, AU-PRO and AUPIMO, from heatmaps that are looked at one by one: good images first, then defective ones.

Pixel AP: average precision over the pixels of all images, as in every table of the field.

AU-PRO: area under the per-region overlap, Bergmann, Fauser, Sattlegger and Steger, "MVTec AD", CVPR 2019, and Bergmann
et al., "The MVTec anomaly detection dataset", IJCV 129 (2021): every 8-connected piece of the truth weighs the same
whatever its size, over the share of good pixels that are raised (those of defective images too), up to a limit; divided
by it.

AUPIMO: area under the per-image overlap, Bertoldo, Ameln, Vaidya and Akçay, "AUPIMO: redefining visual anomaly
detection benchmarks with high speed and low tolerance", BMVC 2024 (arXiv:2401.01984): for each defective image the
share of its defect pixels that are raised, over the share of pixels raised on good images alone, one in 100,000 to one
in 10,000, logarithmically. Between two thresholds the stricter one is taken: no interpolation lends what none gives.
"""

import math
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.evaluation.score_histogram import BINS, Histogram, at_or_above, bins_of, histogram
from flawmap.inspect.run.heatmap_file import HeatmapFile
from flawmap.inspect.true_defects import TrueDefect

PRO_LIMIT = 0.05
PIMO_BOUNDS = (1e-5, 1e-4)


def _counts() -> NDArray[np.int64]:
    return np.zeros(BINS, np.int64)


def _shares() -> NDArray[np.float64]:
    return np.zeros(BINS, np.float64)


@dataclass
class PixelTally:
    """Histograms over the images seen so far; what is asked of it is exact for heatmaps that `inspect` wrote."""

    normal: NDArray[np.int64] = field(default_factory=_counts)  # pixels without a defect, all images
    anomalous: NDArray[np.int64] = field(default_factory=_counts)
    overlap: NDArray[np.float64] = field(default_factory=_shares)  # pixels of every piece, over the piece's area
    raised_on_good: NDArray[np.float64] = field(default_factory=_shares)  # pixels of every good image, over its area
    n_pieces: int = 0
    n_good: int = 0
    aupimo: list[float] = field(default_factory=list)  # of each defective image with a defect, in their order
    _pimo: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None

    def add_good(self, heatmap: NDArray[np.float32] | HeatmapFile) -> None:
        """Counts a good image; ValueError after the first defective one, which is judged by all good images."""
        if self._pimo is not None:
            raise ValueError("good images must be added before the first defective one")
        counts = histogram(heatmap)
        self.normal += counts
        self.raised_on_good += counts / math.prod(heatmap.shape)
        self.n_good += 1

    def add_defective(self, heatmap: NDArray[np.float32] | HeatmapFile, defects: list[TrueDefect]) -> None:
        """Counts a defective image, `defects` being all its defects."""
        if self._pimo is None:
            self._pimo = pimo_weights(self.raised_on_good / max(self.n_good, 1))
        inside = _counts()
        for defect in defects:
            bins = bins_of(heatmap[defect.y0 : defect.y1, defect.x0 : defect.x1])
            inside += np.bincount(bins[defect.pixels], minlength=BINS)
            self._add_pieces(bins, defect.pixels)
        self.anomalous += inside
        self.normal += histogram(heatmap) - inside
        area = int(inside.sum())
        if self.n_good and area:
            thresholds, weights = self._pimo
            self.aupimo.append(float((at_or_above(inside)[thresholds] / area * weights).sum()))

    def _add_pieces(self, bins: NDArray[np.int64], pixels: NDArray[np.bool_]) -> None:
        count, labels = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=8)
        areas = np.bincount(labels.ravel(), minlength=count)
        self.overlap += np.bincount(bins[pixels], weights=1 / areas[labels[pixels]], minlength=BINS)
        self.n_pieces += count - 1

    def average_precision(self) -> float | None:
        """None without a pixel of a defect."""
        return average_precision(self.normal, self.anomalous)

    def au_pro(self, limit: float = PRO_LIMIT) -> float | None:
        """None without a defect or without a good pixel."""
        return au_pro(self.normal, self.overlap, self.n_pieces, limit)


def average_precision(negative: Histogram, positive: Histogram) -> float | None:
    """Sum over thresholds of precision x (gain in recall), scores in one bin being one threshold."""
    total = int(positive.sum())
    if not total:
        return None
    occupied = np.flatnonzero(positive)[::-1]  # recall gains nothing elsewhere
    true, false = at_or_above(positive)[occupied], at_or_above(negative)[occupied]
    return float((true / (true + false) * positive[occupied]).sum() / total)


def au_pro(negative: Histogram, overlap: Histogram, n_pieces: int, limit: float) -> float | None:
    """Area under mean overlap (of `n_pieces`) against the share of `negative` raised, up to `limit`; 0 to 1."""
    total = int(negative.sum())
    if not total or not n_pieces:
        return None
    occupied = np.flatnonzero((negative > 0) | (overlap > 0))[::-1]
    raised = np.concatenate(([0.0], at_or_above(negative)[occupied] / total))
    covered = np.concatenate(([0.0], at_or_above(overlap)[occupied] / n_pieces))
    inside = int(np.searchsorted(raised, limit, side="right"))
    x, y = raised[:inside], covered[:inside]
    if inside < len(raised):  # the piece that crosses the limit
        share = (limit - raised[inside - 1]) / (raised[inside] - raised[inside - 1])
        x = np.append(x, limit)
        y = np.append(y, covered[inside - 1] + share * (covered[inside] - covered[inside - 1]))
    return min(1.0, float(np.trapezoid(y, x) / limit))  # sums of 1/area may end just above 1


def pimo_weights(
    raised: NDArray[np.float64], bounds: tuple[float, float] = PIMO_BOUNDS
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(thresholds int64 [k], weights float64 [k]): AUPIMO is the overlap at these bins, weighted; weights add up to 1.

    `raised` (float64 [BINS]) is the share of a good image's pixels in each bin. At a tolerance z between `bounds` the
    threshold is the lowest bin from which on at most z is raised; one bin serves a stretch of z, which is its weight.
    """
    low, high = bounds
    shares = at_or_above(raised)  # falling
    # The lowest bin of each distinct share: everything up to the next larger share is judged there.
    firsts = np.flatnonzero(np.concatenate(([True], shares[1:] < shares[:-1])))
    above = np.concatenate(([np.inf], shares[firsts[:-1]]))
    start = np.clip(shares[firsts], low, high)
    stop = np.clip(above, low, high)
    weights = np.log(stop / start) / math.log(high / low)
    used = weights > 0
    return firsts[used], weights[used]
