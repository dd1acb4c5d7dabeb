from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.measure import label, regionprops

from flawmap.tiling.region_kernels import CHUNK
from flawmap.tiling.regions import REGION_DTYPE, TooManyRunsError, find_regions
from tests import naive_tiling

SETTINGS = settings(deadline=None)  # the first call compiles


@st.composite
def heatmaps(draw: st.DrawFn, tallest: int = 12, widest: int = 40) -> np.ndarray:
    """Sparse to dense, with few values so that there are ties; 0.5 and above is foreground in most tests."""
    shape = draw(st.integers(1, tallest)), draw(st.integers(1, widest))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = random.integers(0, draw(st.sampled_from([2, 4, 256])), shape) / 256 * draw(st.sampled_from([1, 64]))
    foreground = random.random(shape) < draw(st.sampled_from([0.02, 0.1, 0.3, 0.5, 0.9, 1.0]))
    return np.where(foreground, 0.5 + levels, -levels).astype(np.float32)


def assert_same_regions(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal as sorted lists; means and centroids up to rounding."""
    assert found.dtype == REGION_DTYPE
    for name in ("score_max", "y0", "x0"):
        np.testing.assert_array_equal(found[name], expected[name])
    found, expected = (
        np.sort(regions, order=["score_max", "y0", "x0", "peak_y", "peak_x"]) for regions in (found, expected)
    )
    for name in REGION_DTYPE.names or ():
        exact = REGION_DTYPE[name].kind == "i" or name == "score_max"
        np.testing.assert_allclose(found[name], expected[name], rtol=0 if exact else 1e-6, atol=0 if exact else 1e-6)


@SETTINGS
@given(heatmaps(), st.integers(1, 4), st.sampled_from([0.5, 0.51, 0.9, 20.0]))
def test_regions_are_those_of_the_naive_search(heatmap: np.ndarray, reach: int, seed: float) -> None:
    found = find_regions(heatmap, grow=0.5, seed=seed, reach=reach)
    assert_same_regions(found, naive_tiling.find_regions(heatmap, 0.5, seed, reach))


@settings(deadline=None, max_examples=40)
@given(heatmaps(tallest=4, widest=3 * CHUNK + 5), st.integers(1, 3))
def test_regions_go_on_across_chunks_of_columns(heatmap: np.ndarray, reach: int) -> None:
    found = find_regions(heatmap, grow=0.5, seed=0.5, reach=reach)
    assert_same_regions(found, naive_tiling.find_regions(heatmap, 0.5, 0.5, reach))


@SETTINGS
@given(heatmaps(tallest=40))
def test_regions_are_those_of_scipy(heatmap: np.ndarray) -> None:
    foreground = heatmap >= np.float32(0.5)
    labels, count = ndimage.label(foreground, np.ones((3, 3)))
    found = find_regions(heatmap, grow=0.5, seed=0.5)
    assert len(found) == count
    for region in found:
        index = labels[region["peak_y"], region["peak_x"]]
        ys, xs = np.nonzero(labels == index)
        scores = heatmap[ys, xs]
        slices = ndimage.find_objects(labels)[index - 1]
        box = (slices[0].start, slices[1].start, slices[0].stop, slices[1].stop)
        assert box == tuple(region[["y0", "x0", "y1", "x1"]])
        assert region["area_px"] == len(ys)
        assert region["score_max"] == scores.max() == heatmap[region["peak_y"], region["peak_x"]]
        assert region["score_mean"] == pytest.approx(scores.mean(dtype=np.float64), rel=1e-6)
        assert (region["centroid_y"], region["centroid_x"]) == pytest.approx((ys.mean(), xs.mean()))


def test_measurements_are_those_of_skimage() -> None:
    heatmap = ndimage.gaussian_filter(np.random.default_rng(3).random((300, 400)), 3).astype(np.float32)
    found = find_regions(heatmap, grow=0.52, seed=0.54)
    labels = label(heatmap >= np.float32(0.52), connectivity=2)  # type: ignore[no-untyped-call]
    properties = regionprops(labels, heatmap)  # type: ignore[no-untyped-call]
    properties = [region for region in properties if region.intensity_max >= np.float32(0.54)]
    properties.sort(key=lambda region: -region.intensity_max)
    assert len(found) == len(properties) > 50
    for ours, theirs in zip(found, properties, strict=True):
        assert tuple(ours[["y0", "x0", "y1", "x1"]]) == theirs.bbox
        assert ours["area_px"] == theirs.area
        assert ours["score_mean"] == pytest.approx(theirs.intensity_mean, rel=1e-6)
        assert (ours["centroid_y"], ours["centroid_x"]) == pytest.approx(theirs.centroid)


@SETTINGS
@given(heatmaps(), st.integers(1, 3))
def test_flips_and_transposes_change_nothing_but_the_places(heatmap: np.ndarray, reach: int) -> None:
    width = heatmap.shape[1]
    regions = find_regions(heatmap, grow=0.5, seed=0.51, reach=reach)

    def places(found: np.ndarray) -> list[tuple[float, ...]]:
        columns = [found[name] for name in ("y0", "x0", "y1", "x1", "area_px", "score_max")]
        means = [found[name].round(4) for name in ("score_mean", "centroid_y", "centroid_x")]
        return sorted(zip(*(column.tolist() for column in columns + means), strict=True))

    flipped, transposed = regions.copy(), regions.copy()
    flipped["x0"], flipped["x1"] = width - regions["x1"], width - regions["x0"]
    flipped["centroid_x"] = width - 1 - regions["centroid_x"]
    for one, other in (("y0", "x0"), ("y1", "x1"), ("centroid_y", "centroid_x")):
        transposed[one], transposed[other] = regions[other], regions[one]
    assert places(find_regions(heatmap[:, ::-1], grow=0.5, seed=0.51, reach=reach)) == places(flipped)
    assert places(find_regions(heatmap.T, grow=0.5, seed=0.51, reach=reach)) == places(transposed)


@SETTINGS
@given(heatmaps(), st.integers(1, 3), st.floats(0.5, 2.0), st.floats(0.5, 2.0))
def test_a_higher_seed_only_removes_regions(heatmap: np.ndarray, reach: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    many = find_regions(heatmap, grow=0.5, seed=low, reach=reach)
    few = find_regions(heatmap, grow=0.5, seed=high, reach=reach)
    np.testing.assert_array_equal(few, many[many["score_max"] >= np.float32(high)])


@SETTINGS
@given(heatmaps(), st.integers(1, 3), st.floats(0.5, 1.5))
def test_a_higher_grow_only_shrinks_and_splits_regions(heatmap: np.ndarray, reach: int, grow: float) -> None:
    wide = find_regions(heatmap, grow=0.5, seed=1.5, reach=reach)
    narrow = find_regions(heatmap, grow=grow, seed=1.5, reach=reach)
    assert len(narrow) >= len(wide)
    assert narrow["area_px"].sum() <= wide["area_px"].sum()
    for region in narrow:
        around = (wide["y0"] <= region["y0"]) & (wide["x0"] <= region["x0"])
        around &= (wide["y1"] >= region["y1"]) & (wide["x1"] >= region["x1"]) & (wide["area_px"] >= region["area_px"])
        assert around.any()


@SETTINGS
@given(heatmaps(), st.integers(1, 3))
def test_a_longer_reach_only_joins_regions(heatmap: np.ndarray, reach: int) -> None:
    near = find_regions(heatmap, grow=0.5, seed=0.5, reach=reach)
    far = find_regions(heatmap, grow=0.5, seed=0.5, reach=reach + 1)
    assert len(far) <= len(near)
    assert far["area_px"].sum() == near["area_px"].sum()


@pytest.mark.parametrize("reach", [1, 2, 3, 5])
@pytest.mark.parametrize("step", [(0, 1), (1, 0), (1, 1), (1, -1)])
def test_pixels_join_up_to_the_reach_and_no_farther(step: tuple[int, int], reach: int) -> None:
    for distance, regions in ((reach, 1), (reach + 1, 2)):
        heatmap = np.zeros((20, 20), np.float32)
        heatmap[8, 8] = heatmap[8 + distance * step[0], 8 + distance * step[1]] = 1
        found = find_regions(heatmap, grow=0.5, seed=0.5, reach=reach)
        assert len(found) == regions
        assert found["area_px"].sum() == 2  # the gap is not part of it


def test_one_seed_keeps_its_region_whole() -> None:
    heatmap = np.zeros((6, 9), np.float32)
    heatmap[1, 1:5] = 0.5, 0.5, 0.9, 0.5
    heatmap[4, 6:8] = 0.8
    (region,) = find_regions(heatmap, grow=0.5, seed=0.85)
    assert tuple(region[["y0", "x0", "y1", "x1"]]) == (1, 1, 2, 5)
    assert (region["area_px"], region["peak_y"], region["peak_x"]) == (4, 1, 3)
    assert (region["centroid_y"], region["centroid_x"]) == (1.0, 2.5)
    assert region["score_max"] == np.float32(0.9)
    assert region["score_mean"] == pytest.approx(0.6)


def test_ties_are_sorted_from_the_top_left() -> None:
    heatmap = np.zeros((9, 9), np.float32)
    heatmap[6, 0] = heatmap[2, 8] = heatmap[2, 2] = 1
    heatmap[3, 1] = 0.5  # the box of (2, 2) begins at x = 1
    heatmap[8, 8] = 2
    found = find_regions(heatmap, grow=0.5, seed=1)
    assert list(zip(found["y0"].tolist(), found["x0"].tolist(), strict=True)) == [(8, 8), (2, 1), (2, 8), (6, 0)]


def test_zeros_of_both_signs_tie_and_negative_scores_sort_last() -> None:
    heatmap = np.full((1, 9), -9, np.float32)
    heatmap[0, ::2] = -0.5, -0.0, 0.0, 0.5, -0.25
    found = find_regions(heatmap, grow=-1, seed=-1)
    assert found["x0"].tolist() == [6, 2, 4, 8, 0]


def test_thresholds_are_inclusive_in_float32() -> None:
    heatmap = np.full((1, 1), 0.1, np.float32)
    assert len(find_regions(heatmap, grow=0.1, seed=0.1)) == 1
    assert len(find_regions(heatmap, grow=0.1, seed=float(np.nextafter(np.float32(0.1), np.float32(1))))) == 0
    assert len(find_regions(heatmap, grow=0.1, seed=1e300)) == 0
    assert len(find_regions(heatmap, grow=float("inf"), seed=float("inf"))) == 0
    assert len(find_regions(heatmap, grow=float("-inf"), seed=0)) == 1


def test_the_mean_of_a_large_region_is_not_rounded_away() -> None:
    heatmap = np.random.default_rng(0).random((1500, 2000), np.float32)  # added up in float32 it is off by 1e-5
    (region,) = find_regions(heatmap, grow=0, seed=0)
    assert region["area_px"] == 3_000_000
    assert region["score_mean"] == np.float32(heatmap.mean(dtype=np.float64))
    assert (region["centroid_y"], region["centroid_x"]) == (749.5, 999.5)


def test_nothing_found_is_an_empty_table() -> None:
    for shape in ((5, 7), (0, 7), (5, 0)):
        found = find_regions(np.zeros(shape, np.float32), grow=0.5, seed=0.5)
        assert found.shape == (0,)
        assert found.dtype == REGION_DTYPE


def test_views_and_read_only_maps_are_taken() -> None:
    heatmap = np.random.default_rng(1).random((40, 60), np.float32)
    expected = find_regions(np.ascontiguousarray(heatmap[::2, 1::3]), grow=0.7, seed=0.9)
    heatmap.flags.writeable = False
    np.testing.assert_array_equal(find_regions(heatmap[::2, 1::3], grow=0.7, seed=0.9), expected)
    assert len(find_regions(heatmap, grow=0.7, seed=0.9)) > 0


def test_threads_do_not_disturb_each_other() -> None:
    maps = np.random.default_rng(2).random((16, 200, 300), np.float32)
    expected = [find_regions(heatmap, grow=0.8, seed=0.95) for heatmap in maps]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda heatmap: find_regions(heatmap, grow=0.8, seed=0.95), maps)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_noise_is_refused_with_its_numbers() -> None:
    checkerboard = np.indices((10, 10)).sum(axis=0) % 2 == 0
    heatmap = checkerboard.astype(np.float32)
    assert len(find_regions(heatmap, grow=0.5, seed=0.5, max_runs=50)) == 1
    message = r"the heatmap has 50 runs of pixels >= `grow` \(=0\.5\), more than `max_runs` \(=49\): that is noise"
    with pytest.raises(TooManyRunsError, match=message) as caught:
        find_regions(heatmap, grow=0.5, seed=0.5, max_runs=49)
    assert isinstance(caught.value, ValueError)
    assert len(find_regions(heatmap, grow=0.5, seed=0.5, reach=2, max_runs=10)) == 1  # a run goes on across the gaps


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 4), st.integers(0, 2 * CHUNK), st.booleans())
def test_nan_is_refused_wherever_it_is(y: int, x: int, hot: bool) -> None:
    heatmap = np.full((5, 2 * CHUNK + 1), float(hot), np.float32)
    heatmap[y, x] = heatmap[4, -1] = np.nan
    with pytest.raises(ValueError, match=rf"`heatmap` is NaN at pixel \(y={y}, x={x}\)"):
        find_regions(heatmap, grow=0.5, seed=0.5)


def test_misuse_is_refused() -> None:
    heatmap = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match=r"`heatmap` \(\(4, 4\) float64\) must be float32 \[H, W\]"):
        find_regions(heatmap.astype(np.float64), grow=0.5, seed=0.5)
    with pytest.raises(ValueError, match=r"`heatmap` \(\(4, 4, 1\) float32\) must be float32 \[H, W\]"):
        find_regions(heatmap[:, :, None], grow=0.5, seed=0.5)
    with pytest.raises(ValueError, match=r"`heatmap` \(70000, 70000\) must not have more than 2\*\*32 pixels"):
        find_regions(np.broadcast_to(np.float32(0), (70000, 70000)), grow=0.5, seed=0.5)
    with pytest.raises(ValueError, match=r"`seed` \(=0\.4\) must not be below `grow` \(=0\.5\)"):
        find_regions(heatmap, grow=0.5, seed=0.4)
    with pytest.raises(ValueError, match=r"`seed` \(=0\.4\) must not be below `grow` \(=nan\), and neither may be NaN"):
        find_regions(heatmap, grow=float("nan"), seed=0.4)
    with pytest.raises(ValueError, match=r"`reach` \(=0\) must be at least 1 px"):
        find_regions(heatmap, grow=0.5, seed=0.5, reach=0)
