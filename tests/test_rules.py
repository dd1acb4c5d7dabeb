"""The plant's rules on real inspections: what they name, join, drop and raise, and what they leave alone."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle
from flawmap.export.part_record import Part
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.defects import DefectScan, Found
from flawmap.inspect.pipeline import Inspection, Pipeline
from flawmap.inspect.rules.judge import WORST_FIRST, Judge, Judged
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import write_image
from flawmap.tiling.physical_size import PixelSize
from tests.bundles import calibration, good_image, make_bundle

THRESHOLDS = Thresholds.of(calibration(), 0.1)
GREY, BRIGHT, DARK = 128, 118, -118  # levels: the toy network marks just the pixels that stand out so much


def part(text: str) -> Part:
    return Part.model_validate(yaml.safe_load(text))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("rules") / "bundle")


@pytest.fixture(scope="module")
def scorer(bundle: Bundle) -> TileScorer:
    return TileScorer(bundle, "cpu")


def inspect(
    bundle: Bundle, scorer: TileScorer, rules: str, image: NDArray, stated: PixelSize | None = None
) -> Inspection:
    info = bundle.info.model_copy(update={"part": part(rules)})
    return Pipeline(Bundle(bundle.folder, info, bundle.digest), scorer, THRESHOLDS).inspect(image, stated=stated)


@pytest.fixture(scope="module")
def board() -> NDArray:
    """A bright speck of 2x2 px, a dark one as large, a dark line of 40x1 and a bright one in two pieces, 6 px apart."""
    image = np.full((160, 200), GREY, np.int64)
    image[20:22, 30:32] += BRIGHT
    image[60:62, 40:42] += DARK
    image[100, 50:90] += DARK
    image[130, 20:40] += BRIGHT
    image[130, 46:60] += BRIGHT
    return image.clip(0, 255).astype(np.uint8)


def said(inspection: Inspection) -> set[tuple[int, str, str, str]]:
    """(row, class, rule, verdict) of every region."""
    found = inspection.found
    rows = found.regions["y0"].tolist()
    return set(zip(rows, found.classes.tolist(), found.rules.tolist(), found.verdicts, strict=True))


def test_regions_are_measured(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    found = inspect(bundle, scorer, "pixel_size: {x: 20 um, y: 50 um}", board).found
    shapes = {int(region["y0"]): shape for region, shape in zip(found.regions, found.shapes, strict=True)}
    speck, line = shapes[20], shapes[100]
    assert (speck["length_px"], speck["width_px"], line["length_px"], line["width_px"]) == (2, 2, 40, 1)
    assert (speck["length_um"], speck["width_um"], speck["area_um2"]) == pytest.approx((100, 40, 4000))
    assert (line["length_um"], line["width_um"], line["elongation"]) == pytest.approx((800, 50, 16))
    assert speck["contrast"] == pytest.approx(BRIGHT * (1 - 4 / 25), abs=1)  # less what the mean of 5x5 px takes of it
    assert line["contrast"] == pytest.approx(DARK * (1 - 5 / 25), abs=2)
    assert len(found) == 5 and set(found.shapes["fragments"]) == {1}


def test_without_a_pixel_size_there_are_pixels(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    inspection = inspect(bundle, scorer, "{}", board)
    shapes = inspection.found.shapes
    assert inspection.pixel_size is None
    assert np.isnan(shapes["length_um"]).all() and np.isnan(shapes["area_um2"]).all()
    np.testing.assert_allclose(shapes["elongation"], shapes["length_px"] / shapes["width_px"])


def test_regions_have_names_without_any_rule(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    assert said(inspect(bundle, scorer, "{}", board)) == {
        (20, "dot", "", "NG"),
        (60, "dot", "", "NG"),
        (100, "line", "", "NG"),
        (130, "line", "", "NG"),
    }
    assert {name for _, name, _, _ in said(inspect(bundle, scorer, "rules: {classes: []}", board))} == {""}


PLANT = """
pixel_size: 20 um
rules:
  join: 0.12 mm
  classes:
    - {name: speck, when: {length: {max: 0.1 mm}}}
    - {name: scratch, when: {elongation: {min: 5}}}
  verdicts:
    - {name: dust, verdict: OK, when: {defect_class: speck, contrast: brighter}}
    - {name: short scratches, verdict: REVIEW, when: {defect_class: scratch, length: {max: 0.79 mm}}}
    - {name: scratches, verdict: NG, when: {defect_class: scratch}}
"""


def test_the_plants_rules(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    inspection = inspect(bundle, scorer, PLANT, board)
    assert said(inspection) == {
        (20, "speck", "dust", "OK"),
        (60, "speck", "", "NG"),
        (100, "scratch", "scratches", "NG"),
        (130, "scratch", "scratches", "NG"),  # 40 px from end to end, once joined
    }
    joined = inspection.found.shapes[inspection.found.regions["y0"] == 130]
    assert (joined["fragments"], joined["length_px"], joined["area_um2"]) == (2, 40, 34 * 400)
    assert inspection.found.verdicts[-1] == "OK", "what was dropped comes last"
    assert inspection.verdict == "NG"


def test_an_image_whose_regions_are_all_dropped_is_ok(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    board = board.copy()
    board[50:] = GREY
    inspection = inspect(bundle, scorer, PLANT, board)
    assert said(inspection) == {(20, "speck", "dust", "OK")}
    assert inspection.verdict == "OK"
    assert inspection.severity <= THRESHOLDS.severities(np.float32(THRESHOLDS.candidate)) < THRESHOLDS.severity_review
    assert inspect(bundle, scorer, "{}", board).severity > THRESHOLDS.severity_ng


def test_a_rule_may_turn_on_the_distance_to_another_region(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    rules = """
rules: {verdicts: [{name: lone, verdict: OK, when: {distance: {min: %s}}},
                   {name: near a dot, verdict: REVIEW, when: {distance: {max: 40 px, to: dot}}}]}
"""
    # Between the two dots lie 38 rows and 8 columns, and so between the second one and the dark line; 29 rows between
    # this line and the bright ones.
    assert 38 < np.hypot(38, 8) < 40
    near = said(inspect(bundle, scorer, rules % "41 px", board))
    assert {row for row, _, rule, _ in near if rule == "near a dot"} == {20, 60, 100}
    assert {row for row, _, rule, _ in near if rule == "lone"} == set()
    assert {row for row, _, rule, _ in said(inspect(bundle, scorer, rules % "36 px", board)) if rule == "lone"} == {
        20, 60,
    }  # fmt: skip


def test_a_rule_may_turn_on_severity(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    severities = np.sort(inspect(bundle, scorer, "{}", board).severities)
    line = float(severities[1:3].mean())  # the dots lie below it
    rules = f"rules: {{verdicts: [{{name: faint, verdict: REVIEW, when: {{severity: {{max: {line:.6f}}}}}}}]}}"
    found = inspect(bundle, scorer, rules, board)
    assert found.found.rules.tolist() == ["", "", "", "faint", "faint"]
    assert found.found.verdicts == ["NG", "NG", "NG", "REVIEW", "REVIEW"]


def test_the_image_may_say_how_large_its_pixels_are(bundle: Bundle, scorer: TileScorer, board: NDArray) -> None:
    text = PLANT.replace("pixel_size: 20 um", "pixel_size: image")
    fixed = inspect(bundle, scorer, PLANT, board)
    stated = inspect(bundle, scorer, text, board, PixelSize(20, 20))
    assert said(stated) == said(fixed) and stated.pixel_size == PixelSize(20, 20)
    with pytest.raises(ImageError) as caught:
        inspect(bundle, scorer, text, board)
    assert caught.value.reason == (
        "`rules.join` (=0.12 mm) needs the size of a pixel, and the file does not say it (`pixel_size: image`)"
    )
    # A size of the bundle's own is what counts; where no rule needs one, a file may keep silent.
    assert inspect(bundle, scorer, PLANT, board, PixelSize(1, 1)).pixel_size == PixelSize(20, 20)
    assert inspect(bundle, scorer, "pixel_size: image", board).pixel_size is None


def test_calibration_knows_no_rules(tmp_path: Path) -> None:
    """A rule that is changed moves no threshold."""
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for seed, path in enumerate(paths):
        write_image(path, good_image(96, 128, seed=seed, defects=2))
    plain = make_bundle(tmp_path / "plain")
    ruled = make_bundle(tmp_path / "ruled", part=part(PLANT))
    assert calibrate_bundle(plain.folder, paths, 0.1) == calibrate_bundle(ruled.folder, paths, 0.1)


# From here on without a network: maps of scores.


def found_in(heatmap: NDArray, image: NDArray | None = None) -> Found:
    scan = DefectScan(heatmap.shape[1], THRESHOLDS)
    levels = None if image is None else (image, np.zeros_like(image))
    scan.add(heatmap, levels)
    return scan.result()


def judge(rules: str, heatmap: NDArray, image: NDArray | None = None) -> Judged:
    return Judge(part(rules), THRESHOLDS).judge(found_in(heatmap, image), None)


def test_candidates_are_told_what_a_rule_would_do() -> None:
    between = (THRESHOLDS.candidate + THRESHOLDS.review) / 2
    heatmap = np.zeros((60, 60), np.float32)
    heatmap[10, 10:40] = between  # a line, below REVIEW
    heatmap[30, 10] = np.float32(between) - 0.1  # a dot
    rules = "rules: {verdicts: [{name: lines, verdict: OK, when: {defect_class: line}}, {name: dots, verdict: NG}]}"
    found = judge(rules, heatmap)
    assert (len(found.regions), found.verdict) == (0, "OK"), "a rule raises no candidate"
    assert found.candidates.rules.tolist() == ["lines", "dots"]
    assert found.candidates.verdicts == ["OK", "NG"]
    assert found.peak == heatmap[30, 10], "the image is as severe as what no rule drops"
    assert judge("{}", heatmap).peak == np.float32(between)


def test_a_candidate_is_nobodys_neighbour() -> None:
    heatmap = np.zeros((60, 60), np.float32)
    heatmap[10, 10] = 20.0
    heatmap[10, 20] = (THRESHOLDS.candidate + THRESHOLDS.review) / 2
    found = judge("rules: {verdicts: [{name: pair, verdict: REVIEW, when: {distance: {max: 15 px}}}]}", heatmap)
    assert found.regions.rules.tolist() == [""]
    assert found.candidates.rules.tolist() == ["pair"]


def test_a_faint_piece_belongs_to_the_scratch_that_it_is_joined_with() -> None:
    heatmap = np.zeros((60, 60), np.float32)
    heatmap[10, 10:20] = 20.0
    heatmap[10, 26:50] = (THRESHOLDS.candidate + THRESHOLDS.review) / 2
    found = judge("rules: {join: 6 px}", heatmap)
    assert (len(found.regions), len(found.candidates)) == (1, 0)
    assert found.regions.shapes["length_px"].tolist() == [40]
    assert len(judge("rules: {join: 5 px}", heatmap).regions) == 1


def test_no_rule_lets_a_picture_pass_that_is_nothing_but_hits() -> None:
    heatmap = np.zeros((2500, 2600), np.float32)
    heatmap[:, ::6] = 20.0
    rules = "rules: {join: 9 px, verdicts: [{name: stains, verdict: OK, when: {area: {min: 1 px}}}]}"
    found = judge(rules, heatmap)
    assert (found.verdict, found.regions.rules.tolist(), found.regions.verdicts) == ("NG", [""], ["NG"])
    assert found.regions.shapes["length_px"].tolist() == [2599]


limits = st.integers(0, 12)


@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**32 - 1), low=limits, high=limits, drop=st.sampled_from(["OK", "REVIEW", "NG"]))
def test_what_fits_is_decided_by_the_rule_and_the_rest_by_severity(seed: int, low: int, high: int, drop: str) -> None:
    """Against the plain loop over regions, for limits that lie on what is measured as often as not."""
    rng = np.random.default_rng(seed)
    heatmap = np.where(rng.random((40, 40)) < 0.06, rng.uniform(4.5, 16, (40, 40)), 0).astype(np.float32)
    heatmap[rng.integers(0, 40), 5 : 5 + rng.integers(2, 30)] = rng.uniform(4.5, 16)
    image = rng.normal(0, 5, heatmap.shape).astype(np.float32)
    low, high = min(low, high), max(low, high)
    rules = f"""
rules: {{verdicts: [{{name: sized, verdict: {drop},
                      when: {{area: {{min: {low} px, max: {high} px}}, contrast: darker}}}},
                    {{name: slim, verdict: REVIEW, when: {{elongation: {{min: 3}}, width: {{max: 2.5 px}}}}}}]}}
"""
    found, plain = judge(rules, heatmap, image), judge("{}", heatmap, image)
    assert sorted(found.regions.regions["peak_y"] * 40 + found.regions.regions["peak_x"]) == sorted(
        plain.regions.regions["peak_y"] * 40 + plain.regions.regions["peak_x"]
    )
    for one in (found.regions, found.candidates):
        for region, shape, rule, verdict in zip(one.regions, one.shapes, one.rules, one.verdicts, strict=True):
            if low <= shape["area_px"] <= high and shape["contrast"] < 0:
                expected = ("sized", drop)
            elif shape["length_px"] >= 2.999999 * shape["width_px"] and shape["width_px"] <= 2.5:
                expected = ("slim", "REVIEW")
            else:
                expected = ("", THRESHOLDS.verdict(float(region["score_max"])))
            assert (rule, verdict) == expected
    ranks = [WORST_FIRST.index(verdict) for verdict in found.regions.verdicts]
    assert ranks == sorted(ranks)
    assert found.verdict == min(found.regions.verdicts, key=WORST_FIRST.index, default="OK")
    left = [
        float(region["score_max"])
        for one in (found.regions, found.candidates)
        for region, dropped in zip(one.regions, one.dropped, strict=True)
        if not dropped
    ]
    if left:
        assert found.peak == max(left)
