"""Calibration: the tail against scipy, severities against counting, and the rate it promises on images it never saw."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from flawmap.export.bundle import read_bundle
from flawmap.export.calibration_record import Calibration, check_false_alarms
from flawmap.inspect.calibration.border_zones import lower_border
from flawmap.inspect.calibration.calibrate import (
    PRIOR_PEAKS,
    SHAPE_FLOOR,
    calibrate,
    fit_generalised_pareto,
    fit_tail,
)
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.calibration.hot_pixels import KEPT_FRACTION, KEPT_PIXELS, HotPixels
from flawmap.inspect.defects import FRAGMENT_REACH
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import write_image
from flawmap.tiling.regions import find_regions
from tests.bundles import good_image, make_bundle


def heavy_heatmap(seed: int, side: int = 300, dots: float = 40.0, shape: float = 0.3) -> NDArray[np.float32]:
    """Faint noise, and dots of 2x2 px whose heights have a generalised Pareto tail; float32 [side, side]."""
    rng = np.random.default_rng(seed)
    heatmap = 0.1 * rng.random((side, side), dtype=np.float32)
    for height in stats.genpareto.rvs(shape, loc=1.0, scale=0.5, size=rng.poisson(dots), random_state=rng):
        y, x = rng.integers(0, side - 1, 2)
        heatmap[y : y + 2, x : x + 2] = np.maximum(heatmap[y : y + 2, x : x + 2], np.float32(height))
    return heatmap


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    return calibrate((heavy_heatmap(seed) for seed in range(25)), 0.1)


@pytest.mark.parametrize("shape", [-0.2, 0.1, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("scale", [0.02, 3.0])
def test_the_pareto_fit_finds_what_scipy_drew(shape: float, scale: float) -> None:
    fits = np.array(
        [
            fit_generalised_pareto(stats.genpareto.rvs(shape, scale=scale, size=400, random_state=seed))
            for seed in range(12)
        ]
    )
    assert fits[:, 0].mean() == pytest.approx(shape * 400 / (400 + PRIOR_PEAKS), abs=0.08)
    assert fits[:, 1].mean() == pytest.approx(scale, rel=0.12)


def test_a_few_peaks_are_drawn_to_the_prior() -> None:
    """Of a heavy tail (shape 1): with 10 peaks the prior's 0 has half a say, with 1000 the peaks have it."""
    few = [fit_generalised_pareto(stats.genpareto.rvs(1.0, size=10, random_state=seed))[0] for seed in range(40)]
    many = [fit_generalised_pareto(stats.genpareto.rvs(1.0, size=1000, random_state=seed))[0] for seed in range(8)]
    assert 0.35 < np.mean(few) < 0.75
    assert abs(np.mean(many) - 1) < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_a_bounded_tail_is_light_but_never_ends(seed: int) -> None:
    """Uniform peaks have the shape -1: as light as is allowed, and still no score has an infinite severity."""
    peaks = np.sort(3 + stats.uniform.rvs(size=2000, random_state=seed))
    tail, counted = fit_tail(peaks, 3.0, 10)
    assert tail.shape == SHAPE_FLOOR
    mean = tail.scale / (1 - tail.shape)  # of a generalised Pareto distribution
    assert mean == pytest.approx((peaks[len(counted) :] - tail.threshold).mean(), rel=0.1)
    assert np.isfinite(tail.decades(np.array([4.0, 5.0, 100.0]))).all()


@settings(max_examples=150)
@given(
    values=st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=150),
    repeats=st.integers(1, 3),
)
def test_the_pareto_fit_is_finite_for_any_peaks(values: list[float], repeats: int) -> None:
    shape, scale = fit_generalised_pareto(np.array(values * repeats, np.float64))
    assert np.isfinite([shape, scale]).all()
    assert scale > 0


@pytest.mark.parametrize("count", [1, 4, 5, 20, 100, 110, 400])
@pytest.mark.parametrize("value", [0.0, 1e-9, 2.5])
def test_the_pareto_fit_of_equal_peaks(count: int, value: float) -> None:
    shape, scale = fit_generalised_pareto(np.full(count, value))
    assert np.isfinite([shape, scale]).all()
    assert scale > 0


def lowered(heatmap: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    """As inspection sees it."""
    lower_border(heatmap, calibration.border)
    return heatmap


def test_below_grow_severity_goes_on_falling(calibration: Calibration) -> None:
    """So that images without a region are still ranked."""
    below = calibration.severity(calibration.grow - np.array([0.0, 0.5, 3.0]))
    assert below[0] == pytest.approx(calibration.severity_floor)
    decade = calibration.tail.scale * np.log(10)
    np.testing.assert_allclose(below[0] - below[1:], np.array([0.5, 3.0]) / decade)


def test_the_counted_part_is_counting(calibration: Calibration) -> None:
    peaks = np.concatenate(
        [
            find_regions(
                lowered(heavy_heatmap(s), calibration),
                grow=calibration.grow,
                seed=calibration.grow,
                reach=FRAGMENT_REACH,
            )["score_max"]
            for s in range(25)
        ]
    ).astype(np.float64)
    assert len(peaks) == calibration.n_regions
    for peak in calibration.peaks[5:-5:10]:
        by_hand = -np.log10(np.sum(peaks >= peak) / 25)
        assert float(calibration.severity(np.float64(peak))) == pytest.approx(by_hand, abs=1e-9)


def test_the_tail_goes_on_where_counting_ends(calibration: Calibration) -> None:
    """Within one region of the last counted one, and its rate is that of the peaks beyond."""
    start = calibration.tail.threshold
    below, above = calibration.severity(np.array([start - 1e-9, start + 1e-9]))
    assert above == pytest.approx(below, abs=0.02)
    assert above == pytest.approx(-np.log10(calibration.tail.rate), abs=1e-6)
    assert calibration.n_regions - len(calibration.peaks) == round(calibration.tail.rate * calibration.n_images)


def test_the_tail_is_scipys(calibration: Calibration) -> None:
    tail = calibration.tail
    scores = tail.threshold + np.array([0.1, 1.0, 10.0])
    expected = -np.log10(tail.rate * stats.genpareto.sf(scores, tail.shape, loc=tail.threshold, scale=tail.scale))
    np.testing.assert_allclose(calibration.severity(scores), expected, rtol=1e-9)


@pytest.mark.parametrize("shape", [-0.25, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("false_alarms", [1.0, 0.2])
def test_the_promised_rate_is_kept_on_fresh_images(shape: float, false_alarms: float) -> None:
    """25 images calibrate, 300 others judge: within a factor of 2, mean of a few calibrations."""
    fresh = [heavy_heatmap(10_000 + seed, side=150, shape=shape) for seed in range(300)]
    rates = []
    for repeat in range(4):
        seeds = range(1000 * repeat, 1000 * repeat + 25)
        record = calibrate((heavy_heatmap(s, side=150, shape=shape) for s in seeds), false_alarms)
        ng = Thresholds.of(record, false_alarms).ng
        found = [len(find_regions(h, grow=record.grow, seed=ng, reach=FRAGMENT_REACH)) for h in fresh]
        rates.append(np.mean(found))
    assert false_alarms / 2 < np.mean(rates) < false_alarms * 2


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), side=st.sampled_from([20, 100, 200, 300]), share=st.floats(0, 1))
def test_hot_pixels_know_the_regions_of_the_whole_heatmap(seed: int, side: int, share: float) -> None:
    heatmap = np.random.default_rng(seed).standard_normal((side, side + 7)).astype(np.float32)
    hot = HotPixels.of(heatmap)
    assert len(hot.indices) == min(heatmap.size, max(KEPT_PIXELS, int(heatmap.size * KEPT_FRACTION)))
    lowest = max(hot.level, float(heatmap.min()))
    grow = lowest + share * (float(heatmap.max()) - lowest)
    expected = find_regions(heatmap, grow=grow, seed=grow, reach=FRAGMENT_REACH)["score_max"]
    np.testing.assert_array_equal(hot.peaks(grow), expected)


def test_one_hot_image_does_not_speak_for_all() -> None:
    """A stain over a whole small image: the others still have regions, and an ordinary one is not at the floor."""
    rng = np.random.default_rng(4)
    heatmaps = [rng.exponential(1, (120, 120)).astype(np.float32) for _ in range(30)]
    heatmaps[7] += 30
    record = calibrate(iter(heatmaps), 0.1)
    assert record.grow < 15
    assert float(record.severity(np.float64(heatmaps[0].max()))) > record.severity_floor


def test_heatmaps_are_drawn_one_at_a_time() -> None:
    alive = 0

    def heatmaps() -> object:
        nonlocal alive
        for seed in range(5):
            alive = seed
            yield heavy_heatmap(seed, side=100)

    assert calibrate(heatmaps(), 0.1).n_images == alive + 1 == 5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "heatmaps",
    [
        [np.zeros((50, 60), np.float32)],
        [np.full((50, 60), -3.0, np.float32), np.full((50, 60), 4.0, np.float32)],
        [np.zeros((1, 1), np.float32)],
        [np.arange(20, dtype=np.float32).reshape(1, 20), np.arange(30, dtype=np.float32).reshape(30, 1)],
        [heavy_heatmap(1, side=40), np.zeros((40, 40), np.float32)],
    ],
    ids=["constant", "two constants", "one pixel", "lines", "one lively, one dead"],
)
def test_strange_heatmaps_calibrate(heatmaps: list[NDArray[np.float32]]) -> None:
    record = calibrate(iter(heatmaps), 0.1)
    assert record.n_regions >= 1
    assert record.tail.shape >= SHAPE_FLOOR
    thresholds = Thresholds.of(record, 0.1)
    assert np.isfinite([thresholds.grow, thresholds.review, thresholds.ng]).all()
    # What calibrated it is not condemned by it: no image is hotter than one in ten may be.
    assert thresholds.ng >= record.grow
    assert Calibration.model_validate_json(record.model_dump_json()) == record


def test_one_hot_image_does_not_hide_the_others() -> None:
    """`grow` is at least what every image kept, or regions would be missing from the hot one."""
    calm = [heavy_heatmap(seed) for seed in range(6)]
    hot = heavy_heatmap(6) + np.float32(5)
    record = calibrate([*calm, hot], 0.1)
    assert record.grow >= HotPixels.of(hot).level
    inspected = [lowered(heatmap, record) for heatmap in [*calm, hot]]
    expected = sum(len(find_regions(h, grow=record.grow, seed=record.grow, reach=FRAGMENT_REACH)) for h in inspected)
    assert record.n_regions == expected


@pytest.mark.parametrize("step", [0.1, 0.5, 1.0])
def test_scores_in_steps_leave_no_tail_that_hides_defects(step: float) -> None:
    """Exponential peaks rounded to steps (a local median of whole grey levels) promise what the peaks themselves do."""
    rng = np.random.default_rng(3)
    for n_images in (4, 12, 40):
        drawn = np.sort(rng.exponential(1.0, 30 * n_images))
        tail, counted = fit_tail(np.round(drawn / step) * step, 0.0, n_images)
        n_tail = round(tail.rate * n_images)
        assert np.all(counted <= tail.threshold) and len(counted) + n_tail == len(drawn)
        at_a_tenth = tail.score_at(1 + np.log10(tail.rate))  # exp(-score) * 30 = 0.1
        assert at_a_tenth == pytest.approx(np.log(300), abs=2.5)


def test_no_heatmap_at_all() -> None:
    with pytest.raises(UsageError, match="calibration needs at least 1 good image"):
        calibrate(iter([]), 0.1)


@pytest.mark.parametrize("value", [0.0, -1.0, 100.5, float("nan"), float("inf")])
def test_bad_false_alarms(value: float, tmp_path: Path) -> None:
    message = r"`--false-alarms` \(=\S+\) must lie above 0 and be at most 100 regions an image"
    with pytest.raises(UsageError, match=message):
        check_false_alarms(value)
    with pytest.raises(UsageError, match=message):
        calibrate_bundle(tmp_path / "none", [], value)  # before anything is read
    assert check_false_alarms(100.0) == 100.0


def good_files(folder: Path, count: int, first_seed: int, **kind: object) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{i}.png" for i in range(count)]
    for i, path in enumerate(paths):
        write_image(path, good_image(200, 220, seed=first_seed + i, **kind))  # type: ignore[arg-type]
    return paths


def test_a_bundle_is_calibrated_end_to_end(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", calibrated=False)
    paths = good_files(tmp_path / "good", 8, 100)
    told: list[str] = []

    def progress(title: str, total: int) -> object:
        assert (title, total) == ("calibrating", 8)
        return nullcontext(told.append)

    record = calibrate_bundle(tmp_path / "bundle", paths, 0.5, device="cpu", progress=progress)  # type: ignore[arg-type]
    bundle = read_bundle(tmp_path / "bundle")  # sealed again
    assert bundle.info.calibration == record
    assert told == [path.name for path in paths]
    assert (record.n_images, record.false_alarms) == (8, 0.5)
    assert record.megapixels_per_image == pytest.approx(200 * 220 / 1e6)
    pipeline = Pipeline(bundle, TileScorer(bundle, "cpu"), Thresholds.of(record, 0.5))
    fresh = [pipeline.inspect(good_image(200, 220, seed=s)) for s in range(500, 530)]
    assert sum(np.sum(i.severities >= pipeline.thresholds.severity_ng) for i in fresh) / 30 < 1.0  # type: ignore[union-attr]
    marked = pipeline.inspect(good_image(200, 220, seed=600, defects=2))
    assert marked.verdict == "NG"
    # Once more, with another rate: the newest calibration counts.
    again = calibrate_bundle(tmp_path / "bundle", paths[:3], 2.0, device="cpu")
    assert read_bundle(tmp_path / "bundle").info.calibration == again != record


def test_an_image_of_another_kind_stops_the_calibration(tmp_path: Path) -> None:
    before = make_bundle(tmp_path / "bundle")
    paths = good_files(tmp_path / "good", 2, 0) + good_files(tmp_path / "rgb", 1, 0, channels=3)
    with pytest.raises(ImageError, match="the image is RGB uint8, the bundle was trained on mono uint8"):
        calibrate_bundle(tmp_path / "bundle", paths, 0.1, device="cpu")
    assert read_bundle(tmp_path / "bundle").digest == before.digest  # untouched


def test_calibrating_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`bundle` \(=.*none\) is not there"):
        calibrate_bundle(tmp_path / "none", [], 0.1)


def test_calibrating_on_nothing(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    with pytest.raises(UsageError, match="at least 1 good image"):
        calibrate_bundle(tmp_path / "bundle", [], 0.1, device="cpu")
