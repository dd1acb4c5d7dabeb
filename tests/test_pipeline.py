import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle, TileInfo
from flawmap.inspect.defects import CANDIDATES_MAX, FRAGMENT_REACH
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import REVIEW_BAND, Thresholds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.padding import Padding
from flawmap.tiling.regions import REGION_DTYPE, TooManyRunsError, find_regions
from tests.bundles import calibration, find_defects, good_image, make_bundle, toy_score
from tests.naive_tiling import NUMPY_MODES

STRIDE = 4
BORDER = 8


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Bundle]:
    """One bundle a kind of image; tests put their own tiling into it."""
    kinds = [(1, "uint8"), (3, "uint8"), (1, "uint16"), (3, "uint16"), (1, "float32"), (3, "float32")]
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: make_bundle(folder / f"{kind[0]}{kind[1]}", channels=kind[0], dtype=kind[1]) for kind in kinds}


def tiled(bundle: Bundle, tile_size: int, overlap: int, batch_size: int = 1, padding: Padding = "reflect") -> Pipeline:
    tile = TileInfo(size=tile_size, overlap=overlap, border=BORDER, padding=padding)
    info = bundle.info.model_copy(update={"tile": tile})
    bundle = Bundle(bundle.folder, info, bundle.digest)
    return Pipeline(bundle, TileScorer(bundle, "cpu", batch_size), Thresholds.of(calibration(), 0.1))


@pytest.fixture(scope="module")
def pipeline(bundles: dict[tuple[int, str], Bundle]) -> Pipeline:
    return tiled(bundles[1, "uint8"], 64, 16)


def scored_at_once(image: NDArray, dtype: str, padding: Padding = "reflect") -> NDArray[np.float32]:
    """The whole image through the network's formula in one piece, padded as training showed it."""
    borders = [(BORDER, BORDER)] * 2 + [(0, 0)] * (image.ndim - 2)
    return toy_score(np.pad(image, borders, mode=NUMPY_MODES[padding])[None], dtype)[0, BORDER:-BORDER, BORDER:-BORDER]


kinds = st.tuples(st.sampled_from([1, 3]), st.sampled_from(["uint8", "uint16", "float32"]))


@settings(max_examples=40, deadline=None)
@given(
    kind=kinds,
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    tile_size=st.integers(3, 20).map(lambda n: n * STRIDE),
    overlap=st.integers(1, 19).map(lambda n: n * STRIDE),
    batch_size=st.integers(1, 5),
    padding=st.sampled_from(sorted(NUMPY_MODES)),
)
def test_tiled_equals_whole(
    bundles: dict[tuple[int, str], Bundle],
    kind: tuple[int, str],
    height: int,
    width: int,
    tile_size: int,
    overlap: int,
    batch_size: int,
    padding: Padding,
) -> None:
    """Any tile size, any overlap that covers the receptive field of 5 px, any batch."""
    overlap = min(overlap, tile_size - STRIDE)
    image = good_image(height, width, channels=kind[0], dtype=kind[1], seed=height * width, defects=2)
    heatmap, reconstruction = tiled(bundles[kind], tile_size, overlap, batch_size, padding).heatmap(image)
    assert (heatmap.dtype, heatmap.shape) == (np.float32, (height, width))
    assert (reconstruction.dtype, reconstruction.shape) == (image.dtype, image.shape)
    np.testing.assert_allclose(heatmap, scored_at_once(image, kind[1], padding), atol=1e-4)


def test_a_dot_is_found_where_it_is(pipeline: Pipeline) -> None:
    image = good_image(200, 300, seed=3)
    image[120:122, 40:42] = 230
    found = pipeline.inspect(image)
    assert found.verdict == "NG"
    assert len(found.regions) == 1 and found.regions.dtype == REGION_DTYPE
    region = found.regions[0]
    assert (region["y0"], region["x0"], region["y1"], region["x1"]) == (120, 40, 122, 42)
    assert found.severity == found.severities[0] == calibration().severity(region["score_max"])
    assert 120 <= region["peak_y"] < 122 and 40 <= region["peak_x"] < 42
    assert set(found.milliseconds) == {"cut", "score", "stitch", "regions"}
    assert all(value > 0 for value in found.milliseconds.values())


def test_a_good_image_is_ok(pipeline: Pipeline) -> None:
    found = pipeline.inspect(good_image(200, 300, seed=3))
    assert (found.verdict, len(found.regions), len(found.severities)) == ("OK", 0, 0)
    assert found.severity < calibration().severity_floor


def test_an_ok_image_says_how_near_it_came_to_a_region(pipeline: Pipeline) -> None:
    image = good_image(200, 300, seed=3)
    image[120, 40] = image[118:123, 38:43].mean() + 55
    found = pipeline.inspect(image)
    assert (found.verdict, len(found.regions)) == ("OK", 0)
    assert found.severity == calibration().severity(found.heatmap.max())
    assert calibration().severity_floor < found.severity < 0.7


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 7)])
def test_images_far_smaller_than_a_tile(pipeline: Pipeline, shape: tuple[int, int]) -> None:
    image = good_image(*shape)
    heatmap, _ = pipeline.heatmap(image)
    assert heatmap.shape == shape
    np.testing.assert_allclose(heatmap, scored_at_once(image, "uint8"), atol=1e-4)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (np.zeros((20, 20, 3), np.uint8), "the image is RGB uint8, the bundle was trained on mono uint8"),
        (np.zeros((20, 20), np.uint16), "the image is mono uint16, the bundle was trained on mono uint8"),
        (np.zeros((20, 20, 3), np.float32), "the image is RGB float32, the bundle was trained on mono uint8"),
    ],
)
def test_another_kind_of_image_names_both(pipeline: Pipeline, image: NDArray, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        pipeline.inspect(image)
    with pytest.raises(ImageError, match=text):
        pipeline.heatmap(image)


def test_mono_for_a_colour_bundle(bundles: dict[tuple[int, str], Bundle]) -> None:
    with pytest.raises(ImageError, match="the image is mono uint16, the bundle was trained on RGB uint16"):
        tiled(bundles[3, "uint16"], 64, 16).inspect(np.zeros((20, 20), np.uint16))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_no_number_stops_the_image(bundles: dict[tuple[int, str], Bundle], bad: float) -> None:
    pipeline = tiled(bundles[1, "float32"], 64, 16)
    image = good_image(100, 100, dtype="float32")
    image[50, 60] = bad
    with pytest.raises(ValueError, match="finite number"):
        pipeline.inspect(image)
    assert pipeline.inspect(good_image(100, 100, dtype="float32")).verdict == "OK"  # and leaves nothing behind


def test_inspections_stay_as_they_were(pipeline: Pipeline) -> None:
    images = [good_image(100, 120, seed=s, defects=s) for s in range(3)]
    held = [pipeline.inspect(image) for image in images]
    copies = [(i.heatmap.copy(), i.reconstruction.copy()) for i in held]
    pipeline.inspect(images[0])
    for inspection, (heatmap, reconstruction) in zip(held, copies, strict=True):
        np.testing.assert_array_equal(inspection.heatmap, heatmap)
        np.testing.assert_array_equal(inspection.reconstruction, reconstruction)


def test_recycled_arrays_give_the_same_answer(pipeline: Pipeline) -> None:
    first, second = good_image(100, 120, seed=1, defects=3), good_image(100, 120, seed=2, defects=1)
    expected = pipeline.inspect(second)
    old = pipeline.inspect(first)
    found = pipeline.inspect(second, recycle=old)
    assert found.heatmap is old.heatmap and found.reconstruction is old.reconstruction
    np.testing.assert_array_equal(found.heatmap, expected.heatmap)
    np.testing.assert_array_equal(found.reconstruction, expected.reconstruction)
    np.testing.assert_array_equal(found.regions, expected.regions)
    other_size = pipeline.inspect(good_image(90, 120), recycle=found)
    assert other_size.heatmap is not found.heatmap


def test_heatmaps_need_no_thresholds(bundles: dict[tuple[int, str], Bundle]) -> None:
    bundle = bundles[1, "uint8"]
    pipeline = Pipeline(bundle, TileScorer(bundle, "cpu"))
    image = good_image(100, 120)
    assert pipeline.heatmap(image)[0].shape == (100, 120)
    with pytest.raises(ValueError, match="`thresholds` are needed to inspect"):
        pipeline.inspect(image)


def full_of_hits(rng: np.random.Generator) -> NDArray[np.float32]:
    """Over a million runs: a hit every sixth pixel; few of them reach the review threshold."""
    heatmap = np.zeros((2500, 2600), np.float32)
    heatmap[:, ::6] = 5.0
    for y, x in zip(rng.integers(100, 2300, 50), rng.integers(50, 400, 50), strict=True):
        heatmap[y, 6 * x] = rng.uniform(8.0, 20.0)
    return heatmap


def test_a_heatmap_full_of_hits_is_one_region() -> None:
    thresholds = Thresholds.of(calibration(), 0.1)
    heatmap = full_of_hits(np.random.default_rng(0))
    with pytest.raises(TooManyRunsError):
        find_regions(heatmap, grow=thresholds.grow, seed=thresholds.review, reach=3)
    (region,), candidates = find_defects(heatmap, thresholds)
    assert len(candidates) == 0
    ys, xs = np.nonzero(heatmap >= thresholds.review)
    assert (region["y0"], region["x0"], region["y1"], region["x1"]) == (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)
    assert region["area_px"] == len(ys)
    assert region["score_max"] == heatmap.max() == heatmap[region["peak_y"], region["peak_x"]]
    assert region["score_mean"] == pytest.approx(heatmap[ys, xs].mean())
    assert (region["centroid_y"], region["centroid_x"]) == pytest.approx((ys.mean(), xs.mean()))
    assert thresholds.verdict(float(region["score_max"])) == "NG"
    assert len(find_defects(np.minimum(heatmap, 5.0), thresholds)[0]) == 0


@settings(deadline=None)
@given(false_alarms=st.floats(1e-6, 100), scores=st.lists(st.floats(0, 1e4, width=32), min_size=1, max_size=20))
def test_verdicts_follow_severities(false_alarms: float, scores: list[float]) -> None:
    thresholds = Thresholds.of(calibration(), false_alarms)
    assert thresholds.grow <= thresholds.candidate <= thresholds.review <= thresholds.ng
    assert thresholds.severity_ng - thresholds.severity_review == pytest.approx(REVIEW_BAND)
    severities = thresholds.severities(np.array(scores, np.float32))
    for score, severity in zip(scores, severities, strict=True):
        verdict = thresholds.verdict(score)
        # A float32 score next to the line may lie on either side of it.
        if score > thresholds.grow and severity >= thresholds.severity_ng + 1e-4:
            assert verdict == "NG"
        if severity < thresholds.severity_ng - 1e-4:
            assert verdict != "NG"
        if severity < thresholds.severity_review - 1e-4:
            assert verdict == "OK"


@settings(deadline=None)
@given(false_alarms=st.floats(1e-6, 100))
def test_every_region_found_is_worth_a_look(false_alarms: float) -> None:
    """A pixel exactly on a threshold is on the same side of it for the region finder and for the verdict."""
    thresholds = Thresholds.of(calibration(), false_alarms)
    for line, verdict in ((thresholds.review, "REVIEW"), (thresholds.ng, "NG")):
        heatmap = np.zeros((3, 3), np.float32)
        heatmap[1, 1] = line
        (region,), _ = find_defects(heatmap, thresholds)
        expected = "NG" if line >= thresholds.ng else verdict
        assert thresholds.verdict(float(region["score_max"])) == expected
        heatmap[1, 1] = np.nextafter(np.float32(thresholds.review), np.float32(0))
        assert len(find_defects(heatmap, thresholds)[0]) == 0


@pytest.mark.parametrize("false_alarms", [0.0, -1.0, 101.0, math.nan])
def test_false_alarms_that_make_no_sense(false_alarms: float) -> None:
    with pytest.raises(UsageError, match="`--false-alarms`"):
        Thresholds.of(calibration(), false_alarms)


@settings(max_examples=60, deadline=None)
@given(
    peaks=st.lists(st.floats(3.0, 14.0, width=32), min_size=1, max_size=60),
    false_alarms=st.sampled_from([0.01, 0.1, 1.0, 50.0]),
)
def test_candidates_lie_below_regions(peaks: list[float], false_alarms: float) -> None:
    """Lone pixels on a grid: what is a region, a candidate or nothing is told by the two thresholds alone."""
    thresholds = Thresholds.of(calibration(), false_alarms)
    heatmap = np.zeros((80, 80), np.float32)
    for i, peak in enumerate(peaks):
        heatmap[5 + 8 * (i // 9), 5 + 8 * (i % 9)] = peak
    regions, candidates = find_defects(heatmap, thresholds)
    falling = sorted(peaks, reverse=True)
    assert regions["score_max"].tolist() == [p for p in falling if p >= thresholds.review]
    expected = [p for p in falling if thresholds.candidate <= p < thresholds.review]
    assert candidates["score_max"].tolist() == expected
    np.testing.assert_array_equal(
        regions, find_regions(heatmap, grow=thresholds.grow, seed=thresholds.review, reach=FRAGMENT_REACH)
    )
    assert all(thresholds.severities(candidates["score_max"]) >= min(-1.0, thresholds.severity_review) - 1e-6)


def test_the_highest_candidates_are_kept() -> None:
    thresholds = Thresholds.of(calibration(), 0.1)
    heatmap = np.zeros((200, 200), np.float32)
    peaks = np.random.default_rng(0).uniform(thresholds.candidate, thresholds.review, 400).astype(np.float32)
    heatmap[5:165:8, 5:165:8] = peaks.reshape(20, 20)
    heatmap[190, 190] = thresholds.ng
    regions, candidates = find_defects(heatmap, thresholds)
    assert len(regions) == 1
    np.testing.assert_array_equal(candidates["score_max"], np.sort(peaks)[::-1][:CANDIDATES_MAX])
