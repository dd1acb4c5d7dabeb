"""A folder with pictures too large to be held as a whole: the run says of them what it says of any other."""

import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.record_files import read_record, record_path
from flawmap.inspect.run.records import ImageRecord, RunInfo
from flawmap.tiling.errors import ImageError, InspectionStoppedError
from flawmap.tiling.images import read_image, write_image
from tests.bundles import good_image, make_bundle
from tests.interruptions import small_disk

STRIP_PIXELS = "flawmap.tiling.strips.open_rows.STRIP_PIXELS"
BAND_PIXELS = "flawmap.inspect.strip_pipeline.BAND_PIXELS"
NAMES = ("a.png", "strip.tif", "strip2.bmp", "z.png")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        height = 700 if name.startswith("strip") else 100
        image = good_image(height, 90, seed=number, defects=number)
        if name == "strip.tif":
            image[20:680, 40:42] = 250
        write_image(folder / name, image)
    return folder


@pytest.fixture
def in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(STRIP_PIXELS, 20_000)
    monkeypatch.setattr(BAND_PIXELS, 10_000)


def tables(run_dir: Path) -> dict[str, list[dict[str, str]]]:
    read = {}
    for name in ("images.csv", "regions.csv"):
        with (run_dir / name).open(newline="") as file:
            read[name] = [{k: v for k, v in row.items() if k != "milliseconds"} for row in csv.DictReader(file)]
    return read


def record(run_dir: Path, name: str) -> ImageRecord:
    found = read_record(record_path(run_dir, name))
    assert found is not None
    return found


def test_the_run_is_the_same(images: Path, bundle: Path, tmp_path: Path, request: Any) -> None:
    whole = inspect_folder([images], bundle, tmp_path / "whole", heatmaps=True)
    request.getfixturevalue("in_bands")
    bands = inspect_folder([images], bundle, tmp_path / "bands", heatmaps=True)
    assert bands.counts == whole.counts
    assert bands.counts["NG"] == 3 and bands.counts["ERROR"] == 0
    assert tables(tmp_path / "bands") == tables(tmp_path / "whole")
    for name in NAMES:
        one, other = (record(tmp_path / run, name) for run in ("bands", "whole"))
        assert other.bands is None
        assert (one.bands is not None and one.bands > 8) == name.startswith("strip")
        assert one.regions == other.regions and one.candidates == other.candidates
        assert set(one.milliseconds) == set(other.milliseconds)
    files = [sorted(p.name for p in (tmp_path / run / "overlays").iterdir()) for run in ("whole", "bands")]
    assert files[0] == files[1]
    for name in files[0]:
        if name.endswith(("tif", "png")):  # heat and strips pixel for pixel; how an overview is averaged may differ
            read = tifffile.imread if name.endswith("tif") else read_image
            some, others = (read(tmp_path / run / "overlays" / name) for run in ("whole", "bands"))
            np.testing.assert_array_equal(some, others)
    left = [p.name for p in (tmp_path / "bands").iterdir() if p.name.startswith(".") and p.name != ".flawmap.lock"]
    assert left == []


@pytest.mark.usefixtures("in_bands")
def test_a_strip_that_cannot_be_read_stops_nothing(images: Path, bundle: Path, tmp_path: Path) -> None:
    data = (images / "strip.tif").read_bytes()
    (images / "strip.tif").write_bytes(data[: len(data) // 2])
    write_image(images / "strip2.bmp", good_image(700, 90, channels=3))
    info = inspect_folder([images], bundle, tmp_path / "run")
    assert info.counts["ERROR"] == 2 and info.counts["images"] == 4
    colour = record(tmp_path / "run", "strip2.bmp")
    assert colour.error == "the image is RGB uint8, the bundle was trained on mono uint8"
    assert (colour.height, colour.width) == (700, 90)
    assert record(tmp_path / "run", "z.png").verdict == "NG"


@pytest.mark.usefixtures("in_bands")
def test_a_full_disk_stops_the_run(images: Path, bundle: Path, tmp_path: Path) -> None:
    """What lacks room is the first strip's arrays, long before any of its pictures."""
    with small_disk(tmp_path / "disk", "250k") as disk:
        with pytest.raises(InspectionStoppedError, match="is full"):
            inspect_folder([images], bundle, disk / "run")
        assert json.loads((disk / "run" / "run.json").read_text())["counts"]["images"] == 1
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        assert inspect_folder([images], bundle, disk / "run").counts["images"] == 4


@pytest.mark.usefixtures("in_bands")
def test_a_bundle_that_needs_whole_pictures_gets_them_up_to_a_limit(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrinking = make_bundle(tmp_path / "shrinking", longest_side=200).folder

    def run(name: str) -> RunInfo:
        return inspect_folder([images], shrinking, tmp_path / name)

    assert run("whole").counts["ERROR"] == 0
    assert record(tmp_path / "whole", "strip.tif").bands is None
    monkeypatch.setattr("flawmap.inspect.inspect_strip.WHOLE_PIXELS", 30_000)
    assert run("refused").counts["ERROR"] == 2
    said = "90x700 px is too large to be held as a whole, which `image.longest_side` needs: train without"
    assert record(tmp_path / "refused", "strip.tif").error.startswith(said)


def test_calibration_is_the_same(images: Path, bundle: Path, tmp_path: Path, request: Any) -> None:
    paths = [images / name for name in NAMES]
    one, other = (shutil.copytree(bundle, tmp_path / name) for name in ("whole", "bands"))
    whole = calibrate_bundle(one, paths, 0.1)
    request.getfixturevalue("in_bands")
    assert calibrate_bundle(other, paths, 0.1) == whole


@pytest.mark.usefixtures("in_bands")
def test_calibration_refuses_what_its_bundle_cannot_take(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrinking = make_bundle(tmp_path / "shrinking", longest_side=200).folder
    calibrate_bundle(shrinking, [images / "strip.tif"], 0.1)
    monkeypatch.setattr("flawmap.inspect.calibration.calibrate_bundle.WHOLE_PIXELS", 30_000)
    with pytest.raises(ImageError, match=r"strip\.tif: 90x700 px is too large to be held as a whole"):
        calibrate_bundle(shrinking, [images / "strip.tif"], 0.1)
