"""Evaluation against figures counted by hand, on runs that are written record by record."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from flawmap.inspect.defects import CANDIDATES_MAX
from flawmap.inspect.evaluation.bootstrap import estimates
from flawmap.inspect.evaluation.evaluate import evaluate
from flawmap.inspect.evaluation.image_figures import auroc_statistic, size_name
from flawmap.inspect.evaluation.matching import box_gaps
from flawmap.inspect.evaluation.summary import summary
from flawmap.inspect.evaluation.truth import defects_of, read_truth
from flawmap.inspect.run.record_files import write_record, write_run_info
from flawmap.inspect.run.records import CandidateRecord, ImageRecord, RegionRecord, RunInfo, SourceFile
from flawmap.inspect.true_defects import NEAR, TrueDefect, is_near
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image

SIDE = 100
THRESHOLDS = {"grow": 1.0, "candidate": 2.0, "review": 6.0, "ng": 8.0, "severity_review": -1.0, "severity_ng": 1.0}


def region(box: tuple[int, int, int, int], verdict: str = "NG", score: float | None = None) -> RegionRecord:
    """`box` is (y0, x0, y1, x1); NG begins at a score of 8, REVIEW at 6."""
    y0, x0, y1, x1 = box
    score = {"NG": 9.0, "REVIEW": 7.0}[verdict] if score is None else score
    return RegionRecord(
        region=1, x_min=x0, y_min=y0, x_max=x1, y_max=y1, centroid_x=x0, centroid_y=y0, area_px=1, score_max=score,
        score_mean=5.0, severity=score - 7, verdict=verdict,
    )  # fmt: skip


def candidate(box: tuple[int, int, int, int], score: float) -> CandidateRecord:
    """Scores from 2 to below 6."""
    y0, x0, y1, x1 = box
    return CandidateRecord(x_min=x0, y_min=y0, x_max=x1, y_max=y1, score_max=score, severity=score - 7)


class Case:
    """A dataset and a run of it, built image by image."""

    def __init__(self, folder: Path) -> None:
        self.dataset, self.run = folder / "data", folder / "run"
        (self.dataset / "test" / "good").mkdir(parents=True)
        (self.run / "regions").mkdir(parents=True)
        self.count = 0
        info = RunInfo(
            state="finished", started="2026-01-01T00:00:00+00:00", versions={}, bundle="b", bundle_sha256="0" * 64,
            product="p", device="cpu", settings={"false_alarms": 0.1}, thresholds=THRESHOLDS, counts={},
            milliseconds_median={},
        )  # fmt: skip
        write_run_info(self.run, info)

    def add(
        self,
        kind: str,
        *,
        defects: Any = (),
        found: Any = (),
        candidates: Any = (),
        severity: float = 0.0,
        verdict: str | None = None,
    ) -> str:
        """One image with true boxes `defects`, regions at the boxes `found` and `candidates`; its name in the run."""
        name = f"{kind}/{self.count:03}.png"
        self.count += 1
        path = self.dataset / "test" / name
        path.parent.mkdir(exist_ok=True)
        write_image(path, np.zeros((SIDE, SIDE), np.uint8))
        if kind != "good":
            mask = np.zeros((SIDE, SIDE), np.uint8)
            for y0, x0, y1, x1 in defects:
                mask[y0:y1, x0:x1] = 255
            folder = self.dataset / "ground_truth" / kind
            folder.mkdir(parents=True, exist_ok=True)
            write_image(folder / f"{path.stem}_mask.png", mask)
        regions = [box if isinstance(box, RegionRecord) else region(box) for box in found]
        ng = any(r.verdict == "NG" for r in regions)
        self.record(name, verdict or ("NG" if ng else "OK"), severity, regions, candidates=candidates)
        return name

    def record(
        self,
        name: str,
        verdict: str,
        severity: float,
        regions: list[RegionRecord],
        side: int = SIDE,
        candidates: Any = (),
    ) -> None:
        error = "broken" if verdict == "ERROR" else ""
        record = ImageRecord(
            image=name, verdict=verdict, severity=severity, width=side, height=side, milliseconds={}, error=error,
            source=SourceFile(size_bytes=1, modified_ns=1), regions=regions, candidates=list(candidates),
        )  # fmt: skip
        write_record(self.run, name.replace("/", "_"), record)

    def metrics(self) -> dict[str, Any]:
        found = evaluate(self.run, self.dataset).metrics
        assert found == json.loads(json.dumps(found, allow_nan=False))
        return found


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


def test_figures_counted_by_hand(case: Case) -> None:
    case.add("good", severity=0.1)
    case.add("good", severity=0.4)
    case.add("good", severity=1.5, found=[(5, 5, 8, 8), (50, 50, 52, 52)])  # false alarms
    case.add("dot", severity=2.0, defects=[(10, 10, 15, 15)], found=[(11, 11, 13, 13)])
    case.add("dot", severity=0.2, defects=[(10, 10, 15, 15)])  # missed
    case.add(
        "stain", severity=1.8, defects=[(40, 40, 70, 44), (5, 80, 8, 84)], found=[(42, 41, 60, 43), (90, 5, 95, 9)]
    )
    metrics = case.metrics()
    assert metrics["images"] == {"good": 3, "defective": 3}
    assert metrics["false_alarms"] == 0.1
    assert metrics["region_recall"] == 2 / 4
    assert metrics["false_regions_per_good_image"] == 2 / 3
    assert metrics["false_regions_on_defective_images"] == 1
    assert metrics["image_recall"] == 2 / 3
    assert metrics["image_precision"] == 2 / 3
    assert metrics["image_f1"] == pytest.approx(2 / 3)
    assert metrics["image_auroc"] == pytest.approx((3 + 1 + 3) / 9)  # 2.0 above 3 good ones, 0.2 above 1, 1.8 above 3
    assert metrics["missed"] == [
        {"image": "dot/004.png", "box": [10, 10, 15, 15], "area_px": 25, "score": None},
        {"image": "stain/005.png", "box": [5, 80, 8, 84], "area_px": 12, "score": None},
    ]
    for row in metrics["region_recall_by_size_px"].values():
        del row["interval_95"]
    by_size = metrics["region_recall_by_size_px"]
    assert by_size["<=8"] == {"defects": 3, "found": 1, "recall": 1 / 3}
    assert by_size["<=25"] == {"defects": 0, "found": 0, "recall": None}
    assert by_size["<=100"] == {"defects": 1, "found": 1, "recall": 1.0}
    text = summary(metrics)
    assert "3 good and 3 defective images, 0.1 false regions allowed" in text
    assert "defects found: 2 of 4 [" in text and "] (<=8 px 1/3, <=100 px 1/1)" in text
    assert (
        "false regions a good image: 0.67 where 0.1 was allowed (95 % interval 0.081 to 2.4): too few images to say"
    ) in text.splitlines()
    assert "image AUROC: 0.778 [" in text
    assert "at 0.1 false regions a good image (0 on 3): 0.00" in text
    assert "at 1 false regions a good image (2 on 3): 0.50, no lower score is on record" in text
    assert "pixel figures: the run was made without heatmaps: `flawmap inspect --heatmaps` writes what they" in text


@pytest.mark.parametrize(("size", "row"), [(8, "<=8"), (9, "<=25"), (25, "<=25"), (26, "<=100")])
def test_recall_by_the_longer_side(case: Case, size: int, row: str) -> None:
    case.add("dot", defects=[(0, 0, size, 2)])
    rows = case.metrics()["region_recall_by_size_px"]
    assert {name for name, counts in rows.items() if counts["defects"]} == {row}


@pytest.mark.parametrize("direction", [(0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1)])
@pytest.mark.parametrize("distance", [1, NEAR, NEAR + 1, 30])
def test_a_region_within_3_px_is_a_hit(case: Case, direction: tuple[int, int], distance: int) -> None:
    """Distance between the nearest pixels of a 3x3 defect and a 2x2 region."""
    y = 50 + (direction[0] > 0) * (2 + distance) - (direction[0] < 0) * (1 + distance)
    x = 50 + (direction[1] > 0) * (2 + distance) - (direction[1] < 0) * (1 + distance)
    case.add("dot", defects=[(50, 50, 53, 53)], found=[(y, x, y + 2, x + 2)])
    metrics = case.metrics()
    assert metrics["region_recall"] == (1.0 if distance <= NEAR else 0.0)
    assert metrics["false_regions_on_defective_images"] == (0 if distance <= NEAR else 1)


boxes = st.tuples(st.integers(0, 25), st.integers(0, 25), st.integers(1, 8), st.integers(1, 8))


@settings(max_examples=200)
@given(box=boxes, at=st.tuples(st.integers(0, 20), st.integers(0, 20)), pixels=hnp.arrays(np.bool_, (6, 5)))
def test_near_is_a_distance_to_pixels(box: tuple[int, ...], at: tuple[int, int], pixels: NDArray[np.bool_]) -> None:
    """Brute force over all pairs of pixels; a defect's own shape counts, not its box."""
    y0, x0, height, width = box
    defect = TrueDefect(at[0], at[1], at[0] + 6, at[1] + 5, int(pixels.sum()), pixels)
    expected = any(
        max(abs(y - at[0] - dy), abs(x - at[1] - dx)) <= NEAR
        for y in range(y0, y0 + height)
        for x in range(x0, x0 + width)
        for dy, dx in np.argwhere(pixels)
    )
    assert is_near(region((y0, x0, y0 + height, x0 + width)), defect) == expected


def test_only_ng_counts(case: Case) -> None:
    case.add("good", found=[region((5, 5, 8, 8), "REVIEW")], verdict="REVIEW")
    case.add("dot", defects=[(50, 50, 53, 53)], found=[region((50, 50, 53, 53), "REVIEW")], verdict="REVIEW")
    metrics = case.metrics()
    assert metrics["region_recall"] == metrics["image_recall"] == 0
    assert metrics["false_regions_per_good_image"] == 0
    assert metrics["image_precision"] is None
    assert metrics["image_f1"] == 0


def test_one_region_may_find_two_defects(case: Case) -> None:
    case.add("dot", defects=[(10, 10, 13, 13), (10, 30, 13, 33)], found=[(8, 8, 15, 35)])
    metrics = case.metrics()
    assert metrics["region_recall"] == 1
    assert metrics["false_regions_on_defective_images"] == 0


def naive_defects(binary: NDArray[np.bool_], join: int) -> set[frozenset[tuple[int, int]]]:
    """Groups of pixels that steps of at most `join` px connect, by flooding."""
    left = {(int(y), int(x)) for y, x in np.argwhere(binary)}
    groups = set()
    while left:
        group = {left.pop()}
        fresh = set(group)
        while fresh:
            y, x = fresh.pop()
            near = {p for p in left if max(abs(p[0] - y), abs(p[1] - x)) <= join}
            left -= near
            group |= near
            fresh |= near
        groups.add(frozenset(group))
    return groups


@settings(max_examples=120)
@given(
    binary=hnp.arrays(np.bool_, st.tuples(st.integers(1, 16), st.integers(1, 16)), elements=st.booleans()),
    thin=st.integers(0, 10**6),
    join=st.sampled_from([1, 2, 3, 4]),
)
def test_defects_are_the_pieces_of_the_mask(binary: NDArray[np.bool_], thin: int, join: int) -> None:
    binary = binary & (np.random.default_rng(thin).random(binary.shape) < 0.25)
    found = defects_of(binary.astype(np.uint8) * 255, join)
    as_sets = {frozenset((int(y) + d.y0, int(x) + d.x0) for y, x in np.argwhere(d.pixels)) for d in found}
    assert as_sets == naive_defects(binary, join)
    for defect in found:
        assert defect.area_px == defect.pixels.sum()
        assert defect.pixels.any(axis=1)[[0, -1]].all()  # the box is tight
        assert defect.pixels.any(axis=0)[[0, -1]].all()
        assert defect.size_px == max(defect.pixels.shape)


def test_fragments_are_one_defect(case: Case) -> None:
    case.add("scratch", defects=[(50, 10, 52, 20), (50, 22, 52, 30), (50, 40, 52, 45)], found=[(50, 10, 52, 20)])
    metrics = case.metrics()
    assert metrics["region_recall"] == 1 / 2  # 2 px apart: one; 10 px apart: another
    assert metrics["missed"][0]["box"] == [50, 40, 52, 45]


def test_a_mask_in_colour_and_one_that_is_faint() -> None:
    colour = np.zeros((20, 20, 3), np.uint8)
    colour[3:6, 3:6, 2] = 1
    assert [(d.y0, d.x0, d.y1, d.x1) for d in defects_of(colour, 3)] == [(3, 3, 6, 6)]
    assert defects_of(np.zeros((20, 20), np.uint8), 3) == []


def auroc(good: Any, defective: Any) -> float | None:
    statistic = auroc_statistic(np.array(good, float), np.array(defective, float))
    return estimates(len(good), len(defective), {"auroc": statistic})["auroc"]


@settings(max_examples=100)
@given(
    good=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    defective=st.lists(st.integers(0, 6), min_size=1, max_size=20),
)
def test_auroc_is_a_count_of_pairs(good: list[int], defective: list[int]) -> None:
    pairs = [(d > g) + 0.5 * (d == g) for d in defective for g in good]
    assert auroc(good, defective) == pytest.approx(np.mean(pairs))


def test_auroc_of_one_kind_alone_is_unknown(case: Case) -> None:
    assert auroc([], [1.0]) is None
    case.add("good")
    metrics = case.metrics()
    assert metrics["image_auroc"] is metrics["region_recall"] is metrics["image_f1"] is None
    assert summary(metrics).splitlines()[-2] == "false regions on defective images: 0"


def test_images_that_could_not_be_inspected_are_counted_apart(case: Case) -> None:
    case.add("dot", defects=[(1, 1, 5, 5)], verdict="ERROR")
    case.add("good")
    case.add("good", found=[(5, 5, 8, 8)], verdict="ERROR")
    metrics = case.metrics()
    assert metrics["images"] == {"good": 1, "defective": 0}
    assert metrics["images_not_inspected"] == 2
    assert {(p["false_regions"], p["good_images"]) for p in metrics["promises"]} == {(0, 1)}
    assert "2 images could not be inspected" in summary(metrics)


def test_what_calibration_promised_is_counted_before_the_rules(case: Case) -> None:
    """Of twelve false regions a rule drops eleven: the word is broken, and what the line shows is said as well."""
    ruled = [region((y, 5, y + 3, 8)).model_copy(update={"verdict": "OK", "rule": "dust"}) for y in range(0, 88, 8)]
    case.add("good", found=[region((90, 90, 93, 93)), *ruled])
    for _ in range(9):
        case.add("good")
    case.add("dot", defects=[(50, 50, 53, 53)], found=[(50, 50, 53, 53), (5, 5, 8, 8)])
    metrics = case.metrics()
    assert [(p["allowed"], p["false_regions"], p["word"]) for p in metrics["promises"]] == [
        (0.1, 12, "broken"), (1.0, 12, "kept"), (0.5, 12, "too few images to say"),
    ]  # fmt: skip
    assert metrics["false_regions_per_good_image"] == 0.1
    lines = summary(metrics).splitlines()
    sentence = (
        "false regions a good image, before the rules: 1.2 where 0.1 was allowed (95 % interval 0.62 to 2.1): broken"
    )
    assert lines[lines.index(sentence) + 1] == "false regions a good image: 0.10 [0.00, 0.30]"
    del metrics["promises"]  # as an earlier flawmap wrote it
    assert summary(metrics).splitlines() == [line for line in lines if line != sentence]


def test_a_threshold_stricter_than_it_was_asked_to_be(case: Case) -> None:
    for _ in range(40):
        case.add("good")
    assert summary(case.metrics()).splitlines()[1] == (
        "false regions a good image: 0 where 0.1 was allowed (95 % interval 0 to 0.092): too few images to say"
    )
    for _ in range(40):
        case.add("good")
    metrics = case.metrics()
    assert summary(metrics).splitlines()[1].endswith(" (95 % interval 0 to 0.046): broken, fewer than half of that")


def test_images_without_truth_are_counted(case: Case) -> None:
    case.add("good")
    case.record("elsewhere/000.png", "NG", 1.0, [])
    assert case.metrics()["images_without_truth"] == 1


def test_a_broken_record_does_not_end_an_evaluation(case: Case) -> None:
    case.add("good")
    (case.run / "regions" / "half.json").write_text('{"image": ')
    assert case.metrics()["images"]["good"] == 1


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"`RUN_DIR` \(=.*\) holds no run\.json: give a folder that `flawmap inspect` wrote"
    ):
        evaluate(tmp_path, tmp_path)


def test_no_test_folder(case: Case, tmp_path: Path) -> None:
    message = r"`--truth` \(=.*\) must hold test/good and test/<kind> in the MVTec AD layout: it has no test/"
    with pytest.raises(UsageError, match=message):
        evaluate(case.run, tmp_path)


def test_a_mask_is_missing(case: Case) -> None:
    name = case.add("dot", defects=[(1, 1, 5, 5)])
    mask = case.dataset / "ground_truth" / "dot" / "000_mask.png"
    mask.unlink()
    with pytest.raises(UsageError, match=rf"test/{name} is defective by its folder, but .*000_mask\.png is missing"):
        evaluate(case.run, case.dataset)


def test_a_mask_of_another_size(case: Case) -> None:
    case.add("dot", defects=[(1, 1, 5, 5)])
    case.record("dot/000.png", "OK", 0.0, [], side=SIDE + 1)
    with pytest.raises(UsageError, match=r"000_mask\.png is 100x100 px, its image .*000\.png 101x101 px"):
        evaluate(case.run, case.dataset)


def test_a_run_of_other_images(case: Case) -> None:
    write_image(case.dataset / "test" / "good" / "000.png", np.zeros((9, 9), np.uint8))
    case.record("other.png", "OK", 0.0, [])
    message = r"no image of `RUN_DIR` \(=.*run\) is a test image of `--truth` \(=.*data\): inspect .*test as one folder"
    with pytest.raises(UsageError, match=message):
        evaluate(case.run, case.dataset)


def test_truth_lists_every_kind(case: Case) -> None:
    case.add("good")
    case.add("dot", defects=[(1, 1, 5, 5)])
    truth = read_truth(case.dataset)
    assert [(t.kind, t.mask is None) for t in truth] == [("dot", False), ("good", True)]
    assert truth[1].defects(3, (SIDE, SIDE)) == []
    assert cv2.countNonZero(truth[0].defects(3, (SIDE, SIDE))[0].pixels.astype(np.uint8)) == 16


@settings(max_examples=100)
@given(
    box=boxes,
    at=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_gaps_are_distances_between_boxes(box: tuple[int, ...], at: tuple[int, int], shape: tuple[int, int]) -> None:
    y0, x0, height, width = box
    pixels = np.ones(shape, bool)
    defect = TrueDefect(*at, at[0] + shape[0], at[1] + shape[1], pixels.size, pixels)
    expected = min(
        max(abs(y - at[0] - dy), abs(x - at[1] - dx))
        for y in range(y0, y0 + height)
        for x in range(x0, x0 + width)
        for dy, dx in np.argwhere(pixels)
    )
    assert box_gaps(np.array([[y0, x0, y0 + height, x0 + width]]), defect).tolist() == [expected]


@given(size=st.integers(1, 300))
def test_every_size_has_one_name(size: int) -> None:
    name = size_name(size)
    assert eval(f"{size}{name}")  # "<=25", ">100"
    assert name == "<=8" or not eval(f"{size}{ {'<=25': '<=8', '<=100': '<=25', '>100': '<=100'}[name] }")


def test_figures_by_kind(case: Case) -> None:
    """Each kind against all the good images."""
    case.add("good", severity=0.1)
    case.add("good", severity=0.6, found=[(5, 5, 8, 8)])
    case.add("dot", severity=2.0, defects=[(10, 10, 15, 15)], found=[(11, 11, 13, 13)])
    case.add("dot", severity=0.2, defects=[(10, 10, 15, 15), (50, 50, 60, 60)])
    case.add("stain", severity=0.0, defects=[(40, 40, 70, 44)])
    kinds = case.metrics()["by_kind"]
    assert list(kinds) == ["dot", "stain"]
    dot, stain = kinds["dot"], kinds["stain"]
    assert (dot["images"], dot["defects"], dot["region_recall"], dot["image_recall"]) == (2, 3, 1 / 3, 0.5)
    assert dot["image_auroc"] == (2 + 1) / 4
    assert (stain["region_recall"], stain["image_recall"], stain["image_auroc"]) == (0.0, 0.0, 0.0)
    assert stain["intervals_95"]["region_recall"] == [0.0, 0.0]


def test_lower_thresholds_find_what_the_candidates_know(case: Case) -> None:
    case.add(
        "good", found=[(5, 5, 8, 8)], candidates=[candidate((30, 30, 33, 33), 5.0), candidate((60, 6, 63, 9), 3.5)]
    )
    case.add("good", candidates=[candidate((30, 30, 33, 33), 4.0)])
    near = [(10, 10, 15, 15), (40, 40, 43, 43), (80, 80, 81, 81), (2, 70, 4, 72)]
    seen = [candidate((12, 12, 13, 13), 5.5), candidate((44, 40, 45, 41), 4.5), candidate((80, 82, 81, 83), 3.0)]
    name = case.add("dot", defects=near, candidates=[*seen, candidate((60, 10, 61, 12), 2.5)])
    metrics = case.metrics()
    assert metrics["region_recall"] == 0
    rows = metrics["froc"]["points"]
    assert [row["false_regions"] for row in rows] == [0, 0, 1, 2]
    assert [row["good_images"] for row in rows] == [2] * 4
    assert [row["region_recall"] for row in rows] == [0.0, 0.0, 1 / 4, 2 / 4]  # above 9.0, 9.0, 5.0 and 4.0
    assert [row["false_regions_on_defective_images"] for row in rows] == [0] * 4
    assert [row["from_candidates_end"] for row in rows] == [False] * 4
    assert rows[-1]["score"] == np.nextafter(np.float32(4.0), np.float32(9))
    assert metrics["froc"]["curve"] == {
        "score": [5.5, 4.5, 3.0, 2.0],
        "false_regions_per_good_image": [0.5, 1.0, 2.0, 2.0],
        "region_recall": [0.25, 0.5, 0.75, 0.75],
    }
    assert [(row["image"], row["score"]) for row in metrics["missed"]] == [(name, s) for s in (None, 5.5, 4.5, 3.0)]


def test_runs_without_candidates_end_at_review(case: Case) -> None:
    info = json.loads((case.run / "run.json").read_text())
    del info["thresholds"]["candidate"]
    (case.run / "run.json").write_text(json.dumps(info))
    case.add("good", found=[region((5, 5, 8, 8), "REVIEW")])
    case.add("dot", defects=[(10, 10, 15, 15)], found=[region((10, 10, 15, 15), "REVIEW", 6.5)])
    froc = case.metrics()["froc"]
    assert froc["complete_from_score"] == 6.0
    assert [(p["false_regions"], p["region_recall"], p["from_candidates_end"]) for p in froc["points"]] == [
        (0, 0.0, False), (0, 0.0, False), (0, 0.0, False), (1, 1.0, True),
    ]  # fmt: skip


def test_thresholds_are_missing(case: Case) -> None:
    info = json.loads((case.run / "run.json").read_text())
    info["thresholds"] = {}
    (case.run / "run.json").write_text(json.dumps(info))
    with pytest.raises(UsageError, match=r"run\.json is not a record of this flawmap: `thresholds` lack ng or review"):
        evaluate(case.run, case.dataset)


def test_images_with_more_candidates_than_are_kept_are_counted(case: Case) -> None:
    """A good image ends the curve where its list does; a defective one makes recall below that a lower bound."""
    many = [candidate((5, 5, 6, 6), round(5.9 - 0.01 * i, 2)) for i in range(CANDIDATES_MAX)]
    case.add("good")
    case.add("dot", defects=[(40, 40, 43, 43)], candidates=many)
    froc = case.metrics()["froc"]
    assert (froc["complete_from_score"], froc["defective_images_cut_off"]) == (2.0, 1)
    case.add("good", candidates=many)
    froc = case.metrics()["froc"]
    assert (froc["complete_from_score"], froc["defective_images_cut_off"]) == (many[-1].score_max, 0)
