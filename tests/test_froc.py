"""The FROC and the bootstrap, each against a slow second formula."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.inspect.evaluation.bootstrap import RESAMPLES, Statistic, estimates, intervals
from flawmap.inspect.evaluation.froc import CURVE_POINTS_MAX, as_json, froc, operating_points
from flawmap.inspect.evaluation.image_figures import (
    auroc_statistic,
    false_regions_statistic,
    image_statistics,
    recall_statistic,
    size_name,
)
from flawmap.inspect.evaluation.matching import DefectOutcome, FalseRegion, ImageOutcome
from flawmap.inspect.evaluation.truth import TrueImage

END = 2.0
scores = st.floats(END, 12.0, width=32).map(lambda x: round(x * 2) / 2)  # many ties


def outcome(kind: str, defects: list[tuple[float, int]], false: list[float], end: float = END) -> ImageOutcome:
    """`defects` as (score, size)."""
    severity = max([s for s, _ in defects] + false + [0.0])
    return ImageOutcome(
        image="i.png", name="i.png", truth=TrueImage(Path("i.png"), kind, None), shape=(9, 9),
        verdict="NG" if severity >= 8 else "OK", severity=severity,
        defects=[DefectOutcome((0, 0, size, 1), size, size, score, None) for score, size in defects],
        false_regions=[FalseRegion((0, 0, 1, 1), score, score) for score in false],
        raised=[], complete_from=end,
    )  # fmt: skip


missing = st.just(-math.inf)
good_images = st.lists(scores, max_size=6).map(lambda false: outcome("good", [], false))
defective_images = st.tuples(
    st.lists(st.tuples(scores | missing, st.integers(1, 200)), min_size=1, max_size=5), st.lists(scores, max_size=4)
).map(lambda pair: outcome("dot", *pair))
runs = st.tuples(
    st.lists(good_images, min_size=1, max_size=12), st.lists(defective_images, min_size=1, max_size=8)
).map(lambda pair: pair[0] + pair[1])


@settings(max_examples=60, deadline=None)
@given(run=runs, rate=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 3.0]))
def test_an_operating_point_is_the_lowest_threshold_that_keeps_to_its_rate(
    run: list[ImageOutcome], rate: float
) -> None:
    """Second formula: try every score there is, and the gaps between them."""
    good = [o for o in run if o.is_good]
    false = [r.score for o in good for r in o.false_regions]
    asked = {
        END,
        *(x + step for x in [s.score for o in run for s in [*o.defects, *o.false_regions]] for step in (0, 0.1)),
    }
    allowed = [t for t in asked if t >= END and sum(s >= t for s in false) / len(good) <= rate + 1e-12]
    (point,) = operating_points(run, [rate])
    assert point.false_regions == sum(s >= point.score for s in false) <= rate * len(good) + 1e-9
    scored = [d.score for o in run for d in o.defects]
    assert sum(s >= point.score for s in scored) == sum(s >= min(allowed) for s in scored)
    assert point.from_candidates_end == (point.score == END)


@settings(max_examples=60, deadline=None)
@given(run=runs, size=st.sampled_from([None, "<=8", ">100"]))
def test_the_curve_counts_at_every_threshold(run: list[ImageOutcome], size: str | None) -> None:
    curve = froc(run, size)
    defects = [d for o in run for d in o.defects if size is None or size_name(d.size_px) == size]
    assert curve.n_defects == len(defects)
    assert curve.scores.tolist() == sorted({END, *(d.score for d in defects if d.score >= END)}, reverse=True)
    for score, false, found in zip(curve.scores, curve.false_regions, curve.found, strict=True):
        assert found == sum(d.score >= score for d in defects)
        assert false == sum(o.n_false(score) for o in run if o.is_good)
        if size is None:
            assert estimates(1, 1, {"x": lambda g, w: g[:, 0]}) == {"x": 1.0}
            n_good = curve.n_good
            got = estimates(
                n_good, len(run) - n_good,
                {"recall": recall_statistic(run, score), "false": false_regions_statistic(run, score)},
            )  # fmt: skip
            assert got == {"recall": pytest.approx(found / len(defects)), "false": pytest.approx(false / n_good)}


def test_a_good_image_with_more_candidates_than_are_kept_ends_the_curve_earlier() -> None:
    run = [
        outcome("good", [], [5.0, 4.0], end=4.0),
        outcome("good", [], [3.0]),
        outcome("dot", [(3.5, 5), (6.0, 5)], []),
    ]
    assert froc(run).complete_from == 4.0
    (point,) = operating_points(run, [2.0])
    assert (point.score, point.false_regions, point.from_candidates_end) == (4.0, 2, True)
    defective = [outcome("good", [], [3.0]), outcome("dot", [(3.5, 5)], [], end=7.0)]
    assert froc(defective).complete_from == END


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    defects = [(float(np.float32(s)), 3) for s in np.linspace(3, 9, 3 * CURVE_POINTS_MAX)]
    curve = as_json(froc([outcome("good", [], [5.0]), outcome("dot", defects, [])]))
    assert len(curve["score"]) == CURVE_POINTS_MAX
    assert (curve["score"][0], curve["score"][-1], curve["region_recall"][-1]) == (9.0, END, 1.0)
    assert np.all(np.diff(curve["region_recall"]) >= 0)


def test_nothing_to_draw() -> None:
    assert operating_points([outcome("dot", [(3.0, 5)], [])]) == []
    assert as_json(froc([]))["score"] == as_json(froc([outcome("good", [], [])]))["score"] == []


@settings(max_examples=50, deadline=None)
@given(run=runs, seed=st.integers(0, 1000))
def test_a_statistic_on_weights_is_the_figure_on_repeated_images(run: list[ImageOutcome], seed: int) -> None:
    """Second formula: the images that were drawn, in a list, one as often as it was drawn."""
    good, defective = [o for o in run if o.is_good], [o for o in run if not o.is_good]
    rng = np.random.default_rng(seed)
    drawn_good, drawn = rng.integers(0, len(good), len(good)), rng.integers(0, len(defective), len(defective))
    weights = (
        np.bincount(drawn_good, minlength=len(good))[None].astype(float),
        np.bincount(drawn, minlength=len(defective))[None].astype(float),
    )
    again_good, again = [good[i] for i in drawn_good], [defective[i] for i in drawn]
    found = {name: f(*weights)[0] for name, f in image_statistics(run).items() if name != "image_precision"}
    called, raised = sum(o.verdict == "NG" for o in again), sum(o.verdict == "NG" for o in again_good)
    pairs = [(d.severity > g.severity) + 0.5 * (d.severity == g.severity) for d in again for g in again_good]
    assert found["image_auroc"] == pytest.approx(np.mean(pairs))
    assert found["image_recall"] == pytest.approx(called / len(again))
    precision = called / (called + raised) if called + raised else 0.0
    recall = called / len(again)
    harmonic = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert found["image_f1"] == pytest.approx(harmonic)
    if called + raised:
        assert image_statistics(run)["image_precision"](*weights)[0] == pytest.approx(precision)
    defects = [d for o in again for d in o.defects]
    assert recall_statistic(run, 5.0)(*weights)[0] == pytest.approx(np.mean([d.score >= 5 for d in defects]))
    assert false_regions_statistic(run, 5.0)(*weights)[0] == pytest.approx(
        np.mean([o.n_false(5.0) for o in again_good])
    )


def test_an_interval_of_a_share_is_the_binomials() -> None:
    """60 of 100 images: the bootstrap of a share is a binomial distribution."""
    called = np.arange(100) < 60
    (low, high) = intervals(0, 100, {"share": lambda _, w: w @ called / w.sum(axis=1)}, resamples=20_000)["share"]
    assert (low, high) == pytest.approx(
        (0.6 - 1.96 * math.sqrt(0.24 / 100), 0.6 + 1.96 * math.sqrt(0.24 / 100)), abs=0.011
    )


def test_intervals_are_the_same_again_and_do_not_depend_on_the_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    statistics: dict[str, Statistic] = {"auroc": auroc_statistic(rng.normal(size=30), rng.normal(1, 1, 20))}
    first = intervals(30, 20, statistics)
    assert intervals(30, 20, statistics) == first
    low, high = first["auroc"] or (1, 0)
    assert 0.5 < low < (estimates(30, 20, statistics)["auroc"] or 0) < high < 1
    monkeypatch.setattr("flawmap.inspect.evaluation.bootstrap.NUMBERS_AT_ONCE", 30 * 100)  # other draws, equally many
    again = intervals(30, 20, statistics)["auroc"]
    assert again == pytest.approx(first["auroc"], abs=0.03)


def test_resamples_that_say_nothing_are_left_out() -> None:
    """Precision where only one of four images was called NG: a third of the resamples do not hold it."""
    seen: list[int] = []

    def sometimes(_: np.ndarray, w: np.ndarray) -> np.ndarray:
        seen.append(len(w))
        return np.asarray(w[:, 0] / w[:, 0])

    found = intervals(0, 4, {"sometimes": sometimes, "never": lambda _, w: w[:, 0] * math.nan})
    assert found == {"sometimes": [1.0, 1.0], "never": None}
    assert sum(seen) == RESAMPLES
    assert estimates(0, 4, {"never": lambda _, w: w[:, 0] * math.nan}) == {"never": None}
