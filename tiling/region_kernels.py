"""The work behind `find_regions`, in three steps whose cost follows the foreground and not the pixels times the labels.

    heatmap     . 4 6 . . . . 5 .        spans of row 0: [1, 3) and [7, 8)
                . . . 7 . . . . .        span  of row 1: [3, 4), joined with the first one above
                                         regions: {4, 6, 7} and {5}

A span is what one row holds of one region for sure: foreground pixels of which each lies at most `reach` columns from
the next (for a reach of 1 that is a run). Two spans in rows at most `reach` apart hold pixels within `reach` of each
other exactly when the spans themselves come within `reach` columns: where they overlap, one's end lies between two
pixels of the other, which are no farther apart than that. So spans stand for pixels, and they can be merged like
sorted lists.

Run-based labelling with union-find: He, Chao, Suzuki, "A run-based two-scan labeling algorithm", IEEE TIP 17 (2008).
"""

import numpy as np

from flawmap.tiling.compiled import compiled, inlined

SPAN_DTYPE = np.dtype(
    [
        ("score_sum", np.float64),
        ("x_sum", np.int64),
        ("y", np.int32),
        ("x0", np.int32),
        ("x1", np.int32),  # half-open
        ("area_px", np.int32),
        ("score_max", np.float32),
        ("peak_x", np.int32),
    ]
)

REGION_DTYPE = np.dtype(
    [
        ("y0", np.int32),
        ("x0", np.int32),
        ("y1", np.int32),
        ("x1", np.int32),
        ("area_px", np.int64),
        ("score_max", np.float32),
        ("score_mean", np.float32),
        ("centroid_y", np.float64),
        ("centroid_x", np.float64),
        ("peak_y", np.int32),
        ("peak_x", np.int32),
    ]
)

CHUNK = 64  # columns looked at together, most hold nothing; with 128 blobs take as long, and specks a fifth longer


@compiled
def scan_spans(band: np.ndarray, top: int, grow: np.float32, reach: int, spans: np.ndarray) -> tuple[int, int, int]:
    """Write the spans >= `grow` of float32 `band` [n, W], rows of a heatmap from `top` on, into `spans`, in order.

    Returns how many there are (those beyond the length of `spans` are only counted), and the place (y, x) in the
    heatmap of the first NaN, or (-1, -1).
    """
    count = 0
    rows, width = band.shape
    for y in range(top, top + rows):
        x0, x_last, area_px, x_sum, score_sum, score_max, peak_x = 0, 0, 0, 0, 0.0, np.float32(0), 0
        for chunk_x0 in range(0, width, CHUNK):
            chunk_x1 = min(chunk_x0 + CHUNK, width)
            if _all_below(band, np.uintp(y - top), np.uintp(chunk_x0), np.uintp(chunk_x1), grow):
                continue
            for x in range(chunk_x0, chunk_x1):
                score = band[np.uintp(y - top), np.uintp(x)]
                if score < grow:
                    continue
                if score != score:
                    return count, y, x
                if area_px > 0 and x - x_last > reach:
                    _put(spans, count, y, x0, x_last + 1, area_px, x_sum, score_sum, score_max, peak_x)
                    count += 1
                    area_px = 0
                if area_px == 0:
                    x0, x_sum, score_sum, score_max, peak_x = x, 0, 0.0, score, x
                if score > score_max:
                    score_max, peak_x = score, x
                x_last = x
                area_px += 1
                x_sum += x
                score_sum += score
        if area_px > 0:
            _put(spans, count, y, x0, x_last + 1, area_px, x_sum, score_sum, score_max, peak_x)
            count += 1
    return count, -1, -1


@inlined
def _all_below(band: np.ndarray, y: np.uintp, x0: np.uintp, x1: np.uintp, grow: np.float32) -> bool:
    """Whether row `y` is below `grow` from `x0` to `x1`, and not NaN."""
    hit = False
    for x in range(x0, x1):
        hit |= not (band[y, x] < grow)
    return not hit


@compiled
def _put(
    spans: np.ndarray,
    index: int,
    y: int,
    x0: int,
    x1: int,
    area_px: int,
    x_sum: int,
    score_sum: float,
    score_max: np.float32,
    peak_x: int,
) -> None:
    if index >= spans.shape[0]:
        return
    span = spans[index]
    span.y = y
    span.x0 = x0
    span.x1 = x1
    span.area_px = area_px
    span.x_sum = x_sum
    span.score_sum = score_sum
    span.score_max = score_max
    span.peak_x = peak_x


@compiled
def label_spans(spans: np.ndarray, rows: int, reach: int) -> tuple[np.ndarray, int]:
    """Number the regions that `spans` (as `scan_spans` left them, of a map of `rows`) belong to.

    Returns the region of every span, int32 [n], numbered from 0 in the order of their first spans, and how many.
    """
    row_begin = np.zeros(rows + 1, np.int64)
    for span in spans:
        row_begin[span.y + 1] += 1
    row_begin = np.cumsum(row_begin)
    parent = np.arange(len(spans)).astype(np.int32)
    for y in range(rows):
        if row_begin[y] == row_begin[y + 1]:
            continue
        for above in range(max(0, y - reach), y):
            _join_rows(spans, parent, row_begin[above], row_begin[above + 1], row_begin[y], row_begin[y + 1], reach)
    count = 0
    for i in range(len(parent)):  # a parent comes before its children, and so has its number already
        if parent[i] == i:
            parent[i] = count
            count += 1
        else:
            parent[i] = parent[parent[i]]
    return parent, count


@compiled
def _join_rows(spans: np.ndarray, parent: np.ndarray, i: int, i_end: int, j: int, j_end: int, reach: int) -> None:
    """Join the spans i..i_end of one row with those of another, j..j_end, that come within `reach` columns of them.

    Spans of one row are more than `reach` apart, so the one that ends first can meet nothing further on.
    """
    while i < i_end and j < j_end:
        a, b = spans[i], spans[j]
        if a.x0 < b.x1 + reach and b.x0 < a.x1 + reach:
            root_a, root_b = root_of(parent, i), root_of(parent, j)
            if root_a < root_b:
                parent[root_b] = root_a
            else:
                parent[root_a] = root_b
        if a.x1 < b.x1:
            i += 1
        else:
            j += 1


@compiled
def root_of(parent: np.ndarray, i: int) -> int:
    """The one that stands for all that `i` was joined with, by the links of `parent`, which it shortens."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]  # path halving
        i = parent[i]
    return i


@compiled
def rank_keys(spans: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the `count` regions are kept and sorted by: score_max (float32), y0 and x0 (int32), each [count]."""
    score_max = np.full(count, -np.inf, np.float32)
    y0 = np.empty(count, np.int32)
    x0 = np.full(count, np.iinfo(np.int32).max, np.int32)
    for i in range(len(spans) - 1, -1, -1):  # upwards: the last one written to y0 is the region's first row
        span, label = spans[i], labels[i]
        score_max[label] = max(score_max[label], span.score_max)
        y0[label] = span.y
        x0[label] = min(x0[label], span.x0)
    return score_max, y0, x0


@compiled
def reduce_spans(spans: np.ndarray, places: np.ndarray, regions: np.ndarray) -> None:
    """Fill `regions` (REGION_DTYPE, zeros) from `spans`; `places` [n] says to which region a span goes, -1 for none."""
    score_sums = np.zeros(len(regions), np.float64)  # score_mean is float32: too coarse to add up in
    for i in range(len(spans)):
        if places[i] < 0:
            continue
        span, region = spans[i], regions[places[i]]
        if region.area_px == 0:
            region.y0, region.x0, region.x1 = span.y, span.x0, span.x1
        if region.area_px == 0 or span.score_max > region.score_max:
            region.score_max, region.peak_y, region.peak_x = span.score_max, span.y, span.peak_x
        region.y1 = span.y + 1  # spans come row by row
        region.x0 = min(region.x0, span.x0)
        region.x1 = max(region.x1, span.x1)
        region.area_px += span.area_px
        region.centroid_y += span.y * span.area_px  # whole numbers up to 2**53: exact
        region.centroid_x += span.x_sum
        score_sums[places[i]] += span.score_sum
    for k in range(len(regions)):
        region = regions[k]
        region.centroid_y /= region.area_px
        region.centroid_x /= region.area_px
        region.score_mean = score_sums[k] / region.area_px
