"""A run with rules, from the part description to page and evaluation: what is dropped is seen and not counted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from typer.testing import CliRunner

from flawmap.export.bundle import read_bundle
from flawmap.export.part_record import Part
from flawmap.inspect.cli import app
from flawmap.inspect.detection_limit.injection import Design
from flawmap.inspect.detection_limit.measure import measure_detection_limit
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.inspector import Inspector
from flawmap.inspect.run.record_files import read_record
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import write_image
from flawmap.tiling.physical_size import PixelSize
from tests.bundles import good_image, make_bundle

PART = """
pixel_size: %s
rules:
  classes:
    - {name: speck, when: {length: {max: 0.1 mm}}}
    - {name: scratch, when: {elongation: {min: 5}}}
  verdicts:
    - {name: dust, verdict: OK, when: {defect_class: speck, contrast: brighter}}
    - {name: scratches, verdict: REVIEW, when: {defect_class: scratch, length: {max: 0.79 mm}}}
"""
SPECKS, SCRATCH, PIT = (20, 30), (60, 40), (100, 20)  # where defects lie: row, column


def picture(*, specks: int = 0, scratch: int = 0, pit: bool = False) -> np.ndarray:
    image = np.full((128, 160), 128, np.uint8)
    for number in range(specks):
        y, x = SPECKS[0], SPECKS[1] + 20 * number
        image[y : y + 2, x : x + 2] = 246
    image[SCRATCH[0], SCRATCH[1] : SCRATCH[1] + scratch] = 10
    if pit:
        image[PIT[0] : PIT[0] + 2, PIT[1] : PIT[1] + 2] = 10
    return image


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def configured(tmp_path: Path, pixel_size: str) -> Path:
    bundle = make_bundle(tmp_path / "bundle").folder
    (tmp_path / "part.yaml").write_text(PART % pixel_size)
    result = CliRunner().invoke(app, ["configure", str(bundle), str(tmp_path / "part.yaml")])
    assert result.exit_code == 0, result.output
    return bundle


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Good pictures with dust on them; one with a short scratch, one with a long one and dust, one with a pit."""
    pictures = {
        "good/a": picture(specks=2),
        "good/b": picture(),
        "short/a": picture(scratch=20),
        "long/a": picture(scratch=45, specks=1),
        "pit/a": picture(pit=True),
    }
    for name, image in pictures.items():
        path = tmp_path / "data" / "test" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, image)
        if not name.startswith("good"):
            mask = np.zeros(image.shape, np.uint8)
            mask[SCRATCH[0]] = image[SCRATCH[0]] != 128
            mask[PIT[0] : PIT[0] + 2] = image[PIT[0] : PIT[0] + 2] != 128
            truth = tmp_path / "data" / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
            truth.parent.mkdir(parents=True, exist_ok=True)
            write_image(truth, mask * 255)
    return tmp_path / "data"


def test_what_is_dropped_is_seen_and_not_counted(tmp_path: Path, data: Path) -> None:
    run_dir, bundle = tmp_path / "run", configured(tmp_path, "20 um")
    run = inspect_folder([data / "test"], bundle, run_dir)
    again = CliRunner().invoke(app, ["inspect", str(data / "test"), "-m", str(bundle), "-o", str(run_dir)])
    assert "3 regions dropped by rules\n" in again.output
    images = {row["image"]: row for row in table(run_dir / "images.csv")}
    assert {name: (row["verdict"], row["n_regions"]) for name, row in images.items()} == {
        "good/a.png": ("OK", "0"),
        "good/b.png": ("OK", "0"),
        "long/a.png": ("NG", "1"),
        "pit/a.png": ("NG", "1"),
        "short/a.png": ("REVIEW", "1"),
    }
    assert float(images["good/a.png"]["severity"]) < run.thresholds["severity_review"]
    assert run.counts == {"images": 5, "regions": 3, "dropped": 3, "OK": 2, "REVIEW": 1, "NG": 2, "ERROR": 0}

    regions = table(run_dir / "regions.csv")
    dropped = [row for row in regions if row["rule"] == "dust"]
    assert len(dropped) == 3
    assert {(row["verdict"], row["defect_class"], row["length_mm"], row["area_mm2"]) for row in dropped} == {
        ("OK", "speck", "0.04", "0.0016")
    }
    assert [(row["region"], row["rule"]) for row in regions if row["image"] == "long/a.png"] == [
        ("1", ""),
        ("2", "dust"),
    ]
    (short,) = [row for row in regions if row["image"] == "short/a.png"]
    assert (short["verdict"], short["rule"], short["length_px"], short["length_mm"], short["width_mm"]) == (
        "REVIEW", "scratches", "20", "0.4", "0.02",
    )  # fmt: skip
    assert float(short["contrast"]) < -80 and float(short["elongation"]) == 20

    record = read_record(next((run_dir / "regions").glob("long_a.png*.json")))
    assert record is not None and record.pixel_size is not None and record.pixel_size.x_um == 20
    written = json.loads((run_dir / "run.json").read_text())
    assert written["rules"]["verdicts"][0]["name"] == "dust" and written["pixel_size"] == {
        "x": "20.0 um",
        "y": "20.0 um",
    }
    page = (run_dir / "index.html").read_text("utf-8")
    assert "OK by `dust`: speck, brighter" in page and "pixel size: 20 × 20 µm" in page


def test_the_evaluation_judges_as_the_line_does(tmp_path: Path, data: Path) -> None:
    plain, ruled = tmp_path / "plain", tmp_path / "ruled"
    bundle = configured(tmp_path, "20 um")
    inspect_folder([data / "test"], bundle, ruled)
    with_rules = evaluate_run(ruled, data)
    inspect_folder([data / "test"], make_bundle(tmp_path / "other").folder, plain)
    without = evaluate_run(plain, data)

    assert (without["false_regions_per_good_image"], without["region_recall"]) == (1.0, 1.0)
    assert with_rules["false_regions_per_good_image"] == 0.0, "dust is no false alarm any more"
    assert with_rules["promises"] == without["promises"], "calibration gave its word before the rules"
    assert with_rules["promises"][0]["false_regions"] == 2
    assert with_rules["region_recall"] == pytest.approx(2 / 3), "a REVIEW is no NG"
    assert [missed["image"] for missed in with_rules["missed"]] == ["short/a.png"]
    assert without["image_auroc"] < with_rules["image_auroc"] == 1.0
    # No threshold, however low, brings the dust back: the rule does not ask for one.
    assert all(point["false_regions"] == 0 for point in with_rules["froc"]["points"])
    page = (ruled / "evaluation" / "index.html").read_text("utf-8")
    assert "decided by the rule `scratches`" in page


def test_each_image_says_how_large_its_pixels_are(tmp_path: Path) -> None:
    bundle, folder, run_dir = configured(tmp_path, "image"), tmp_path / "images", tmp_path / "run"
    folder.mkdir()
    for name, dots in (("fine", 500.0), ("coarse", 400.0)):  # pixels of 20 and of 25 um
        tifffile.imwrite(
            folder / f"{name}.tif", picture(scratch=35), resolution=(dots, dots), resolutionunit="CENTIMETER"
        )
    write_image(folder / "silent.png", picture(scratch=35))
    run = inspect_folder([folder], bundle, run_dir)
    verdicts = {row["image"]: (row["verdict"], row["error"]) for row in table(run_dir / "images.csv")}
    assert verdicts == {
        "fine.tif": ("REVIEW", ""),  # 0.7 mm
        "coarse.tif": ("NG", ""),  # 0.875 mm
        "silent.png": (
            "ERROR",
            "`rules.classes.0.when.length` (=at most 0.1 mm) needs the size of a pixel, and the file does not say it "
            "(`pixel_size: image`)",
        ),
    }
    assert run.counts["ERROR"] == 1
    lengths = {row["image"]: row["length_mm"] for row in table(run_dir / "regions.csv")}
    assert lengths == {"fine.tif": "0.7", "coarse.tif": "0.875"}


def test_a_program_states_the_size_of_its_pixels(tmp_path: Path) -> None:
    inspector = Inspector(configured(tmp_path, "image"))
    image = picture(scratch=35, specks=1)
    fine = inspector.inspect(image, pixel_size=PixelSize(x_um=20, y_um=20))
    coarse = inspector.inspect(image, pixel_size=PixelSize(x_um=25, y_um=25))
    assert (fine.verdict, coarse.verdict) == ("REVIEW", "NG")
    assert [(region.rule, region.dropped) for region in fine.regions] == [("scratches", False), ("dust", True)]
    tifffile.imwrite(tmp_path / "a.tif", image, resolution=(500, 500), resolutionunit="CENTIMETER")
    assert inspector.inspect_file(tmp_path / "a.tif").regions == fine.regions
    with pytest.raises(ImageError, match="needs the size of a pixel"):
        inspector.inspect(image)


def test_the_detection_limit_is_the_lines_with_its_rules(tmp_path: Path) -> None:
    """Whatever is injected is brighter or darker: with both dropped nothing is found, though the model sees it."""
    good = tmp_path / "data" / "test" / "good"
    good.mkdir(parents=True)
    tifffile.imwrite(good / "a.tif", good_image(256, 256), resolution=(500, 500), resolutionunit="CENTIMETER")
    design = Design(sizes_px=(3, 9), contrasts=(28.0,), per_image=12, gap_px=12)
    drop = "{name: %s, verdict: OK, when: {contrast: %s, length: {max: 99 mm}}}"
    both = f"rules: {{verdicts: [{drop % ('a', 'brighter')}, {drop % ('b', 'darker')}]}}"
    found = {}
    for name, rules in (("plain", "rules: {}"), ("ruled", f"pixel_size: image\n{both}")):
        bundle = make_bundle(tmp_path / name, part=Part.model_validate(yaml.safe_load(rules))).folder
        inspect_folder([tmp_path / "data" / "test"], bundle, tmp_path / f"run-{name}")
        result = measure_detection_limit(tmp_path / f"run-{name}", tmp_path / "data", images=1, design=design)
        assert result["images"] == ["good/a.tif"], result["images_not_inspected"]
        rows = table(tmp_path / f"run-{name}" / "evaluation" / "detection_limit.csv")
        found[name] = sum(row["found"] == "1" for row in rows)
    assert found["plain"] > 1 and found["ruled"] == 0


def test_configure_says_what_is_wrong_and_changes_nothing(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    (tmp_path / "part.yaml").write_text("rules: {join: 1 mm}")
    result = CliRunner().invoke(app, ["configure", str(bundle.folder), str(tmp_path / "part.yaml")])
    assert result.exit_code != 0 and "needs `pixel_size`" in str(result.exception)
    assert read_bundle(bundle.folder).digest == bundle.digest
