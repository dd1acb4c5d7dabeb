"""Whether calibration kept its word: counts by a plain loop, intervals and chances by scipy, tables as they read."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks import promise as benchmark
from flawmap.inspect.evaluation.promise import FACTOR, RATES, measured, promises, raised, short
from flawmap.inspect.run.records import CandidateRecord, ImageRecord
from tests.written_runs import image_record, region, run_info, write_run

WITH_CANDIDATES = {"grow": 4.0, "candidate": 5.0, "review": 6.0, "ng": 9.0, "severity_review": 0.7, "severity_ng": 1.0}
rates = st.floats(0.01, 20).map(lambda rate: float(f"{rate:.3g}"))


def candidate(severity: float, **changes: object) -> CandidateRecord:
    box = {"x_min": 9, "y_min": 9, "x_max": 12, "y_max": 12}
    return CandidateRecord.model_validate({**box, "score_max": 5.5, "severity": severity, **changes})


@given(st.lists(st.floats(-1, 5).map(lambda s: round(s, 3)), max_size=60), st.integers(1, 200), rates)
def test_a_count_its_interval_and_its_word(severities: list[float], n_good: int, allowed: float) -> None:
    found = measured(severities, n_good, allowed)
    count = sum(10**-severity <= allowed * 1.0001 for severity in severities)
    low = stats.chi2.ppf(0.025, 2 * count) / 2 / n_good if count else 0.0
    high = stats.chi2.ppf(0.975, 2 * count + 2) / 2 / n_good
    assert (found["false_regions"], found["good_images"], found["allowed"]) == (count, n_good, allowed)
    assert found["false_regions_per_good_image"] == count / n_good
    np.testing.assert_allclose(found["interval_95"], [low, high], rtol=1e-9)
    times = count / n_good / allowed
    if low > FACTOR * allowed or high < allowed / FACTOR:
        assert found["word"] == "broken"
    else:
        assert found["word"] == ("kept" if 1 / FACTOR <= times <= FACTOR else "too few images to say")


@pytest.mark.parametrize("times", [1 / FACTOR, 1.0, FACTOR])
@pytest.mark.parametrize(("n_good", "allowed"), [(6, 0.1), (24, 0.5), (143, 0.1)])
def test_a_word_that_was_kept_is_hardly_ever_called_broken(n_good: int, allowed: float, times: float) -> None:
    """Images whose true rate lies within the factor of what was allowed: at most 5 in 100 such sets."""
    broken = [k for k in range(70) if measured([9.0] * k, n_good, allowed)["word"] == "broken"]
    missing = stats.poisson.sf(69, n_good * allowed * times)
    assert stats.poisson.pmf(broken, n_good * allowed * times).sum() + missing <= 0.05


def test_what_is_on_the_line_counts() -> None:
    """Thresholds are scores rounded to float32, so that the severity there may fall short of the line by a trifle."""
    assert measured([1 - 1e-6], 10, 0.1)["false_regions"] == 1
    assert measured([1 - 1e-3], 10, 0.1)["false_regions"] == 0


def test_it_is_counted_before_the_rules() -> None:
    record = image_record(
        "good/a.png",
        regions=[
            region((0, 0, 2, 2), severity=1.5),
            region((9, 9, 11, 11), 2, severity=2.0, verdict="OK", rule="dust"),
            region((20, 20, 22, 22), 3, severity=0.8, verdict="NG", rule="cracks"),
        ],
        candidates=[candidate(0.2), candidate(0.1, rule="dust", rule_verdict="OK")],
    )
    run = run_info(thresholds=WITH_CANDIDATES)
    found = promises([raised(record), []], run)
    assert [(p["allowed"], p["false_regions"], p["good_images"]) for p in found] == [
        (0.1, 2, 2),
        (1.0, 5, 2),
        (0.5, 3, 2),
    ]


@pytest.mark.parametrize("own", [0.02, 0.1, 0.5, 3.0])
def test_the_runs_own_rate_comes_first_and_once(own: float) -> None:
    run = run_info(thresholds=WITH_CANDIDATES, settings={"false_alarms": own})
    found = [p["allowed"] for p in promises([[]], run)]
    assert found[0] == own and sorted(found[1:]) == sorted(set(RATES) - {own})
    assert promises([], run) == []


def test_rates_below_what_was_recorded_are_left_out() -> None:
    """Runs made before candidates were recorded end at REVIEW, here 0.2 false regions an image."""
    run = run_info(settings={"false_alarms": 0.05})
    assert "candidate" not in run.thresholds and run.thresholds["severity_review"] == 0.7
    assert [p["allowed"] for p in promises([[1.5]], run)] == [0.05, 0.1]
    del run.thresholds["severity_review"]
    assert [p["allowed"] for p in promises([[1.5]], run)] == [0.05]


def test_zones_with_a_rate_of_their_own_add_theirs() -> None:
    """NG begins at the same severity in all of them: 0.1 outside and 0.4 in the zone are 0.5."""
    run = run_info(thresholds=WITH_CANDIDATES, zone_false_alarms={"face": 0.4})
    (found,) = promises([[1.2], [0.8, 1.0]], run)
    assert (found["allowed"], found["false_regions"], found["word"]) == (0.5, 2, "kept")


@given(st.floats(0, 1e5))
def test_short_numbers(rate: float) -> None:
    text = short(rate)
    assert "e+" not in text and float(text) == pytest.approx(rate, rel=0.051, abs=1e-12)


def test_the_benchmark_reads_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def write(name: str, records: list[ImageRecord]) -> str:
        write_run(tmp_path / name, records, run_info(thresholds=WITH_CANDIDATES))
        return str(tmp_path / name)

    loud = [region((9 * k, 9, 9 * k + 2, 11), k + 1, severity=1.5) for k in range(20)]
    torn = image_record("good/torn.png", verdict="ERROR", error="torn", regions=loud)
    defective = image_record("dot/a.png", verdict="NG", regions=loud)
    calm = [image_record(f"good/{k}.png", candidates=[candidate(0.1)]) for k in range(20)]
    good = image_record("good/loud.png", verdict="NG", regions=loud)
    monkeypatch.setattr(sys, "argv", ["promise", write("calm", [*calm, torn, defective]), write("loud", [*calm, good])])
    benchmark.main()
    assert capsys.readouterr().out.splitlines() == [
        "| run | good images | at 1 | at 0.5 | at 0.1 |",
        "|---|---|---|---|---|",
        "| calm | 20 | 1 (0.61 to 1.5) kept | 0 (0 to 0.18) broken | 0 (0 to 0.18) too few images to say |",
        "| loud | 21 | 1.9 (1.4 to 2.6) kept | 0.952 (0.58 to 1.5) kept | 0.952 (0.58 to 1.5) broken |",
    ]
