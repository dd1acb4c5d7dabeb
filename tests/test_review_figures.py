"""What follows from marks: figures and thresholds, by second formulas and by a plain count."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flawmap.inspect.intervals import rate, share
from flawmap.inspect.review.figures import figures, is_found, models_of, severity_of
from flawmap.inspect.review.mark_record import Box, LookEntry, Mark, MarkEntry, Source
from flawmap.inspect.review.proposal import propose
from flawmap.inspect.review.reviewed_run import (
    NO_IMAGE,
    NO_REGION,
    NOT_INSPECTED,
    REPLACED,
    ReviewedRun,
    boxes_near,
    reviewed_run,
)
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.inspect.run.records import CandidateRecord, ImageRecord, ModelInfo, RecipeInfo, RegionRecord
from tests.written_runs import image_record, region, run_info

SAME = Source(1, 1)
NG_SEVERITY = 1.0  # of `run_info`


def mark(image: str, box: Box, says: Mark | None, *, drawn: bool = False, source: Source = SAME) -> MarkEntry:
    return MarkEntry("run", image, box, drawn, says, "Ann", "", source, 1, 1.0, "NG", "ab")


def look(image: str, source: Source = SAME) -> LookEntry:
    return LookEntry("run", image, True, "Ann", source)


def run_of(records: list[ImageRecord], marks: list[MarkEntry], looks: list[LookEntry]) -> ReviewedRun:
    images = [RecordedImage(record.image, record) for record in records]
    return reviewed_run(RecordedRun(Path(), run_info(), images), marks, {one.image: one for one in looks})


def spot(number: int, severity: float, **changes: Any) -> RegionRecord:
    """Regions far from each other, by number; NG from `NG_SEVERITY` up."""
    verdict = "NG" if severity >= NG_SEVERITY else "REVIEW"
    y = 20 * number
    return region((y, 10, y + 5, 15), number, **({"severity": severity, "verdict": verdict} | changes))


def hint(number: int, severity: float, **changes: Any) -> CandidateRecord:
    y = 20 * number
    return CandidateRecord(x_min=10, y_min=y, x_max=15, y_max=y + 5, score_max=5.0, severity=severity, **changes)


def place(number: int) -> Box:
    return 20 * number, 10, 20 * number + 5, 15


# Intervals


@given(st.integers(0, 400), st.integers(1, 400))
def test_shares_are_wilsons(count: int, of: int) -> None:
    count = min(count, of)
    found, expected = share(count, of), stats.binomtest(count, of).proportion_ci(method="wilson")
    assert found is not None and found.value == count / of and found.low <= found.value <= found.high
    np.testing.assert_allclose((found.low, found.high), (expected.low, expected.high), atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 400), st.integers(1, 1000))
def test_rates_are_garwoods(count: int, images: int) -> None:
    found = rate(count, images)
    low = stats.chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = stats.chi2.ppf(0.975, 2 * count + 2) / 2
    assert found is not None and found.low <= found.value <= found.high
    np.testing.assert_allclose((found.low, found.high), (low / images, high / images), rtol=1e-9)


def test_nothing_counted_is_no_figure() -> None:
    assert share(0, 0) is None and rate(0, 0) is None


# How marks stand


@given(*[st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))] * 2)
def test_boxes_are_near_as_their_pixels_are(one: Box, other: Box) -> None:
    a, b = ((y, x, y + h, x + w) for y, x, h, w in (one, other))
    gaps = [
        max(abs(y - v), abs(x - u))
        for y in range(a[0], a[2]) for x in range(a[1], a[3])
        for v in range(b[0], b[2]) for u in range(b[1], b[3])
    ]  # fmt: skip
    assert boxes_near(a, b) == (min(gaps) <= 3)


def test_what_is_stale_is_said_and_counts_for_nothing() -> None:
    records = [
        image_record("same", verdict="NG", regions=[spot(1, 2.0), spot(3, 2.0)]),
        image_record("replaced", verdict="NG", regions=[spot(1, 2.0)]),
        image_record("torn", verdict="ERROR", error="torn"),
    ]
    marks = [
        mark("same", place(1), "defect"),
        mark("same", place(2), "false_alarm"),
        mark("same", place(5), "defect", drawn=True),
        mark("replaced", place(1), "defect", source=Source(1, 2)),
        mark("torn", place(1), "defect"),
        mark("gone", place(1), "defect"),
    ]
    run = run_of(records, marks, [look("replaced", Source(2, 1))])
    assert [(one.entry.image, one.stale) for one in run.stale] == [
        ("gone", NO_IMAGE), ("same", NO_REGION), ("replaced", REPLACED), ("torn", NOT_INSPECTED),
    ]  # fmt: skip
    assert run.images[0].defects == [place(1), place(5)] and run.images[1].defects == []
    assert run.images[1].look is None  # another picture was looked at
    counts = figures(run).counts
    assert (counts.defects, counts.drawn, counts.stale, counts.images) == (2, 1, 4, 2)
    assert "4 marks are stale" in figures(run).notes


def test_a_defect_outlives_its_region_until_what_lies_there_is_marked() -> None:
    """Another bundle: the region at the same place has another box."""
    moved = region((21, 9, 27, 15), severity=2.0)
    record = image_record("a", verdict="NG", regions=[moved])
    before = [mark("a", place(1), "defect"), mark("a", place(7), "false_alarm")]
    run = run_of([record], before, [])
    assert run.images[0].defects == [place(1)] and run.images[0].unmarked == [moved]
    assert is_found(run.images[0], place(1))
    for says, defects in (("defect", [(21, 9, 27, 15)]), ("false_alarm", [])):
        again = run_of([record], [*before, mark("a", (21, 9, 27, 15), says)], [])
        assert again.images[0].defects == defects


def test_an_image_is_complete_when_nothing_in_it_is_open() -> None:
    dropped = spot(4, 0.2, verdict="OK", rule="specks")
    record = image_record("a", verdict="NG", regions=[spot(1, 2.0), spot(2, 2.0), dropped])
    one, two = mark("a", place(1), "false_alarm"), mark("a", place(2), "false_alarm")
    cases = [([one, two], True), ([one], False), ([one, mark("a", place(2), "unsure")], False)]
    for marks, complete in cases:
        image = run_of([record], marks, [look("a")]).images[0]
        assert (image.complete, image.is_good) == (complete, complete)
    assert not run_of([record], [one, two], []).images[0].complete
    assert not run_of([record], [one, mark("a", place(2), "defect")], [look("a")]).images[0].is_good


# Figures


def test_the_two_recalls_and_the_rate() -> None:
    records = [
        image_record("missed", regions=[], candidates=[hint(1, 0.1)]),
        image_record("half", verdict="NG", regions=[spot(1, 2.0), spot(2, 0.8)]),
        image_record("alarm", verdict="NG", regions=[spot(1, 1.2), spot(2, 0.9)]),
        image_record("calm"),
        image_record("unseen"),
        image_record("not as a whole", verdict="NG", regions=[spot(1, 3.0)]),
    ]
    marks = [
        mark("missed", place(1), "defect", drawn=True),
        mark("half", place(1), "defect"), mark("half", place(2), "defect"),
        mark("alarm", place(1), "false_alarm"), mark("alarm", place(2), "false_alarm"),
        mark("not as a whole", place(1), "defect"),
    ]  # fmt: skip
    run = run_of(records, marks, [look(name) for name in ("missed", "half", "alarm", "calm")])
    found = figures(run)
    assert found.recall == share(1, 3)  # of the complete images: not of that which nobody looked at as a whole
    assert found.recall_of_recorded == share(2, 3)  # of what was recorded: without the missed one
    assert found.false_alarms == rate(1, 2)  # alarm and calm are good; REVIEW is no alarm
    assert found.false_alarms_if_rest_is_good is None  # a region is on an image that is not complete
    assert found.false_alarms_allowed == 0.1
    assert (found.counts.complete, found.counts.good, found.counts.defects) == (4, 2, 4)
    assert "1 of 3 images without a region were not looked at as a whole" in " ".join(found.notes)
    whole = figures(run_of(records, marks, [look(record.image) for record in records if record.image != "unseen"]))
    assert whole.false_alarms_if_rest_is_good == rate(1, 3)


def test_marks_on_regions_alone_give_no_real_recall() -> None:
    records = [image_record("a", verdict="NG", regions=[spot(1, 2.0)]), image_record("b")]
    found = figures(run_of(records, [mark("a", place(1), "defect")], []))
    assert (found.recall, found.false_alarms) == (None, None)
    assert found.recall_of_recorded == share(1, 1)
    assert "marks on recorded regions alone cannot say what was missed" in " ".join(found.notes)


def test_rules_decide_whatever_the_threshold() -> None:
    record = image_record(
        "a", verdict="NG",
        regions=[spot(1, 0.5, verdict="NG", rule="crack"), spot(2, 3.0, verdict="OK", rule="speck"), spot(3, 1.5)],
        candidates=[hint(4, 0.3, rule="crack", rule_verdict="NG"), hint(5, 0.3, rule="speck", rule_verdict="OK")],
    )  # fmt: skip
    image = run_of([record], [], []).images[0]
    expected = [math.inf, -math.inf, 1.5, 0.3, -math.inf, -math.inf]
    assert [severity_of(image, place(number)) for number in range(1, 7)] == expected


def test_cameras_of_a_recipe_are_counted_apart() -> None:
    model = {
        "bundle": "b", "bundle_sha256": "ab", "product": "p", "device": "cpu", "thresholds": run_info().thresholds
    }  # fmt: skip
    models = [ModelInfo(camera=camera, false_alarms=rate, **model) for camera, rate in (("top", 0.1), ("side", 0.02))]
    info = run_info(recipe=RecipeInfo(models=models, expected=["top", "side"], ignored=0, parts={}))
    records = [
        image_record("a", model=0, verdict="NG", regions=[spot(1, 2.0)]),
        image_record("b", model=1, verdict="NG", regions=[spot(1, 2.0)]),
    ]
    images = [RecordedImage(record.image, record) for record in records]
    marks = [mark("a", place(1), "defect"), mark("b", place(1), "false_alarm")]
    looks = {name: look(name) for name in ("a", "b")}
    run = reviewed_run(RecordedRun(Path(), info, images), marks, looks)
    top, side = (figures(run, model) for model in models_of(run))
    assert (top.camera, top.false_alarms_allowed, side.camera, side.false_alarms_allowed) == ("top", 0.1, "side", 0.02)
    assert (top.recall, top.false_alarms) == (share(1, 1), None)
    assert (side.recall, side.false_alarms) == (None, rate(1, 1))


# Proposals

# Every false-alarm rate of three digits from 1e-6 to 10, and where NG begins with it.
LINES = [float(f"{number}e{power}") for power in range(-8, -1) for number in range(100, 1000)] + [10.0]
NG_LINES = np.array([-math.log10(line) for line in LINES])
severities = st.lists(st.floats(-1, 5).map(lambda s: round(s, 3)), max_size=12)


@settings(max_examples=150, deadline=None)
@given(severities, severities, st.integers(1, 5), st.floats(0.05, 1), st.floats(0.01, 3))
def test_proposals_keep_what_was_wished(
    defects: list[float], false: list[float], n_good: int, recall: float, allowed: float
) -> None:
    """Against a scan of every false-alarm rate that can be written with three digits."""
    bad = [image_record(f"bad{i}", candidates=[hint(1, s)]) for i, s in enumerate(defects)]
    good = [image_record(f"good{i}") for i in range(n_good)]
    for i, severity in enumerate(false):
        record = good[i % n_good]
        record.candidates.append(hint(len(record.candidates) + 1, severity))
    marks = [mark(record.image, place(1), "defect", drawn=True) for record in bad]
    by_recall, by_rate = propose(run_of([*bad, *good], marks, [look(r.image) for r in good]), None, recall, allowed)
    kept = (np.array(defects)[:, None] >= NG_LINES).sum(axis=0)
    raised = (np.array(false)[:, None] >= NG_LINES).sum(axis=0)
    if not defects:
        assert by_recall.false_alarms is None and by_recall.note == "no defect is marked"
    else:
        first = int(np.flatnonzero(kept >= recall * len(defects) - 1e-9)[0])
        assert by_recall.false_alarms == LINES[first]
        assert by_recall.recall == share(int(kept[first]), len(defects))
    last = int(np.flatnonzero((raised <= allowed * n_good + 1e-9) & (NG_LINES > -1))[-1])
    assert by_rate.false_alarms == LINES[last]
    assert by_rate.rate == rate(int(raised[last]), n_good)


def test_a_wish_that_no_threshold_grants_says_why() -> None:
    records = [
        image_record("silent"),
        image_record("crack", verdict="NG", regions=[spot(1, 0.5, verdict="NG", rule="crack")]),
    ]
    marks = [mark("silent", place(1), "defect", drawn=True), mark("crack", place(1), "false_alarm")]
    by_recall, by_rate = propose(run_of(records, marks, [look("crack")]), None, 1.0, 0.1)
    assert by_recall.note.startswith("1 of 1 marked defects left no region and no candidate")
    assert by_rate.note == "rules make more than that NG at any threshold"
    assert by_recall.false_alarms is by_rate.false_alarms is None
    _, nobody_looked = propose(run_of(records, [], []), None, 1.0, 0.1)
    assert nobody_looked.note == "no image was looked at as a whole and found good"
