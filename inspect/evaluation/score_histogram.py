"""Histograms of scores fine enough that nothing is lost: `inspect --heatmaps` writes 20 bits of every score.

The upper 20 bits of a float32, put in the order of the numbers they stand for, are 1,048,576 bins. A heatmap that
`inspect` wrote has no two different scores in one bin, so figures drawn from these histograms are exact; any other
heatmap is told apart to one part in 2048.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.run.heatmap_file import HeatmapFile

BITS = 20
BINS = 1 << BITS
ROWS_AT_ONCE = 256  # the keys of a whole 26-megapixel heatmap would take twice its memory

Histogram = NDArray[Any]  # [BINS], rising scores


def bins_of(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The bin of every score (float32 but NaN and infinity, any shape), 0 to BINS - 1.

    A higher score is never in a lower bin; minus infinity, of what was not to be looked at, lies below all others.
    """
    bits = (scores + np.float32(0)).view(np.uint32)  # -0.0 + 0.0 is 0.0: one score, one bin
    # Negative floats grow downwards: all their bits are turned over, of the others the sign alone.
    ordered = np.where(bits >> 31 == 1, ~bits, bits | np.uint32(1 << 31))
    return (ordered >> (32 - BITS)).astype(np.int64)


def histogram(heatmap: NDArray[np.float32] | HeatmapFile) -> NDArray[np.int64]:
    """How many pixels of `heatmap` (float32 [H, W]) fall into each bin."""
    counts = np.zeros(BINS, np.int64)
    for first in range(0, heatmap.shape[0], ROWS_AT_ONCE):
        counts += np.bincount(bins_of(heatmap[first : first + ROWS_AT_ONCE, :]).ravel(), minlength=BINS)
    return counts


def at_or_above(counts: Histogram) -> Histogram:
    """[BINS + 1]: the sum of `counts` from each bin on; the last is 0, a threshold above every score."""
    sums = np.zeros(len(counts) + 1, counts.dtype)
    np.cumsum(counts[::-1], out=sums[-2::-1])
    return sums
