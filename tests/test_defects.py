"""Defects of a heatmap that comes in bands are those of the whole heatmap, wherever it was cut."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.inspect.defects import DefectScan
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.regions import REGION_DTYPE, RegionScan, TooManyRunsError, find_regions
from tests.bundles import calibration, find_defects, judged

THRESHOLDS = Thresholds.of(calibration(), 0.1)


@st.composite
def cuts(draw: st.DrawFn, height: int) -> list[int]:
    """Rows at which a heatmap is cut, its two ends among them."""
    inner = draw(st.lists(st.integers(1, height), max_size=6))
    return sorted({0, *inner, height})


@given(data=st.data(), seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.01, 0.1, 0.4, 0.9]))
def test_regions_are_whole_across_the_joins(data: st.DataObject, seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 50)), int(rng.integers(1, 40))
    scores = rng.choice([5.0, 6.5, 9.0, 14.0], (height, width))
    heatmap = np.where(rng.random((height, width)) < density, scores, 0).astype(np.float32)
    edges = data.draw(cuts(height))
    reach = data.draw(st.integers(1, 4))

    regions = RegionScan(width, grow=5.0, seed=9.0, reach=reach)
    defects = DefectScan(width, THRESHOLDS)
    for top, bottom in itertools.pairwise(edges):
        regions.add(heatmap[top:bottom])
        defects.add(heatmap[top:bottom])

    np.testing.assert_array_equal(regions.regions(), find_regions(heatmap, grow=5.0, seed=9.0, reach=reach))
    for found, expected in zip(judged(defects, THRESHOLDS), find_defects(heatmap, THRESHOLDS), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert defects.peak == heatmap.max()


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_one_region_around_everything_does_not_depend_on_the_cuts(data: st.DataObject, seed: int) -> None:
    """As of a heatmap too full of hits; `tests/test_pipeline.py` holds it against what numpy finds."""
    rng = np.random.default_rng(seed)
    heatmap = rng.uniform(0, 1.2 * THRESHOLDS.review, (30, 20)).astype(np.float32)
    edges = data.draw(cuts(30))
    found = []
    for parts in (edges, [0, 30]):
        scan = DefectScan(20, THRESHOLDS, max_runs=0)
        for top, bottom in itertools.pairwise(parts):
            scan.add(heatmap[top:bottom])
        assert not scan.result().told_apart
        regions, candidates = judged(scan, THRESHOLDS)
        assert len(candidates) == 0
        found.append(regions)
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0]["area_px"].sum() == (heatmap >= np.float32(THRESHOLDS.review)).sum()


def test_too_many_runs_are_counted_over_all_bands() -> None:
    scan = RegionScan(4, grow=0.5, seed=0.5, max_runs=5)
    row = np.array([[1, 0, 1, 0]], np.float32)
    for _ in range(3):
        scan.add(row)
    with pytest.raises(TooManyRunsError, match="the heatmap has 6 runs of pixels"):
        scan.regions()
    band = np.zeros((1, 5), np.float32)
    with pytest.raises(ValueError, match=r"`band` \(\(1, 5\) float32\) must be float32 \[n, 4\]"):
        scan.add(band)
    row[0, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN at pixel \(y=3, x=1\)"):
        scan.add(row)


def test_no_band_no_region() -> None:
    assert len(RegionScan(4, grow=0.5, seed=0.5).regions()) == 0
    assert RegionScan(4, grow=0.5, seed=0.5).regions().dtype == REGION_DTYPE
