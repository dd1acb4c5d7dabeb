"""Which pixels of a region show the defect, and which only lie beside it.

    score          . 5 7 9 9 9 7 5 .       the region: everything at or above `grow`
    |deviation|    0 1 2 9 9 9 2 0 1       image minus reconstruction
    visible              x x x

Scores are drawn from neighbourhoods, so that a region is wider than its defect by several pixels on every side: a dot
of 8 px made a region of 20. To find it that is welcome, to hold it against a limit in mm it is not. A visible pixel
deviates from the reconstruction by 4 times what good pixels do, but at least by a tenth and at most by half of what is
typical of its region, sum(d^2) / sum(|d|). The tenth keeps a strong defect's blurred rim out. The half keeps a faint
defect in: there pixels of the rim pass by chance, and the region is measured as wide as it is. Half of the highest
deviation, the usual rule, would measure a stain with one bright spot as that spot. A visible pixel that none of its
eight neighbours keeps company is noise, unless the region has no other.

The noise of good pixels is 1.4826 times the median of |deviation| over a raster of all that counts of the picture
(Rousseeuw and Croux, "Alternatives to the median absolute deviation", JASA 88 (1993)).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.compiled import compiled

NOISE_FACTOR = 4.0
LOWEST_SHARE, HIGHEST_SHARE = 0.1, 0.5  # of what is typical of a region
ROWS_STEP, COLUMNS_STEP = 16, 7  # of the raster
MOST_PIXELS = 1 << 24  # whose deviation is kept, 64 MiB: a picture with more hits is measured by its regions' extent

Levels = tuple[NDArray[Any], NDArray[Any]]


class Deviations:
    """Image minus reconstruction, mean over the channels, at the pixels of spans that come band by band."""

    def __init__(self, most_pixels: int = MOST_PIXELS) -> None:
        self._most_pixels = most_pixels
        self._n_pixels = 0
        self._values: list[NDArray[np.float32]] = []
        self._starts: list[NDArray[np.int64]] = []
        self._raster: list[NDArray[np.float32]] = []

    def sample(self, top: int, band: NDArray[np.float32], levels: Levels | None) -> None:
        """A band's part of the raster; `levels` are rows of image and reconstruction, the first one row `top`."""
        if levels is not None:
            raster = slice(-top % ROWS_STEP, None, ROWS_STEP), slice(None, None, COLUMNS_STEP)
            counts = np.isfinite(band[raster])  # elsewhere nobody looks, and the reconstruction is the image itself
            image, reconstruction = (pixels[raster][counts].astype(np.float32) for pixels in levels)
            difference = image - reconstruction  # [n] or [n, C]
            self._raster.append(np.abs(difference if difference.ndim == 1 else difference.mean(axis=1)))

    def add(
        self, spans: NDArray[np.void], top: int, band: NDArray[np.float32], grow: np.float32, levels: Levels | None
    ) -> None:
        """Those of `spans` (SPAN_DTYPE, in the image plane) where `band`, which begins with row `top`, is >= `grow`."""
        lengths = (spans["x1"] - spans["x0"]).astype(np.int64)
        total = int(lengths.sum())
        if levels is None or self._n_pixels + total > self._most_pixels:
            self._starts.append(np.full(len(spans), -1, np.int64))
            return
        starts = np.cumsum(lengths) - lengths
        values = np.empty(total, np.float32)
        image, reconstruction = (pixels.reshape(*band.shape, -1) for pixels in levels)
        _deviate(spans, starts, top, band, grow, image, reconstruction, values)
        self._values.append(values)
        self._starts.append(starts + self._n_pixels)
        self._n_pixels += total

    def visible(
        self, spans: NDArray[np.void], order: NDArray[np.int64], begins: NDArray[np.int64]
    ) -> tuple[NDArray[np.void], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """What is visible of regions: spans, where each region's begin, pixels of each span, sum of their deviations.

        `spans` are all that were added, `order` [n] those that belong to regions, region by region, `begins` [k + 1]
        where each region's begin there. Where deviations are not known the region itself is visible, its sum NaN.
        """
        spans = spans[order]  # a copy
        starts = np.concatenate([*self._starts, np.zeros(0, np.int64)])[order]
        values = np.concatenate([*self._values, np.zeros(0, np.float32)])
        counts, sums = np.zeros(len(spans), np.int64), np.zeros(len(spans), np.float64)
        _cut_to_visible(spans, begins, starts, values, self._noise(), counts, sums)
        shown = counts > 0
        begins = np.concatenate([[0], np.cumsum(shown)])[begins]
        return spans[shown], begins, counts[shown], sums[shown]

    def _noise(self) -> float:
        raster = np.concatenate([*self._raster, np.zeros(0, np.float32)])
        return 1.4826 * float(np.median(raster)) if len(raster) else 0.0


@compiled
def _deviate(
    spans: np.ndarray,
    starts: np.ndarray,
    top: int,
    band: np.ndarray,
    grow: np.float32,
    image: np.ndarray,
    reconstruction: np.ndarray,
    values: np.ndarray,
) -> None:
    """Write the deviation of each pixel from a span's first to its last; NaN where the score is below `grow`."""
    channels = image.shape[2]
    for i in range(len(spans)):
        y = spans[i].y - top
        for x in range(spans[i].x0, spans[i].x1):
            total = np.nan
            if band[y, x] >= grow:
                total = 0.0
                for c in range(channels):
                    total += np.float64(image[y, x, c]) - np.float64(reconstruction[y, x, c])
            values[starts[i] + x - spans[i].x0] = total / channels


@compiled
def _cut_to_visible(
    spans: np.ndarray,
    begins: np.ndarray,
    starts: np.ndarray,
    values: np.ndarray,
    noise: float,
    counts: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Narrow each span to its first and last visible pixel, and write how many are visible and their sum."""
    ends = np.empty((len(spans), 2), np.int64)
    for region in range(len(begins) - 1):
        first, last = begins[region], begins[region + 1]
        limit = _visible_from(spans, first, last, starts, values, noise)
        if limit < 0:
            for i in range(first, last):
                counts[i], sums[i] = spans[i].area_px, np.nan
            continue
        if _count(spans, first, last, starts, values, limit, True, ends, counts, sums) == 0:
            _count(spans, first, last, starts, values, limit, False, ends, counts, sums)
        for i in range(first, last):
            if counts[i] > 0:
                spans[i].x0, spans[i].x1 = ends[i, 0], ends[i, 1]


@compiled
def _count(
    spans: np.ndarray,
    first: int,
    last: int,
    starts: np.ndarray,
    values: np.ndarray,
    limit: float,
    in_company: bool,
    ends: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
) -> int:
    """Visible pixels of one region, its spans first..last; `in_company`: only those with a visible one beside them."""
    total = 0
    for i in range(first, last):
        for k in range(spans[i].x1 - spans[i].x0):
            value = values[starts[i] + k]
            if not abs(value) >= limit:  # NaN is not visible
                continue
            if in_company and not _has_company(spans, first, last, starts, values, limit, i, k):
                continue
            if counts[i] == 0:
                ends[i, 0] = spans[i].x0 + k
            ends[i, 1] = spans[i].x0 + k + 1
            counts[i] += 1
            sums[i] += value
        total += counts[i]
    return total


@compiled
def _has_company(
    spans: np.ndarray, first: int, last: int, starts: np.ndarray, values: np.ndarray, limit: float, i: int, k: int
) -> bool:
    """Whether one of the eight pixels around pixel `k` of span `i` is visible."""
    y, x = spans[i].y, spans[i].x0 + k
    for row in range(y - 1, y + 2):
        j = _first_reaching(spans, first, last, row, x - 1)
        while j < last and spans[j].y == row and spans[j].x0 < x + 2:
            for beside in range(max(x - 1, spans[j].x0), min(x + 2, spans[j].x1)):
                itself = row == y and beside == x
                if not itself and abs(values[starts[j] + beside - spans[j].x0]) >= limit:
                    return True
            j += 1
    return False


@compiled
def _first_reaching(spans: np.ndarray, first: int, last: int, row: int, x: int) -> int:
    """The first of the spans first..last, row by row and from left to right, that ends behind (row, x)."""
    while first < last:
        middle = (first + last) // 2
        if spans[middle].y < row or (spans[middle].y == row and spans[middle].x1 <= x):
            first = middle + 1
        else:
            last = middle
    return first


@compiled
def _visible_from(
    spans: np.ndarray, first: int, last: int, starts: np.ndarray, values: np.ndarray, noise: float
) -> float:
    """The deviation from which on a region's pixels are visible; -1 where its deviations are not known."""
    total, squares = 0.0, 0.0
    for i in range(first, last):
        if starts[i] < 0:
            return -1.0
        for k in range(spans[i].x1 - spans[i].x0):
            value = abs(values[starts[i] + k])
            if value >= 0:  # not NaN
                total += value
                squares += value * value
    if total == 0:
        return 0.0
    # As float32, as the deviations are: of pixels that are all alike none may fall out by rounding.
    typical = squares / total
    return float(np.float32(min(max(LOWEST_SHARE * typical, NOISE_FACTOR * noise), HIGHEST_SHARE * typical)))
