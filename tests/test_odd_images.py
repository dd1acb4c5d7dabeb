"""Calibration images that are not good are found where they stand out; rare good ones are left alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from flawmap.export.bundle import read_bundle
from flawmap.export.calibration_record import Calibration, ParetoTail
from flawmap.export.model_card import CARD, renew_model_card
from flawmap.inspect.calibration.calibrate import OwnZone, Seen, calibrate, calibrate_on, fit_tail
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.calibration.odd_images import EXPECTED, FEWEST_IMAGES, HEAVY, find_odd, most_odd
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle


def good_peaks(n_images: int, seed: int, shape: float = 0.0) -> list[NDArray[np.float64]]:
    """About eight peaks an image, of a generalised Pareto tail."""
    rng = np.random.default_rng(seed)
    return [np.sort(stats.genpareto.rvs(shape, size=rng.poisson(8), random_state=rng)) for _ in range(n_images)]


def tail_of(peaks: NDArray[np.float64], n_images: int) -> ParetoTail:
    return fit_tail(peaks, 0.0, n_images)[0]


def heatmap(seed: int, height: float = 0.0, at: tuple[int, int] = (90, 40)) -> NDArray[np.float32]:
    """Peaks that fall off as an exponential, float32 [150, 160], and one of `height` at `at`."""
    rng = np.random.default_rng(seed)
    drawn = rng.exponential(0.1, (150, 160)).astype(np.float32)
    drawn[at] += np.float32(height)
    return drawn


@given(n_images=st.integers(0, 5000))
def test_few_may_be_odd(n_images: int) -> None:
    assert 0 <= most_odd(n_images) <= max(1, n_images / 10)
    assert (most_odd(n_images) == 0) == (n_images < FEWEST_IMAGES)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), n_images=st.integers(FEWEST_IMAGES, 60), data=st.data())
def test_images_far_beyond_the_tail_are_odd_however_many_may_be(seed: int, n_images: int, data: st.DataObject) -> None:
    """Several at once do not hide one another."""
    peaks = good_peaks(n_images, seed)
    bad = data.draw(st.lists(st.integers(0, n_images - 1), min_size=1, max_size=most_odd(n_images), unique=True))
    for k, i in enumerate(bad):
        peaks[i] = np.append(peaks[i], 500.0 + k)
    odd = find_odd(peaks, tail_of)
    assert set(bad) <= set(odd)
    assert list(odd)[: len(bad)] == bad[::-1]  # the oddest first
    assert all(0 <= expected < EXPECTED for expected in odd.values())


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.2, HEAVY])
def test_good_images_are_hardly_ever_odd(shape: float) -> None:
    """Up to the heaviness that the rule takes for granted."""
    found = [len(find_odd(good_peaks(30, seed, shape), tail_of)) for seed in range(60)]
    assert np.mean(np.array(found) > 0) <= 0.1


def test_how_many_are_expected_is_scipys() -> None:
    peaks = good_peaks(20, 3)
    peaks[4] = np.append(peaks[4], 60.0)
    others = np.sort(np.concatenate([image for i, image in enumerate(peaks) if i != 4]))
    tail = tail_of(others, 19)
    beyond = stats.genpareto.sf(60.0, max(tail.shape, HEAVY), loc=tail.threshold, scale=tail.scale)
    # Two may be odd; the second highest is a good one, so one is left.
    assert find_odd(peaks, tail_of) == {4: pytest.approx(20 * tail.rate * beyond)}


def test_of_few_images_none_is_odd() -> None:
    peaks = [*good_peaks(FEWEST_IMAGES - 2, 1), np.array([1e6])]
    assert find_odd(peaks, tail_of) == {}


def test_images_without_a_region_are_good() -> None:
    peaks = [np.empty(0) for _ in range(12)]
    assert find_odd(peaks, tail_of) == {}
    assert find_odd([*peaks, *good_peaks(4, 2)], tail_of) == {}


@pytest.mark.parametrize("n_images", [12, 30])
def test_a_calibration_is_the_one_without_the_odd_image(n_images: int) -> None:
    good = [heatmap(seed) for seed in range(n_images)]
    clean = calibrate(good, 0.1)
    assert clean.left_out == [] and clean.left_out_note() == ""
    dirty = calibrate([*good[:5], heatmap(99, height=80.0), *good[5:]], 0.1)
    (odd,) = dirty.left_out
    assert (odd.x, odd.y) == (40, 90)
    assert odd.score == pytest.approx(80, abs=2)
    assert dirty.model_copy(update={"left_out": []}) == clean
    assert Calibration.model_validate_json(dirty.model_dump_json()) == dirty


def test_one_of_few_images_raises_the_threshold() -> None:
    """Of seven nobody can say; the rate that is promised has to hold for all of them."""
    record = calibrate([*(heatmap(seed) for seed in range(6)), heatmap(99, height=80.0)], 0.1)
    assert record.left_out == []
    assert record.n_images == 7


def test_the_hottest_images_that_stay_are_named() -> None:
    images = [replace(Seen.of(heatmap(seed)), name=f"{seed:02}.png") for seed in range(42)]
    record = calibrate_on(images, 0.1)
    assert [found.score for found in record.hottest] == record.image_peaks[:-5:-1]  # a tenth of them
    for found in record.hottest:
        drawn = heatmap(int(found.image[:2]))
        assert drawn[found.y, found.x] == drawn.max() == np.float32(found.score)
    third = record.hottest[2]
    named = f"{third.image} at x {third.x}, y {third.y}, more in MODEL_CARD.md; see that they are good"
    assert record.hottest_note().endswith(named)


def test_a_zone_with_a_rate_of_its_own_hides_nothing() -> None:
    look = np.full((150, 160), 1, np.uint8)
    look[60:] = 2
    zone = OwnZone("lower", 2, 5.0)
    images = [Seen.of(heatmap(seed, 80.0 if seed == 3 else 0.0), look, [zone]) for seed in range(14)]
    record = calibrate_on(images, 0.1, [zone])
    assert [(odd.x, odd.y) for odd in record.left_out] == [(40, 90)]
    assert record.n_images == record.zones["lower"].n_images == 13


def test_the_record_and_the_card_name_the_image(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", calibrated=False)
    folder = tmp_path / "good"
    folder.mkdir()
    paths = [folder / f"{i:02}.png" for i in range(12)]
    for i, path in enumerate(paths):
        image = good_image(200, 220, seed=i)
        if i == 7:
            image[100:120, 60:80] = 255
        write_image(path, image)
    record = calibrate_bundle(tmp_path / "bundle", paths, 0.5, device="cpu")
    (odd,) = record.left_out
    assert odd.image == "07.png"
    assert 55 <= odd.x < 85 and 95 <= odd.y < 125
    assert record.n_images == 11
    note = record.left_out_note()
    assert note == (
        "1 of 12 good images left out of the calibration, for what the others do not show: "
        f"07.png at x {odd.x}, y {odd.y}; look at it, and calibrate again without what is defective"
    )
    (hot,) = record.hottest
    assert hot.score == record.image_peaks[-1]
    assert record.hottest_note() == (
        f"the highest scores of the calibration: {hot.image} at x {hot.x}, y {hot.y}; see that they are good"
    )
    before = (tmp_path / "bundle" / CARD).read_text(encoding="utf-8")
    for _ in range(2):  # the section takes the place of the one before
        renew_model_card(tmp_path / "bundle")
        added = (tmp_path / "bundle" / CARD).read_text(encoding="utf-8").removeprefix(before)
        assert added == (
            f"\n## Calibration\n\nOn {record.n_regions} regions of 11 good images.\n\n"
            f"Left out, for a place that the other images do not show (x, y in px):\n\n- 07.png: {odd.x}, {odd.y}\n\n"
            "The highest scores, where a defect among them would most likely be (x, y in px):\n\n"
            f"- {hot.image}: {hot.x}, {hot.y}\n"
        )
    assert read_bundle(tmp_path / "bundle").info.calibration == record  # sealed again
    (tmp_path / "other").mkdir()
    renew_model_card(tmp_path / "other")  # without a card it stays without
    assert not list((tmp_path / "other").iterdir())
