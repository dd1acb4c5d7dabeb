"""One verdict and one severity a part, against chance itself and against a small table worked out by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.inspect.recipe.parts import PartResult, Parts
from flawmap.inspect.run.records import ImageRecord, ModelInfo, RecipeInfo, SourceFile, Verdict
from flawmap.inspect.thresholds import REVIEW_BAND

ALLOWED = {"top": 0.05, "side*": 0.02}
SEVERITY_NG = {camera: -math.log10(allowed) for camera, allowed in ALLOWED.items()}


def recipe(*expected: str) -> RecipeInfo:
    models = [
        ModelInfo(
            camera=camera, bundle="b", bundle_sha256="0", product="p", device="cpu", false_alarms=allowed,
            thresholds={"severity_ng": SEVERITY_NG[camera], "severity_review": SEVERITY_NG[camera] - REVIEW_BAND},
        )
        for camera, allowed in ALLOWED.items()
    ]  # fmt: skip
    return RecipeInfo(models=models, expected=list(expected), ignored=0, parts={})


def record(camera: str, severity: float = -1.0, verdict: Verdict | None = None, part: str = "A") -> ImageRecord:
    """An image of part A, judged by its severity unless told otherwise."""
    model = 0 if camera == "top" else 1
    ng = list(SEVERITY_NG.values())[model]
    judged: Verdict = "NG" if severity >= ng else "REVIEW" if severity >= ng - REVIEW_BAND else "OK"
    return ImageRecord(
        image=f"{part}_{camera}.png", verdict=verdict or judged, severity=severity, width=1, height=1, milliseconds={},
        source=SourceFile(size_bytes=0, modified_ns=0), regions=[], part=part, camera=camera, model=model,
    )  # fmt: skip


def result(records: list[ImageRecord], *expected: str, unfinished: tuple[str, ...] = ()) -> PartResult:
    parts = Parts(recipe(*expected))
    for one in records:
        parts.add(one)
    (found,) = parts.results(unfinished)
    return found


@pytest.mark.parametrize("cameras", [("top",), ("side1", "side2"), ("top", "side1", "side2", "side3")])
def test_severities_of_good_parts_mean_what_those_of_good_images_do(cameras: tuple[str, ...]) -> None:
    """False regions strike like a Poisson process, so 10^-severity of a good image's worst is exponential with mean 1.

    Drawn for every image of many good parts; then 10^-severity of the parts must be exponential with mean 1 again, and
    a share of 1 - exp(-sum of what is allowed) is NG.
    """
    rng = np.random.default_rng(len(cameras))
    found = [
        result([record(camera, -math.log10(rng.exponential())) for camera in cameras], *cameras) for _ in range(2000)
    ]
    rates = np.sort([10**-part.severity for part in found])
    steps = np.arange(len(rates) + 1) / len(rates)
    expected = 1 - np.exp(-rates)
    distance = max(np.abs(expected - steps[1:]).max(), np.abs(expected - steps[:-1]).max())
    assert distance < 1.95 / math.sqrt(len(rates))  # Kolmogorov-Smirnov, exceeded by chance once in a thousand times
    allowed = sum(ALLOWED["top" if camera == "top" else "side*"] for camera in cameras)
    share = np.mean([part.verdict == "NG" for part in found])
    assert abs(share - (1 - math.exp(-allowed))) < 4 * math.sqrt(allowed / len(found))


severities = st.floats(-3, 6)


@given(
    st.lists(st.tuples(st.sampled_from(["top", "side1", "side2"]), severities), min_size=1, unique_by=lambda t: t[0])
)
def test_verdict_and_severity_agree(images: list[tuple[str, float]]) -> None:
    part = result([record(*image) for image in images])
    if abs(part.severity - part.severity_ng) > 1e-9 and abs(part.severity - part.severity_review) > 1e-9:
        by_severity = "NG" if part.severity >= part.severity_ng else "REVIEW"
        assert part.verdict == (by_severity if part.severity >= part.severity_review else "OK")
    ranks = ["OK", "REVIEW", "NG"]
    assert part.verdict == max((record(*image).verdict for image in images), key=ranks.index)


def test_one_image_is_its_part() -> None:
    part = result([record("top", 1.1)])
    assert (part.severity, part.severity_ng) == (pytest.approx(1.1), pytest.approx(SEVERITY_NG["top"]))


def test_a_part_of_equal_images_has_the_worst_less_log10_of_their_number() -> None:
    part = result([record("side1", 1.9), record("side2", -0.5), record("side3", 0.3)])
    assert part.severity == pytest.approx(1.9 - math.log10(3))
    assert part.severity_ng == pytest.approx(-math.log10(3 * 0.02))
    assert (part.verdict, part.worst_image, part.n_images) == ("NG", "A_side1.png", 3)


def test_the_worst_image_is_the_one_farthest_beyond_its_own_line() -> None:
    part = result([record("top", 1.5), record("side1", 1.6)])  # lines at 1.30 and 1.70
    assert (part.verdict, part.worst_image) == ("NG", "A_top.png")


@pytest.mark.parametrize(
    ("images", "expected", "verdict", "missing"),
    [
        ([record("top")], ("top",), "OK", []),
        ([record("top")], ("top", "side1", "side2"), "ERROR", ["side1", "side2"]),
        ([record("top"), record("side9")], ("top",), "OK", []),  # more than expected
        ([record("top", 1.1)], ("top", "side1"), "ERROR", ["side1"]),  # REVIEW, and nobody has seen the side
        ([record("top", 2.0)], ("top", "side1"), "NG", ["side1"]),  # no side makes it good again
        ([record("top", verdict="ERROR"), record("side1")], ("top", "side1"), "ERROR", []),
        ([record("top", verdict="ERROR"), record("side1", 2.0)], (), "NG", []),
        ([record("top", verdict="ERROR"), record("side1", 1.6)], (), "ERROR", []),
        ([record("top"), record("side1", 1.6)], (), "REVIEW", []),
    ],
)
def test_verdicts(images: list[ImageRecord], expected: tuple[str, ...], verdict: str, missing: list[str]) -> None:
    part = result(images, *expected)
    assert (part.verdict, part.missing_cameras) == (verdict, missing)


def test_what_is_expected_counts_whether_or_not_it_came() -> None:
    whole = result([record("top", 2.0), record("side1"), record("side2")], "top", "side1", "side2")
    lacking = result([record("top", 2.0)], "top", "side1", "side2")
    assert lacking.severity == pytest.approx(whole.severity)


def test_a_part_that_is_not_finished_is_not_ok() -> None:
    assert result([record("top")], "top", "side1", unfinished=("A",)).verdict == "ERROR"
    assert result([record("top")], "top", "side1", unfinished=("A",)).missing_cameras == []  # it may be there
    assert result([record("top", 2.0)], "top", "side1", unfinished=("A",)).verdict == "NG"


def test_counts() -> None:
    parts = Parts(recipe())
    for one in (record("top"), record("side1"), record("top", 2.0, part="B"), record("top", verdict="ERROR", part="")):
        parts.add(one)
    counts = parts.counts(parts.results(()))
    assert counts == {"parts": 2, "OK": 1, "REVIEW": 0, "NG": 1, "ERROR": 0, "images_without_part": 1}
