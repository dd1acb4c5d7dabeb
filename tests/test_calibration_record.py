"""What a calibration says of a score: its tail against scipy, severities, what no image showed, few images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flawmap.export.calibration_record import Calibration, ParetoTail
from flawmap.inspect.calibration.calibrate import fit_tail
from flawmap.inspect.thresholds import Thresholds
from tests.bundles import calibration


@settings(max_examples=200)
@given(
    shape=st.floats(-0.3, 1),
    scale=st.floats(0.01, 10),
    decades=st.floats(0, 8),
)
def test_a_tail_knows_its_scores_by_their_rarity(shape: float, scale: float, decades: float) -> None:
    tail = ParetoTail(threshold=1.5, rate=2.0, shape=shape, scale=scale)
    assert float(tail.decades(np.float64(tail.score_at(decades)))) == pytest.approx(decades, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("shape", [-0.3, -0.05, 0.0, 0.4])
def test_a_tail_is_scipys_as_far_as_its_bend(shape: float) -> None:
    tail = ParetoTail(threshold=2.0, rate=1.0, shape=shape, scale=0.5)
    bend = 0.75 * 0.5 / -shape if shape < 0 else 4.0  # where the local scale is a quarter
    scores = 2.0 + np.linspace(0, bend, 7)
    expected = -stats.genpareto.logsf(scores, shape, loc=2.0, scale=0.5) / np.log(10)
    np.testing.assert_allclose(tail.decades(scores), expected, rtol=1e-9, atol=1e-12)
    if shape < 0:  # and beyond it a straight line: ten times rarer every quarter of the scale times ln 10
        beyond = 2.0 + bend + np.array([1.0, 3.0]) * 0.125 * np.log(10)
        np.testing.assert_allclose(tail.decades(beyond), expected[-1] + np.array([1.0, 3.0]), rtol=1e-9)


@settings(max_examples=80)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 600), n_images=st.integers(1, 40))
def test_severity_is_monotone_and_score_at_its_inverse(seed: int, count: int, n_images: int) -> None:
    rng = np.random.default_rng(seed)
    peaks = np.sort(2.0 + stats.genpareto.rvs(0.4, size=count, random_state=rng))
    tail, counted = fit_tail(peaks, 2.0, n_images)
    record = Calibration(
        grow=2.0, n_images=n_images, n_regions=count, megapixels_per_image=1, peaks=counted.tolist(), tail=tail,
        false_alarms=0.1,
    )  # fmt: skip
    scores = np.linspace(2.0, peaks[-1] * 3 + 5, 500)
    severities = record.severity(scores)
    assert np.isfinite(severities).all()
    assert (np.diff(severities) >= -1e-12).all()
    assert record.severity(np.float64(2.0)) == pytest.approx(record.severity_floor)
    for severity in np.linspace(record.severity_floor + 1e-6, severities[-1], 30):
        score = record.score_at(float(severity))
        assert score >= 2.0
        # Where counting ends and the tail begins the rate falls by one region at one score.
        reached = float(record.severity(np.float64(score)))
        assert -1e-6 <= reached - severity <= np.log10(1 + 1 / (tail.rate * n_images)) + 1e-6
        assert score == record.tail.threshold or reached == pytest.approx(severity, abs=1e-6)
    assert record.score_at(record.severity_floor - 5) == 2.0


@settings(max_examples=80)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 300), n_images=st.integers(1, 40), shape=st.floats(-0.3, 0.6))
def test_beyond_the_highest_peak_severity_leaps_and_rises(seed: int, count: int, n_images: int, shape: float) -> None:
    rng = np.random.default_rng(seed)
    peaks = np.sort(2.0 + stats.genpareto.rvs(shape, size=count, random_state=rng)).astype(np.float32)
    tail, counted = fit_tail(peaks.astype(np.float64), 2.0, n_images)
    highest = float(peaks[-1])
    record = Calibration(
        grow=2.0, n_images=n_images, n_regions=count, megapixels_per_image=1, peaks=counted.tolist(), tail=tail,
        false_alarms=0.1, image_peaks=[2.0, highest],
    )  # fmt: skip
    by_tail = record.model_copy(update={"image_peaks": []})
    scores = np.sort(np.append(np.linspace(2.0, highest * 2 + 5, 500), highest))
    severities = record.severity(scores)
    assert (np.diff(severities) >= -1e-12).all()
    seen = scores <= highest
    np.testing.assert_array_equal(severities[seen], by_tail.severity(scores[seen]))  # what was seen is as it was
    half_excess = tail.scale / (1 - min(tail.shape, 0.5)) / 2
    rarer = stats.expon.logsf(scores[~seen], loc=highest, scale=half_excess) - np.log(n_images + 1)
    expected = np.maximum(by_tail.severity(scores[~seen]), -rarer / np.log(10))
    np.testing.assert_allclose(severities[~seen], expected, rtol=1e-9, atol=1e-9)
    for severity in np.linspace(record.severity_floor + 1e-6, min(float(severities[-1]), 12.0), 30):
        score = np.float32(record.score_at(float(severity)))  # as a heatmap holds it
        assert record.severity(np.nextafter(score, np.float32(np.inf))) >= severity - 1e-6
        lower = np.nextafter(score, np.float32(-np.inf))
        assert lower < record.tail.threshold or record.severity(lower) <= severity + 1e-6
        assert record.score_at(float(severity)) <= by_tail.score_at(float(severity))


def test_two_images_do_not_put_ng_beyond_every_defect() -> None:
    """Peaks of two good boards: a tail of twenty, six of them far up, promised a tenth a board at 3.1."""
    rng = np.random.default_rng(0)
    peaks = np.sort(np.concatenate([rng.uniform(0.7, 1.1, 24), [1.44, 1.50, 1.52, 1.64, 1.71, 1.81]]))
    tail, counted = fit_tail(peaks, 0.68, 2)
    record = Calibration(
        grow=0.68, n_images=2, n_regions=30, megapixels_per_image=26.2, peaks=counted.tolist(), tail=tail,
        false_alarms=0.1, image_peaks=[1.64, 1.81],
    )  # fmt: skip
    thresholds = Thresholds.of(record, 0.1)
    assert tail.score_at(1 + np.log10(tail.rate)) > 2.3
    assert 1.9 < thresholds.ng < 2.1
    assert thresholds.verdict(1.81) == "OK" and thresholds.verdict(1.95) == "REVIEW"
    none_seen = Thresholds.of(record, 1 / 3)  # what one image more than two may show: whatever neither of them did
    assert none_seen.ng == np.nextafter(np.float32(1.81), np.float32(2)) and none_seen.verdict(1.81) != "NG"


@given(n_images=st.integers(1, 400), rate=st.floats(0.01, 10))
def test_how_far_a_rate_may_be_off_is_the_poisson_interval(n_images: int, rate: float) -> None:
    record = calibration().model_copy(update={"n_images": n_images})
    note, count = record.few_images_note(rate), n_images * rate
    low, high = stats.chi2.ppf(0.025, 2 * count) / 2, stats.chi2.ppf(0.975, 2 * count + 2) / 2
    if not note:
        assert count / low < 2 and high / count < 2
    elif "up to" in note:
        said = float(note.partition("up to ")[2].partition(" ")[0])
        assert said == pytest.approx(high / count, rel=0.03)
    else:
        assert count < 1


def test_few_images_say_so() -> None:
    record = Calibration(
        grow=1, n_images=4, n_regions=9, megapixels_per_image=1, peaks=[],
        tail=ParetoTail(threshold=1, rate=2.25, shape=0.1, scale=1), false_alarms=0.1,
    )  # fmt: skip
    note = record.few_images_note(0.1)
    assert "calibrated on 4 good images: a rate of 0.1 false regions an image is extrapolated" in note
    assert "120 good images would measure it within a factor of 2" in note
    assert "is extrapolated" in record.few_images_note(0.24)
    counted = record.few_images_note(0.25)
    assert "a rate of 0.25 false regions an image was counted on few and may be up to 5.6 times as much" in counted
    assert record.few_images_note(3.0) == ""
    assert "1 good image:" in record.model_copy(update={"n_images": 1}).few_images_note(0.1)
