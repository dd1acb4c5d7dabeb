"""Inspecting where a part description says to look, and nowhere else."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from flawmap.export.bundle import WHERE_MAP, Bundle, read_bundle, rewrite_bundle
from flawmap.export.calibration_record import Calibration
from flawmap.export.configure_bundle import configure_bundle
from flawmap.export.part_record import read_part
from flawmap.export.where_map import draw_where
from flawmap.export.where_record import Zone
from flawmap.inspect.calibration.calibrate import OwnZone, Seen, calibrate_on
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.calibration.zone_scale import ZoneScale
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.run.record_files import read_record, read_run_info
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.look_map import LookMap
from tests.bundles import calibration, find_defects, good_image, make_bundle
from tests.look_maps import box, looks, write_labelme, write_part

HEIGHT, WIDTH = 200, 300
QUARTER = [("include", box(0, 0, 150, 100))]


def configured(folder: Path, bundle: Path, shapes: list[tuple[str, Any]], **where: Any) -> Bundle:
    """The bundle, told where to look by polygons."""
    write_labelme(folder / "regions.json", HEIGHT, WIDTH, shapes)
    part = read_part(write_part(folder / "part.yaml", polygons="regions.json", **where))
    configure_bundle(bundle, part, draw_where(part.where, folder))
    return read_bundle(bundle)


def opened(bundle: Bundle, record: Calibration | None = None) -> Pipeline:
    return Pipeline(bundle, TileScorer(bundle, "cpu"), Thresholds.of(record or calibration(), 0.1))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("plain") / "bundle")


@settings(max_examples=25, deadline=None)
@given(look=looks(90, 130))
def test_where_it_counts_scores_are_those_of_the_whole_image(plain: Bundle, look: NDArray[np.uint8]) -> None:
    image = good_image(90, 130, seed=int(look.sum()), defects=2)
    everywhere, pipeline = opened(plain), opened(plain)
    pipeline.looking.look_map = LookMap(np.minimum(look, 1))
    expected, found = everywhere.inspect(image), pipeline.inspect(image)
    counted = look > 0
    np.testing.assert_array_equal(found.heatmap[counted], expected.heatmap[counted])
    assert (found.heatmap[~counted] == -np.inf).all()
    np.testing.assert_array_equal(found.reconstruction[counted], expected.reconstruction[counted])
    assert found.look is not None and (found.look > 0).sum() == counted.sum()
    again = pipeline.inspect(good_image(90, 130, seed=1), recycle=found)  # over what the first one left
    np.testing.assert_array_equal(again.heatmap, pipeline.inspect(good_image(90, 130, seed=1)).heatmap)
    for region in found.regions:
        assert look[region["peak_y"], region["peak_x"]] > 0


def test_nothing_outside_is_reported_and_no_tile_is_scored_there(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", overlap=16)
    inside, outside = good_image(HEIGHT, WIDTH, seed=3), good_image(HEIGHT, WIDTH, seed=3)
    inside[50:52, 40:42] = outside[150:152, 200:202] = 250
    everywhere = opened(read_bundle(tmp_path / "bundle"))
    assert [everywhere.inspect(image).verdict for image in (inside, outside)] == ["NG", "NG"]
    pipeline = opened(configured(tmp_path, tmp_path / "bundle", QUARTER))
    found = pipeline.inspect(inside)
    assert found.verdict == "NG" and len(found.regions) == 1 and list(found.found.zones) == [""]
    nothing = pipeline.inspect(outside)
    assert (nothing.verdict, len(nothing.regions)) == ("OK", 0)
    # What lies outside changes nothing, as long as the network does not see it from inside.
    outside[110:] = 0
    np.testing.assert_array_equal(pipeline.inspect(outside).heatmap, nothing.heatmap)
    prepared = pipeline.prepare(inside)
    assert len(pipeline.looking.grid(inside, prepared.look)) < len(everywhere.looking.grid(inside, None))


def test_an_image_of_another_size_is_an_error(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    pipeline = opened(configured(tmp_path, tmp_path / "bundle", QUARTER))
    with pytest.raises(ImageError, match="the image is 300x199 px, where to look was drawn on a picture of 300x200 px"):
        pipeline.inspect(good_image(199, 300))


def test_the_bundle_holds_all_it_needs(tmp_path: Path) -> None:
    before = make_bundle(tmp_path / "bundle", tile_size=64)
    bundle = configured(tmp_path, tmp_path / "bundle", QUARTER)
    assert bundle.info.where is not None
    assert (bundle.info.where.height, bundle.info.where.width) == (HEIGHT, WIDTH)
    assert bundle.info.tile.size != 64 and bundle.info.where.whole_tile_size == 64
    for name in ("regions.json", "part.yaml"):
        (tmp_path / name).unlink()
    assert opened(read_bundle(tmp_path / "bundle")).inspect(good_image(HEIGHT, WIDTH)).verdict == "OK"
    # A part description that says nothing takes it all back.
    part = read_part(write_part(tmp_path / "part.yaml"))
    configure_bundle(tmp_path / "bundle", part, draw_where(part.where, tmp_path))
    after = read_bundle(tmp_path / "bundle")
    assert after.info == before.info and not (tmp_path / "bundle" / WHERE_MAP).exists()


@pytest.mark.parametrize("what", ["missing", "changed", "another size"])
def test_a_map_that_is_not_the_one_that_was_sealed(tmp_path: Path, what: str) -> None:
    make_bundle(tmp_path / "bundle")
    bundle = configured(tmp_path, tmp_path / "bundle", QUARTER)
    file = tmp_path / "bundle" / WHERE_MAP
    if what == "another size":
        write_image(file, np.ones((3, 4), np.uint8))
        with pytest.raises(UsageError, match=r"where.png must be uint8 \[200, 300\] with values of 0 to 1"):
            opened(bundle)
        return
    if what == "missing":
        file.unlink()
    else:
        file.write_bytes(b"no picture")
        with pytest.raises(UsageError, match=r"where.png cannot be read: not an image"):
            opened(bundle)
    with pytest.raises(UsageError, match=r"where\.png"):
        read_bundle(tmp_path / "bundle")


def test_images_that_are_shrunk(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    info = bundle.info.model_copy(update={"image": bundle.info.image.model_copy(update={"longest_side": 150})})
    rewrite_bundle(tmp_path / "bundle", info, {})
    pipeline = opened(configured(tmp_path, tmp_path / "bundle", QUARTER))
    image = good_image(HEIGHT, WIDTH, seed=4)
    image[40:44, 20:24] = 255
    image[140:144, 220:224] = 255
    found = pipeline.inspect(image)
    assert found.verdict == "NG" and (found.regions["x1"] <= 150).all() and (found.regions["y1"] <= 100).all()
    assert (found.heatmap[100:] == -np.inf).all() and np.isfinite(found.heatmap[:100, :150]).all()


# Calibration


def good_files(folder: Path, count: int, *, outside: int = 0) -> list[Path]:
    """Good pictures; what lies below row 110 is bright noise of `outside` levels."""
    folder.mkdir()
    for i in range(count):
        image = good_image(HEIGHT, WIDTH, seed=100 + i)
        if outside:
            image[110:] = np.random.default_rng(i).integers(0, outside, image[110:].shape)
        write_image(folder / f"{i}.png", image)
    return sorted(folder.iterdir())


def test_what_lies_outside_does_not_calibrate(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", calibrated=False)
    whole = calibrate_bundle(tmp_path / "bundle", good_files(tmp_path / "a", 4), 0.5, device="cpu")
    configured(tmp_path, tmp_path / "bundle", QUARTER)
    quiet = calibrate_bundle(tmp_path / "bundle", sorted((tmp_path / "a").iterdir()), 0.5, device="cpu")
    wild = calibrate_bundle(tmp_path / "bundle", good_files(tmp_path / "b", 4, outside=256), 0.5, device="cpu")
    assert wild == quiet
    assert quiet.megapixels_per_image == pytest.approx(0.015) and whole.megapixels_per_image == pytest.approx(0.06)
    assert quiet.counted == read_bundle(tmp_path / "bundle").info.counted != whole.counted == ""


def test_a_calibration_of_other_pixels_is_said(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    assert read_bundle(tmp_path / "bundle").info.counted_note == ""
    info = configured(tmp_path, tmp_path / "bundle", QUARTER).info
    assert info.counted_note.startswith("where to look has changed since the bundle was calibrated")
    calibrate_bundle(tmp_path / "bundle", good_files(tmp_path / "a", 2), 0.5, device="cpu")
    assert read_bundle(tmp_path / "bundle").info.counted_note == ""
    info = configured(tmp_path, tmp_path / "bundle", [("exclude", box(0, 0, 9, 9))]).info
    assert "`flawmap calibrate` on good images puts that right" in info.counted_note


def test_a_zone_that_no_image_shows() -> None:
    look = np.ones((40, 40), np.uint8)
    seen = Seen.of(np.zeros((40, 40), np.float32), look, [OwnZone("face", 2, 0.1)])
    with pytest.raises(UsageError, match=r"`where\.zones`: zone `face` has no pixel on any of the good images"):
        calibrate_on([seen], 0.1, [OwnZone("face", 2, 0.1)])


# Zones: the left half of a picture, three times as lively as the rest.

SIDE = 220
LOOK = np.ones((SIDE, SIDE), np.uint8)
LOOK[:, :110] = 2
LOOK[:20] = 0
OWN = [OwnZone("lively", 2, 2.0)]
ZONES = (Zone(name="lively", false_alarms=2.0),)


def heatmap(seed: int) -> NDArray[np.float32]:
    scores = np.random.default_rng(seed).exponential(1.0, (SIDE, SIDE)).astype(np.float32)
    scores[LOOK == 2] *= 3
    scores[LOOK == 0] *= 50
    return scores


@pytest.fixture(scope="module")
def zoned() -> Calibration:
    return calibrate_on((Seen.of(heatmap(seed), LOOK, OWN) for seed in range(40)), 0.5, OWN)


def test_every_zone_keeps_its_own_promise(zoned: Calibration) -> None:
    """2 false regions an image in the zone and 0.5 outside of it, within a factor of 2, on 200 images never seen."""
    assert zoned.zones["lively"].false_alarms == 2.0 and zoned.megapixels_per_image == pytest.approx(0.022)
    thresholds = Thresholds.of(zoned, 0.5)
    scale = ZoneScale(thresholds, ZONES)
    found = np.zeros(4)
    for seed in range(1000, 1200):
        scores = heatmap(seed)
        scale.apply(scores, LOOK)
        regions, _ = find_defects(scores, thresholds)
        for region in regions[regions["score_max"] >= thresholds.ng]:
            found[LOOK[region["peak_y"], region["peak_x"]]] += 1
    rest, zone = found[1:3] / 200
    assert found[0] == 0
    assert 0.25 < rest < 1.0
    assert 1.0 < zone < 4.0


def test_a_zones_thresholds_become_those_of_the_rest(zoned: Calibration) -> None:
    for false_alarms in (0.5, 0.05):
        thresholds, own = Thresholds.of(zoned, false_alarms), Thresholds.of(zoned.zones["lively"], 2.0)
        scores = np.array([[own.review, own.ng, own.ng + 1, own.review - 1]], np.float32)
        before = scores.copy()
        ZoneScale(thresholds, ZONES).apply(scores, np.full_like(scores, 2, np.uint8))
        np.testing.assert_allclose(scores[0, :2], [thresholds.review, thresholds.ng], rtol=1e-5)
        assert (np.argsort(scores) == np.argsort(before)).all()
    same = before.copy()
    ZoneScale(None, ZONES).apply(same, np.full_like(same, 2, np.uint8))
    np.testing.assert_array_equal(same, before)


def test_a_zone_that_was_not_calibrated_is_judged_like_the_rest() -> None:
    """At its own rate: what would be NG at that rate elsewhere is NG there."""
    record = calibration()
    thresholds, strict = Thresholds.of(record, 0.1), Thresholds.of(record, 1.0)
    scores = np.array([[strict.ng, strict.ng - 0.1]], np.float32)
    ZoneScale(thresholds, (Zone(name="face", false_alarms=1.0),)).apply(scores, np.full_like(scores, 2, np.uint8))
    assert scores[0, 0] == pytest.approx(thresholds.ng, rel=1e-5) and scores[0, 1] < thresholds.ng


def test_where_zones_are_all_that_counts() -> None:
    """The scale that is left is that of everything together."""
    look = np.where(LOOK == 1, 0, LOOK).astype(np.uint8)
    record = calibrate_on((Seen.of(heatmap(seed), look, OWN) for seed in range(10)), 0.5, OWN)
    zone = record.zones["lively"]
    assert (record.n_regions, record.megapixels_per_image) == (zone.n_regions, zone.megapixels_per_image)


def test_a_zone_in_the_report_and_its_rate(tmp_path: Path) -> None:
    """The same faint dot is let pass where one false alarm in a hundred parts is allowed, not where ten a part are."""
    make_bundle(tmp_path / "bundle", calibrated=False)
    shapes = [("include", box(0, 0, 150, 200)), ("strict", box(150, 0, 300, 200))]
    configured(tmp_path, tmp_path / "bundle", shapes, zones=[{"name": "strict", "false_alarms": 10}])
    record = calibrate_bundle(tmp_path / "bundle", good_files(tmp_path / "a", 6), 0.01, device="cpu")
    assert set(record.zones) == {"strict"}
    bundle = read_bundle(tmp_path / "bundle")
    pipeline = Pipeline(bundle, TileScorer(bundle, "cpu"), Thresholds.of(record, 0.01))
    image = good_image(HEIGHT, WIDTH, seed=9)
    between = (record.score_at(1.6) + record.zones["strict"].score_at(-1)) / 2 * 10  # grey levels
    for x in (70, 230):
        image[100, x] = image[98:103, x - 2 : x + 3].mean() + between * 1.02
    found = pipeline.inspect(image)
    assert found.found.zones[0] == "strict" and found.verdict == "NG"
    assert all(region["peak_x"] >= 150 for region in found.regions[found.severities >= 2])


# Sizes and rules by zone


@pytest.mark.parametrize(
    ("smallest", "verdict"), [("2 px", "NG"), ("2.1 px", "OK"), ("0.5 mm", "NG"), ("0.6 mm", "OK")]
)
def test_what_is_too_small_for_its_zone_is_dropped(tmp_path: Path, smallest: str, verdict: str) -> None:
    make_bundle(tmp_path / "bundle")
    write_labelme(tmp_path / "regions.json", HEIGHT, WIDTH, [("skin", box(0, 0, 150, 200))])
    (tmp_path / "part.yaml").write_text(
        f"pixel_size: 0.25 mm\nwhere: {{polygons: regions.json, zones: [{{name: skin, smallest: {smallest}}}]}}\n"
    )
    part = read_part(tmp_path / "part.yaml")
    configure_bundle(tmp_path / "bundle", part, draw_where(part.where, tmp_path))
    pipeline = opened(read_bundle(tmp_path / "bundle"))
    image = good_image(HEIGHT, WIDTH, seed=3)
    image[50:52, 40:42] = 250  # 2 px square, in the zone
    found = pipeline.inspect(image)
    assert (found.verdict, list(found.found.zones)) == (verdict, ["skin"])
    assert list(found.found.rules) == ([f"smaller than {smallest} in skin"] if verdict == "OK" else [""])
    assert verdict == "NG" or found.severity < pipeline.thresholds.severity_review  # type: ignore[union-attr]
    image[50:52, 200:202] = 250  # and one outside of it
    assert pipeline.inspect(image).verdict == "NG"


def test_a_rule_of_the_plant_goes_before_the_zones_size(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle")
    write_labelme(tmp_path / "regions.json", HEIGHT, WIDTH, [("skin", box(0, 0, 150, 200))])
    (tmp_path / "part.yaml").write_text(
        "where: {polygons: regions.json, zones: [{name: skin, smallest: 40 px}]}\n"
        "rules: {verdicts: [{name: bright, verdict: REVIEW, when: {zone: skin, contrast: brighter}}]}\n"
    )
    part = read_part(tmp_path / "part.yaml")
    configure_bundle(tmp_path / "bundle", part, draw_where(part.where, tmp_path))
    image = good_image(HEIGHT, WIDTH, seed=3)
    image[50:52, 40:42] = 250
    image[90:92, 40:42] = 5
    image[50:52, 200:202] = 250
    found = opened(read_bundle(tmp_path / "bundle")).inspect(image).found
    assert list(zip(found.zones, found.rules, found.verdicts, strict=True)) == [
        ("", "", "NG"), ("skin", "bright", "REVIEW"), ("skin", "smaller than 40 px in skin", "OK"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("where: {polygons: a.json, zones: [{name: a, smallest: 0.3 mm}]}",
         r"`where.zones.0.smallest` \(=0.3 mm\) needs `pixel_size`"),
        ("where: {polygons: a.json, zones: [{name: a, smallest: 3}]}", r"`where.zones.0.smallest` \(=3\): has no unit"),
        ("where: {polygons: a.json, zones: [{name: a}]}\n"
         "rules: {verdicts: [{name: r, verdict: OK, when: {zone: b}}]}",
         r"`rules.verdicts.0.when.zone` \(=b\) is no zone of `where.zones` \(a\)"),
        ("rules: {verdicts: [{name: r, verdict: OK, when: {zone: b}}]}",
         r"is no zone of `where.zones` \(there is none\)"),
    ],
)  # fmt: skip
def test_a_wrong_size_or_zone_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "part.yaml").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_part(tmp_path / "part.yaml")


# A whole run


def test_a_run_says_where_it_looked(tmp_path: Path) -> None:
    """Zones in the table, the share that counted in the record, a dimmed overview, and a note on old calibrations."""
    make_bundle(tmp_path / "bundle")
    shapes = [("include", box(0, 0, 150, 100)), ("face", box(0, 0, 70, 100))]
    configured(tmp_path, tmp_path / "bundle", shapes, zones=[{"name": "face", "false_alarms": 0.1}])
    (tmp_path / "parts").mkdir()
    image = good_image(HEIGHT, WIDTH, seed=3)
    image[50:52, 40:42] = image[150:152, 200:202] = 250
    write_image(tmp_path / "parts" / "a.png", image)
    write_image(tmp_path / "parts" / "b.png", good_image(HEIGHT, WIDTH + 1, seed=4))
    run = inspect_folder([tmp_path / "parts"], tmp_path / "bundle", tmp_path / "run", device="cpu", heatmaps=True)
    assert run.calibration_note.startswith("where to look has changed since the bundle was calibrated")
    assert (run.counts["NG"], run.counts["ERROR"], run.counts["regions"]) == (1, 1, 1)
    written = read_run_info(tmp_path / "run")
    assert written is not None and written.zone_false_alarms == {"face": 0.1}
    record = read_record(tmp_path / "run" / "regions" / "a.png.json")
    assert record is not None and record.counted_share == pytest.approx(0.25) and record.overlay is not None
    assert [(region.zone, region.x_min, region.y_min) for region in record.regions] == [("face", 40, 50)]
    (row,) = csv.DictReader((tmp_path / "run" / "regions.csv").read_text().splitlines())
    assert row["zone"] == "face"
    overview = read_image(tmp_path / "run" / record.overlay)
    factor = overview.shape[0] // HEIGHT
    assert overview[120 * factor :].mean() < 0.45 * overview[: 40 * factor, 80 * factor : 140 * factor].mean()
    refused = read_record(tmp_path / "run" / "regions" / "b.png.json")
    assert refused is not None and "where to look was drawn on a picture of 300x200 px" in refused.error


def test_a_run_that_looked_at_a_part_can_be_evaluated(tmp_path: Path) -> None:
    """A defect inside is found, one outside missed; pixel figures rank what was not looked at lowest."""
    make_bundle(tmp_path / "bundle")
    configured(tmp_path, tmp_path / "bundle", QUARTER)
    data = tmp_path / "data"
    for kind, spot in (("good", None), ("inside", (50, 40)), ("outside", (150, 200))):
        image, mask = good_image(HEIGHT, WIDTH, seed=3), np.zeros((HEIGHT, WIDTH), np.uint8)
        if spot:
            y, x = spot
            image[y : y + 2, x : x + 2], mask[y : y + 2, x : x + 2] = 250, 255
            (data / "ground_truth" / kind).mkdir(parents=True)
            write_image(data / "ground_truth" / kind / "0_mask.png", mask)
        (data / "test" / kind).mkdir(parents=True)
        write_image(data / "test" / kind / "0.png", image)
    inspect_folder([data / "test"], tmp_path / "bundle", tmp_path / "run", device="cpu", heatmaps=True)
    metrics = evaluate_run(tmp_path / "run", data)
    assert metrics["region_recall"] == 0.5 and metrics["false_regions_per_good_image"] == 0
    assert 0 < metrics["pixel_ap"] < 1 and metrics["au_pro_0.05"] is not None
