"""What is visible of regions, their lengths, contrasts and distances, against slow ways to say the same."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull

from flawmap.tiling.physical_size import PixelSize
from flawmap.tiling.region_shapes import PX, TracedRegions
from flawmap.tiling.regions import RegionScan, find_regions
from flawmap.tiling.visible_pixels import Deviations

Pixels = NDArray[np.int64]  # [n, 2]: y, x


def traced(heatmap: NDArray, reach: int = 1, cuts: tuple[int, ...] = (), levels: tuple | None = None) -> TracedRegions:
    scan = RegionScan(heatmap.shape[1], grow=1.0, seed=1.0, reach=reach)
    for top, bottom in itertools.pairwise((0, *cuts, heatmap.shape[0])):
        scan.add(heatmap[top:bottom], None if levels is None else (levels[0][top:bottom], levels[1][top:bottom]))
    return scan.traced()


def pixels_of(heatmap: NDArray, region: np.void, reach: int) -> Pixels:
    """Walks from the region's peak over pixels at most `reach` apart."""
    hot = {(int(y), int(x)) for y, x in np.argwhere(heatmap >= 1)}
    found, waiting = set(), [(int(region["peak_y"]), int(region["peak_x"]))]
    while waiting:
        y, x = waiting.pop()
        if (y, x) in hot and (y, x) not in found:
            found.add((y, x))
            steps = range(-reach, reach + 1)
            waiting += [(y + dy, x + dx) for dy in steps for dx in steps]
    return np.array(sorted(found))


def visible_of(pixels: Pixels, difference: NDArray) -> Pixels:
    """Of `pixels`, those that stand out of the noise or, where it hides them, by what is typical of the region."""
    deviation = np.abs(difference.astype(np.float32))[pixels[:, 0], pixels[:, 1]].astype(np.float64)
    noise = 1.4826 * np.median(np.abs(difference.astype(np.float32))[::16, ::7])
    typical = (deviation**2).sum() / deviation.sum() if deviation.any() else 0.0
    visible = pixels[deviation >= np.float32(np.clip(4 * noise, 0.1 * typical, 0.5 * typical))]
    apart = np.abs(visible[:, None] - visible[None]).max(axis=2)
    in_company = (apart == 1).any(axis=1)
    return visible[in_company] if in_company.any() else visible


def smallest_rectangle(pixels: Pixels, pixel: PixelSize = PX) -> tuple[float, float]:
    """Over the angles of all sides of the hull, turning every corner of every pixel."""
    corners = np.concatenate([pixels + step for step in itertools.product((0, 1), repeat=2)])
    points = corners * np.array([pixel.y_um, pixel.x_um])
    hull = points[ConvexHull(points).vertices]
    best = np.array([np.inf, np.inf])
    for one, other in zip(hull, np.roll(hull, -1, axis=0), strict=True):
        angle = np.arctan2(*(other - one))
        turned = hull @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        sides = np.sort(np.ptp(turned, axis=0))[::-1]
        if sides.prod() < best.prod() - 1e-9:
            best = sides
    return float(best[0]), float(best[1])


def gap(one: Pixels, other: Pixels, pixel: PixelSize = PX) -> float:
    steps = np.maximum(np.abs(one[:, None] - other[None]) - 1, 0) * np.array([pixel.y_um, pixel.x_um])
    return float(np.sqrt((steps**2).sum(axis=2)).min())


def gaps(regions: list[Pixels], pixel: PixelSize = PX) -> NDArray:
    matrix = np.full((len(regions), len(regions)), np.inf)
    for i, j in itertools.permutations(range(len(regions)), 2):
        matrix[i, j] = gap(regions[i], regions[j], pixel)
    return matrix


def speckled(seed: int) -> tuple[NDArray, int]:
    """A random heatmap, and a reach."""
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 28)), int(rng.integers(1, 28))
    density = rng.choice([0.02, 0.08, 0.3, 0.8])
    scores = rng.uniform(1, 9, (height, width))
    return np.where(rng.random((height, width)) < density, scores, 0).astype(np.float32), int(rng.integers(1, 4))


seeds = st.integers(0, 2**32 - 1)
pixel_sizes = st.sampled_from([PX, PixelSize(x_um=12.5, y_um=12.5), PixelSize(x_um=10.0, y_um=17.0)])


@settings(deadline=None, max_examples=60)
@given(seed=seeds, pixel=pixel_sizes)
def test_rectangles_are_the_smallest(seed: int, pixel: PixelSize) -> None:
    heatmap, reach = speckled(seed)
    found = traced(heatmap, reach)
    for region, sides in zip(found.regions, found.rectangles(pixel), strict=True):
        expected = smallest_rectangle(pixels_of(heatmap, region, reach), pixel)
        # Two rectangles of equal area may have other sides: which one it is, rounding decides in the slow way.
        assert sides.prod() == pytest.approx(np.prod(expected), rel=1e-9)
        assert sides[0] >= sides[1] > 0


@pytest.mark.parametrize("angle", [0.0, 17.0, 45.0, 63.0, 90.0, 121.0])
def test_a_turned_bar_is_as_long_and_wide_as_it_was_drawn(angle: float) -> None:
    """As OpenCV draws it and as its own minAreaRect measures it, to about a pixel."""
    canvas = np.zeros((200, 200), np.uint8)
    corners = cv2.boxPoints(((100, 100), (120, 14), angle))
    cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], 1)
    ((length, width),) = traced(canvas.astype(np.float32)).rectangles()
    assert length == pytest.approx(121, abs=1.6) and width == pytest.approx(15, abs=1.6)
    sides = cv2.minAreaRect(np.argwhere(canvas)[:, ::-1].astype(np.float32))[1]  # between the middles of pixels
    assert [length, width] == pytest.approx(sorted(sides, reverse=True), abs=1.5)


def test_shapes_that_are_known() -> None:
    heatmap = np.zeros((40, 40), np.float32)
    heatmap[1, 1] = 9  # one pixel
    heatmap[5, 2:12] = 8  # ten in a row
    heatmap[10 + np.arange(8), 10 + np.arange(8)] = 7  # eight along a diagonal
    heatmap[25:28, 3:33] = 6  # a bar with a hole
    heatmap[26, 10:20] = 0
    sides = traced(heatmap).rectangles()
    root = np.sqrt(2)
    np.testing.assert_allclose(sides, [[1, 1], [10, 1], [8 * root, root], [30, 3]], rtol=1e-12)
    in_um = traced(heatmap).rectangles(PixelSize(x_um=12.5, y_um=20.0))
    np.testing.assert_allclose(in_um[[0, 1, 3]], [[20, 12.5], [125, 20], [375, 60]], rtol=1e-12)


kinds = st.sampled_from([("uint8", 1), ("uint8", 3), ("uint16", 1), ("float32", 1), ("float32", 3)])


@settings(deadline=None, max_examples=60)
@given(seed=seeds, kind=kinds, noise=st.sampled_from([0.0, 3.0, 40.0]))
def test_what_is_visible_stands_out(seed: int, kind: tuple[str, int], noise: float) -> None:
    """Wherever the bands are cut; and it is what is measured."""
    heatmap, reach = speckled(seed)
    dtype, channels = kind
    rng = np.random.default_rng(seed + 1)
    shape = heatmap.shape if channels == 1 else (*heatmap.shape, channels)
    reconstruction = np.full(shape, 100).astype(dtype)
    lift = np.where(rng.random(heatmap.shape) < 0.5, heatmap * 10, 0)
    image = (np.atleast_3d(lift) + rng.normal(100, noise, np.atleast_3d(reconstruction).shape)).clip(0, 255)
    image = image.reshape(shape).astype(dtype)
    cut = int(rng.integers(1, heatmap.shape[0] + 1))
    found = traced(heatmap, reach, tuple({cut} - {heatmap.shape[0]}), (image, reconstruction))
    difference = np.atleast_3d(image.astype(np.float64) - reconstruction).mean(axis=2)
    for i, region in enumerate(found.regions):
        visible = visible_of(pixels_of(heatmap, region, reach), difference)
        assert found.areas[i] == len(visible)
        assert found.contrasts[i] == pytest.approx(difference[visible[:, 0], visible[:, 1]].mean(), rel=1e-5, abs=1e-5)
        spans = found.spans[found.begins[i] : found.begins[i + 1]]
        ends = {(int(y), int(x)) for y, x in visible}
        assert all((s["y"], s["x0"]) in ends and (s["y"], s["x1"] - 1) in ends for s in spans)
        assert sum(int(found.counts[k]) for k in range(found.begins[i], found.begins[i + 1])) == len(visible)
        assert found.rectangles()[i].prod() == pytest.approx(np.prod(smallest_rectangle(visible)), rel=1e-9)


@pytest.mark.parametrize("contrast", [60.0, 25.0])
def test_a_defect_is_as_large_as_it_was_drawn_and_not_as_its_halo(contrast: float) -> None:
    """A bar of 12 x 30 px in noise of 3 levels, its scores smeared over 7 px on every side."""
    rng = np.random.default_rng(0)
    image = rng.normal(100, 3, (80, 80)).astype(np.float32)
    image[30:42, 20:50] += contrast
    heatmap = np.zeros((80, 80), np.float32)
    heatmap[23:49, 13:57] = 5
    found = traced(heatmap, levels=(image, np.full_like(image, 100)))
    ((length, width),) = found.rectangles()
    assert (length, width) == (pytest.approx(30, abs=1), pytest.approx(12, abs=1))
    assert found.contrasts[0] == pytest.approx(contrast, abs=2)


def test_noise_is_that_of_what_counts() -> None:
    """Where nobody looks the score is -inf and the reconstruction the image."""
    rng = np.random.default_rng(0)
    image = rng.normal(100, 3, (80, 200)).astype(np.float32)
    image[30:42, 20:50] += 30
    heatmap = np.zeros((80, 200), np.float32)
    heatmap[23:49, 13:57] = 5
    heatmap[:, 70:] = -np.inf
    good = np.full_like(image, 100)
    good[:, 70:] = image[:, 70:]
    ((length, width),) = traced(heatmap, levels=(image, good)).rectangles()
    assert (length, width) == (pytest.approx(30, abs=1), pytest.approx(12, abs=1))


def test_a_noisy_pixel_beside_a_dot_makes_it_no_longer() -> None:
    heatmap, image = np.zeros((30, 30), np.float32), np.zeros((30, 30), np.float32)
    heatmap[3:27, 3:27] = 5
    image[12:16, 12:17] = 50
    image[4, 25] = 40
    ((length, width),) = traced(heatmap, levels=(image, np.zeros_like(image))).rectangles()
    assert (length, width) == (5, 4)
    image[12:16, 12:17] = 0  # nothing but single pixels: then they are what there is
    image[20, 25] = 50
    ((length, width),) = traced(heatmap, levels=(image, np.zeros_like(image))).rectangles()
    assert (length, width) == (17, 1)


def test_what_cannot_be_seen_is_measured_as_far_as_its_region_goes() -> None:
    heatmap = np.zeros((40, 40), np.float32)
    heatmap[5:25, 5:30] = 5
    image = np.random.default_rng(0).normal(100, 3, (40, 40)).astype(np.float32)
    ((length, width),) = traced(heatmap, levels=(image, np.full_like(image, 100))).rectangles()
    assert length >= 23 and width >= 18
    same = traced(heatmap, levels=(image, image))
    assert (same.rectangles().tolist(), same.areas.tolist(), same.contrasts.tolist()) == ([[25, 20]], [500], [0])


def test_a_bright_spot_does_not_hide_the_stain_around_it() -> None:
    heatmap = np.zeros((60, 60), np.float32)
    heatmap[8:52, 8:52] = 5
    image = np.random.default_rng(0).normal(100, 2, (60, 60)).astype(np.float32)
    image[10:50, 10:50] += 20
    image[20:24, 20:24] += 120
    ((length, width),) = traced(heatmap, levels=(image, np.full_like(image, 100))).rectangles()
    assert (length, width) == (pytest.approx(40, abs=1), pytest.approx(40, abs=1))


def test_a_picture_with_too_many_hits_is_measured_by_its_regions() -> None:
    heatmap, image = np.zeros((4, 9), np.float32), np.zeros((4, 9), np.float32)
    heatmap[1, 1:8], image[1, 4] = 5, 50
    spans = np.concatenate([traced(heatmap).spans])
    kept = Deviations(most_pixels=6)
    kept.add(spans, 0, heatmap, np.float32(1), (image, np.zeros_like(image)))
    shown, begins, counts, sums = kept.visible(spans, np.array([0]), np.array([0, 1]))
    assert (shown["x0"].tolist(), shown["x1"].tolist(), begins.tolist(), counts.tolist()) == ([1], [8], [0, 1], [7])
    assert np.isnan(sums).all()


def test_a_contrast_that_nobody_gave_is_not_known() -> None:
    heatmap = np.ones((3, 3), np.float32)
    assert np.isnan(traced(heatmap).contrasts).all()


@settings(deadline=None, max_examples=60)
@given(seed=seeds, pixel=pixel_sizes, within=st.sampled_from([0.5, 2.0, 3.7, 9.0, 1e9]))
def test_distances_are_those_of_the_nearest_pixels(seed: int, pixel: PixelSize, within: float) -> None:
    heatmap, reach = speckled(seed)
    within *= pixel.x_um
    found = traced(heatmap, reach)
    counted = np.random.default_rng(seed).random(len(found)) < 0.6
    matrix = gaps([pixels_of(heatmap, region, reach) for region in found.regions], pixel)
    nearest = np.where(counted[None, :], matrix, np.inf).min(axis=1, initial=np.inf)
    np.testing.assert_allclose(found.nearest(counted, within, pixel), np.where(nearest <= within, nearest, np.inf))


@settings(deadline=None, max_examples=60)
@given(seed=seeds, pixel=pixel_sizes, within=st.sampled_from([1.5, 3.7, 6.0, 1e9]))
def test_joined_regions_are_those_that_hang_together(seed: int, pixel: PixelSize, within: float) -> None:
    heatmap, reach = speckled(seed)
    within *= pixel.x_um
    found = traced(heatmap, reach)
    parts = [pixels_of(heatmap, region, reach) for region in found.regions]
    _, labels = connected_components(gaps(parts, pixel) <= within)
    joined, fragments = found.joined(within, pixel)
    assert len(joined) == len(set(labels)) == len(fragments)
    assert sorted(fragments) == sorted(np.bincount(labels)) if len(found) else True
    assert (np.diff(joined.regions["score_max"]) <= 0).all()
    for i, region in enumerate(joined.regions):
        mine = [k for k in range(len(found)) if labels[k] == labels[_with_peak(found.regions, region)]]
        y, x = np.concatenate([parts[k] for k in mine]).T
        assert (region["y0"], region["x0"], region["y1"], region["x1"]) == (
            y.min(), x.min(), y.max() + 1, x.max() + 1,
        )  # fmt: skip
        assert (region["area_px"], fragments[i]) == (len(y), len(mine))
        assert region["score_max"] == heatmap[y, x].max() == heatmap[region["peak_y"], region["peak_x"]]
        assert region["score_mean"] == pytest.approx(heatmap[y, x].mean(), rel=1e-5)
        assert (region["centroid_y"], region["centroid_x"]) == pytest.approx((y.mean(), x.mean()))
        assert joined.areas[i] == len(y)
        expected = smallest_rectangle(np.stack([y, x], axis=1), pixel)
        assert joined.rectangles(pixel)[i].prod() == pytest.approx(np.prod(expected), rel=1e-9)


def _with_peak(regions: NDArray, region: np.void) -> int:
    same = (regions["peak_y"] == region["peak_y"]) & (regions["peak_x"] == region["peak_x"])
    return int(np.flatnonzero(same)[0])


@given(seed=seeds)
def test_tracing_finds_the_same_regions(seed: int) -> None:
    heatmap, reach = speckled(seed)
    found = traced(heatmap, reach)
    np.testing.assert_array_equal(found.regions, find_regions(heatmap, grow=1.0, seed=1.0, reach=reach))
    if len(found):
        np.testing.assert_array_equal(found.areas, found.regions["area_px"])


def test_nothing_is_measured_of_nothing() -> None:
    found = traced(np.zeros((3, 4), np.float32))
    assert (len(found), found.rectangles().shape, found.contrasts.shape) == (0, (0, 2), (0,))
    joined, fragments = found.joined(5.0)
    assert (len(joined), len(fragments)) == (0, 0)
    assert found.nearest(np.zeros(0, bool), 5.0).shape == (0,)
