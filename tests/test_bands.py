"""What is measured on bands of rows is what the whole heatmap gives, wherever it was cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.export.calibration_record import BorderZone
from flawmap.inspect.calibration.border_zones import (
    BAND,
    BLOCK,
    DISTANCES,
    ZonePeaks,
    border_distance,
    lower_border,
    lowered,
)
from flawmap.inspect.calibration.calibrate import Seen, calibrate, calibrate_on
from flawmap.inspect.calibration.hot_pixels import KEPT_PIXELS, HotPixels, HotScan

ZONES = [
    BorderZone(from_px=low, to_px=high, factor=1 / (k + 2), offset=-float(k))
    for k, (low, high) in enumerate(zip((0, *DISTANCES), DISTANCES, strict=False))
]
HEIGHTS = st.one_of(st.integers(1, 100), st.integers(BAND - BLOCK - 1, BAND + BLOCK + 1), st.integers(600, 700))
CUTS = st.lists(st.integers(1, 299), max_size=8)


def bands(heatmap: NDArray[np.float32], cuts: list[int]) -> list[NDArray[np.float32]]:
    edges = sorted({0, len(heatmap), *(cut * len(heatmap) // 300 for cut in cuts)})
    return [heatmap[top:bottom] for top, bottom in pairwise(edges)]


def drawn(seed: int, height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).exponential(1.0, (height, width)).astype(np.float32)


@given(height=HEIGHTS, width=st.integers(1, 90), cuts=CUTS, seed=st.integers(0, 1000))
def test_peaks_of_the_zones(height: int, width: int, cuts: list[int], seed: int) -> None:
    heatmap = drawn(seed, height, width)
    found = Seen.of_bands(heatmap.shape, bands(heatmap, cuts)).zones
    expected = ZonePeaks.of(heatmap)
    assert found.n_pixels == expected.n_pixels
    for some, others in zip(found.peaks, expected.peaks, strict=True):
        np.testing.assert_array_equal(some, others)
    # A block row is looked at with the other ones of its 256 rows, or not at all.
    looked_at = min(height, BAND * len(range(0, max(1, height - BLOCK + 1), BAND)))
    assert sum(found.n_pixels) == looked_at * width


@given(height=HEIGHTS, width=st.integers(1, 90), cuts=CUTS, seed=st.integers(0, 1000))
def test_lowered_scores(height: int, width: int, cuts: list[int], seed: int) -> None:
    heatmap = drawn(seed, height, width) * 5
    whole = heatmap.copy()
    lower_border(whole, ZONES)
    np.testing.assert_array_equal(
        lowered(heatmap.ravel(), border_distance(heatmap.shape).ravel(), ZONES), whole.ravel()
    )
    top = 0
    for band in bands(heatmap, cuts):
        lower_border(band, ZONES, top=top, height=height)
        top += len(band)
    np.testing.assert_array_equal(heatmap, whole)


@given(height=st.integers(1, 700), width=st.integers(1, 90), cuts=CUTS, seed=st.integers(0, 1000))
def test_the_hottest_pixels(height: int, width: int, cuts: list[int], seed: int) -> None:
    heatmap = drawn(seed, height, width)
    found = Seen.of_bands(heatmap.shape, bands(heatmap, cuts)).hot
    scores = np.sort(heatmap.ravel())[::-1]
    n_kept = min(heatmap.size, KEPT_PIXELS)
    assert found.level == (scores[n_kept - 1] if n_kept < heatmap.size else -np.inf)
    np.testing.assert_array_equal(found.indices, np.flatnonzero(heatmap.ravel() >= found.level))
    np.testing.assert_array_equal(found.scores, heatmap.ravel()[found.indices])


def test_the_hottest_pixels_of_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    heatmap = drawn(7, 900, 400)
    expected = HotPixels.of(heatmap)
    monkeypatch.setattr("flawmap.inspect.calibration.hot_pixels.PIXELS_AT_ONCE", 5000)
    found = HotPixels.of(heatmap)
    assert found.level == expected.level
    np.testing.assert_array_equal(found.indices, expected.indices)


def test_a_blank_picture_does_not_fill_the_memory() -> None:
    """Every pixel is as hot as the hottest; an infinite wait or all of them kept would be the naive answer."""
    blank = np.zeros((500, 400), np.float32)
    scan = HotScan((1000, 400))
    scan.add(blank)
    assert len(scan.result().indices) == 2 * KEPT_PIXELS
    blank[30, 40:50] = 1.0  # below the first half
    scan.add(blank)
    found = scan.result()
    assert found.level > 0
    np.testing.assert_array_equal(found.indices, 530 * 400 + np.arange(40, 50))
    assert found.peaks(0.5).tolist() == [1.0]


def test_a_calibration() -> None:
    heatmaps = [drawn(seed, 400, 150) for seed in range(4)]
    expected = calibrate(heatmaps, 0.1)
    cut = [Seen.of_bands(h.shape, bands(h, [3, 50, 51, 200])) for h in heatmaps]
    assert calibrate_on(cut, 0.1) == expected
