"""A folder of images from files to tables: what runs, and what is refused."""

import ctypes
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import tifffile

from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.progress import Step
from flawmap.inspect.run.record_files import read_record, read_run_info
from flawmap.inspect.run.records import RunInfo
from flawmap.tiling.errors import InspectionStoppedError, UsageError
from flawmap.tiling.images import write_image
from tests.bundles import calibration, good_image, make_bundle
from tests.interruptions import small_disk
from tests.run_tables import rows, table, tables, tree

IMAGE_COLUMNS = "image,verdict,severity,n_regions,width,height,milliseconds,error"
REGION_COLUMNS = (
    "image,region,x_min,y_min,x_max,y_max,centroid_x,centroid_y,area_px,score_max,score_mean,severity,verdict,"
    "area_visible_px,length_px,width_px,elongation,contrast,area_mm2,length_mm,width_mm,fragments,defect_class,rule,zone"
)


# -- what a run writes ---------------------------------------------------------------------------------------


def test_a_run_writes_what_the_design_says(images: Path, bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    info = inspect_folder([images], bundle, run_dir, heatmaps=True)
    assert info == read_run_info(run_dir)
    assert (info.state, info.product, info.device) == ("finished", "toy", "cpu")
    assert info.counts == {"images": 3, "regions": 3, "dropped": 0, "OK": 1, "REVIEW": 0, "NG": 2, "ERROR": 0}
    assert set(info.milliseconds_median) == {"decode", "cut", "score", "stitch", "regions", "write", "total"}
    assert set(info.versions) == {"flawmap", "numpy", "onnxruntime", "opencv", "python"}
    assert info.thresholds["grow"] <= info.thresholds["review"] <= info.thresholds["ng"]
    assert info.settings["false_alarms"] == calibration().false_alarms
    assert info.peak_memory_mib is not None and 50 < info.peak_memory_mib < 1e5
    assert (run_dir / "images.csv").read_text().splitlines()[0] == IMAGE_COLUMNS
    assert (run_dir / "regions.csv").read_text().splitlines()[0] == REGION_COLUMNS
    assert (run_dir / "index.html").is_file()
    assert [row["image"] for row in table(run_dir / "images.csv")] == ["part0.png", "part1.png", "part2.png"]
    for name, row in rows(run_dir).items():
        record = read_record(run_dir / "regions" / f"{name}.json")
        assert record is not None and record.overlay is not None
        assert (run_dir / record.overlay).is_file()
        assert (run_dir / "overlays" / f"{name}-heatmap.tif").is_file()
        assert (row["width"], row["height"], row["verdict"]) == ("160", "120", record.verdict)
        assert int(row["n_regions"]) == len(record.regions)
        assert all(region.picture is not None and (run_dir / region.picture).is_file() for region in record.regions)


def test_regions_are_where_the_defects_are(images: Path, bundle: Path, tmp_path: Path) -> None:
    image = good_image(120, 160, seed=9)
    image[50:52, 100:102] = 235
    write_image(images / "part1.png", image)
    inspect_folder([images / "part1.png"], bundle, tmp_path / "run")
    (region,) = table(tmp_path / "run" / "regions.csv")
    box = [int(region[name]) for name in ("x_min", "y_min", "x_max", "y_max")]
    assert box == [100, 50, 102, 52]
    assert (region["image"], region["region"], region["area_px"], region["verdict"]) == ("part1.png", "1", "4", "NG")
    assert (float(region["centroid_x"]), float(region["centroid_y"])) == (100.5, 50.5)


@pytest.mark.parametrize("workers", [2, 5])
def test_workers_change_nothing(images: Path, bundle: Path, tmp_path: Path, workers: int) -> None:
    inspect_folder([images], bundle, tmp_path / "one")
    inspect_folder([images], bundle, tmp_path / "more", workers=workers)
    assert tables(tmp_path / "one") == tables(tmp_path / "more")
    with pytest.raises(UsageError, match=r"`--workers` \(=0\) must be at least 1"):
        inspect_folder([images], bundle, tmp_path / "none", workers=0)


def test_progress_hears_of_every_image(images: Path, bundle: Path, tmp_path: Path) -> None:
    heard: list[object] = []

    @contextmanager
    def listen(title: str, total: int) -> Iterator[Step]:
        heard.append((title, total))
        yield heard.append

    (images / "part1.png").write_bytes(b"")
    inspect_folder([images], bundle, tmp_path / "run", progress=listen)
    assert heard[:2] == [("inspecting", 3), "part0.png: OK, 0 regions"]
    assert heard[3] == "part2.png: NG, 2 regions"


# -- bad input: one image ------------------------------------------------------------------------------------


def bad_images(folder: Path) -> dict[str, str]:
    """Writes every kind of image that cannot be inspected; name -> what the table must say."""
    good = good_image(64, 64)
    write_image(folder / "cut.png", good)
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:-500])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("these are words, not pixels")
    write_image(folder / "colour.png", np.dstack([good] * 3))
    write_image(folder / "deep.png", good.astype(np.uint16) * 256)
    with_nan = good.astype(np.float32)
    with_nan[3, 4] = np.nan
    tifffile.imwrite(folder / "nan.tif", with_nan)
    (folder / "nowhere.png").symlink_to(folder / "missing.png")
    return {
        "cut.png": "truncated|cut|incomplete|end",
        "empty.png": "0 bytes",
        "text.png": "not an image",
        "colour.png": "the image is RGB uint8, the bundle was trained on mono uint8",
        "deep.png": "the image is mono uint16, the bundle was trained on mono uint8",
        "nan.tif": "NaN",
        "nowhere.png": "[Nn]o such file|missing|not there",
    }


def test_one_bad_image_never_stops_the_folder(images: Path, bundle: Path, tmp_path: Path) -> None:
    expected = bad_images(images)
    info = inspect_folder([images], bundle, tmp_path / "run")
    assert info.state == "finished"
    assert info.counts == {"images": 10, "regions": 3, "dropped": 0, "OK": 1, "REVIEW": 0, "NG": 2, "ERROR": 7}
    found = rows(tmp_path / "run")
    for name, reason in expected.items():
        assert found[name]["verdict"] == "ERROR"
        assert (found[name]["severity"], found[name]["n_regions"]) == ("", "0")
        assert re.search(reason, found[name]["error"]), (name, found[name]["error"])
    assert all(not row["error"] for name, row in found.items() if name not in expected)
    assert (found["colour.png"]["width"], found["colour.png"]["height"]) == ("64", "64")


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (20, 20)])
def test_an_image_smaller_than_a_tile_is_inspected(bundle: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    write_image(tmp_path / "small.png", good_image(*shape))
    info = inspect_folder([tmp_path / "small.png"], bundle, tmp_path / "run")
    assert info.counts["ERROR"] == 0
    (row,) = table(tmp_path / "run" / "images.csv")
    assert (int(row["height"]), int(row["width"])) == shape


def test_a_network_that_gives_no_number_costs_one_image(tmp_path: Path) -> None:
    folder = tmp_path / "float"
    bundle = make_bundle(folder, dtype="float32").folder
    for number, value in enumerate((0.5, 3e38)):  # finite, but its sum over 5x5 px is not
        image = good_image(64, 64, dtype="float32")
        image[10:20, 10:20] = value
        tifffile.imwrite(tmp_path / f"part{number}.tif", image)
    info = inspect_folder([tmp_path], bundle, tmp_path / "run")
    assert (info.counts["ERROR"], info.counts["images"]) == (1, 2)
    assert "finite" in rows(tmp_path / "run")["part1.tif"]["error"]


def test_images_side_by_side_do_not_mix(tmp_path: Path) -> None:
    """One is scored while another is looked at: their arrays take turns, also where scoring fails in between."""
    bundle = make_bundle(tmp_path / "float", dtype="float32").folder
    folder = tmp_path / "images"
    folder.mkdir()
    fails = {2, 3, 6}
    for number in range(9):
        image = good_image(90, 110, dtype="float32", seed=number, defects=number)
        if number in fails:
            image[60:80, 60:80] = 3e38  # the last tiles: the arrays are half written by then
        tifffile.imwrite(folder / f"part{number}.tif", image)
    info = inspect_folder([folder], bundle, tmp_path / "run", heatmaps=True)
    assert info.counts["ERROR"] == len(fails)
    for number in set(range(9)) - fails:
        name = f"part{number}.tif"
        inspect_folder([folder / name], bundle, tmp_path / f"run{number}", heatmaps=True)
        together, alone = (
            tifffile.imread(tmp_path / run / "overlays" / f"{name}-heatmap.tif") for run in ("run", f"run{number}")
        )
        np.testing.assert_array_equal(together, alone)
        assert [row for row in table(tmp_path / "run" / "regions.csv") if row["image"] == name] == table(
            tmp_path / f"run{number}" / "regions.csv"
        )


def test_a_file_that_goes_away_costs_one_image(images: Path, bundle: Path, tmp_path: Path) -> None:
    @contextmanager
    def remove_last(title: str, total: int) -> Iterator[Step]:
        (images / "part2.png").unlink()
        yield lambda text: None

    info = inspect_folder([images], bundle, tmp_path / "run", progress=remove_last)
    assert (info.counts["ERROR"], info.counts["images"]) == (1, 3)


# -- bad input: the whole run --------------------------------------------------------------------------------


def test_nothing_to_inspect(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    run_dir = tmp_path / "run"
    for path, message in [
        (tmp_path / "empty", "no image in the folder"),
        (tmp_path / "missing", r"`PATH` \(=.*missing\) does not exist"),
        (tmp_path / "notes.txt", r"`PATH` \(=.*notes.txt\) must be a folder or an image"),
    ]:
        with pytest.raises(UsageError, match=message):
            inspect_folder([path], bundle, run_dir)
    with pytest.raises(UsageError, match="`PATH` is missing"):
        inspect_folder([], bundle, run_dir)
    assert not run_dir.exists()


def test_a_bundle_that_will_not_do(images: Path, bundle: Path, tmp_path: Path) -> None:
    raw = make_bundle(tmp_path / "raw", calibrated=False).folder
    with pytest.raises(UsageError, match=r"`bundle` \(=.*raw\) is not calibrated: run `flawmap calibrate`"):
        inspect_folder([images], raw, tmp_path / "run")
    (raw / "model.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"was changed after it was sealed: model\.onnx"):
        inspect_folder([images], raw, tmp_path / "run")
    with pytest.raises(UsageError, match=r"`--false-alarms` \(=0\)"):
        inspect_folder([images], bundle, tmp_path / "run", false_alarms=0)
    assert not (tmp_path / "run").exists()


def test_an_output_folder_that_cannot_be_made(images: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for run_dir in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/flawmap")):
        with pytest.raises(UsageError, match=rf"`-o` \(={run_dir}\) cannot be written: "):
            inspect_folder([images], bundle, run_dir)


@contextmanager
def a_user_without_rights() -> Iterator[None]:
    """Root may read and write everything: these tests become nobody for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own; gone afterwards."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
def test_permissions(images: Path, bundle: Path, public: Path) -> None:
    shutil.copytree(images, public / "images")
    shutil.copytree(bundle, public / "bundle")
    (public / "images" / "part1.png").chmod(0)
    (public / "locked").mkdir(mode=0o555)
    (public / "open").mkdir()
    (public / "open").chmod(0o777)
    with a_user_without_rights():
        with pytest.raises(UsageError, match=r"`-o` \(=.*locked\) cannot be written: Permission denied"):
            inspect_folder([public / "images"], public / "bundle", public / "locked")
        info = inspect_folder([public / "images"], public / "bundle", public / "open")
    assert info.counts == {"images": 3, "regions": 2, "dropped": 0, "OK": 1, "REVIEW": 0, "NG": 1, "ERROR": 1}
    assert "permission" in rows(public / "open")["part1.png"]["error"]


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(images: Path, bundle: Path, tmp_path: Path) -> None:
    for number in range(3, 9):
        write_image(images / f"part{number}.png", good_image(120, 160, seed=number, defects=3))
    expected = inspect_folder([images], bundle, tmp_path / "undisturbed")
    with small_disk(tmp_path / "disk", "300k") as disk:
        run_dir = disk / "run"
        with pytest.raises(
            InspectionStoppedError, match=r"the disk that holds `-o` \(=.*run\) is full .*make room"
        ) as e:
            inspect_folder([images], bundle, run_dir)
        assert e.value.exit_code == 3
        done = set(tree(run_dir / "regions"))
        assert 0 < len(done) < expected.counts["images"]
        subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
        before = {name: time for name, time in tree(run_dir / "regions").items() if name in done}
        inspect_folder([images], bundle, run_dir)
        assert tables(run_dir) == tables(tmp_path / "undisturbed")
        assert before.items() <= tree(run_dir / "regions").items()


def test_a_disk_that_is_full_from_the_start(images: Path, bundle: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        with pytest.raises(OSError) as full:
            (disk / "filler").write_bytes(bytes(2**20))
        assert full.value.errno == errno.ENOSPC
        with pytest.raises(InspectionStoppedError, match="is full"):
            inspect_folder([images], bundle, disk / "run")


# -- memory --------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_folder(tmp_path: Path) -> None:
    """40 images of 2048 px: the last twenty together hold not three heatmaps (of 16 MiB) more than the first twenty.

    Fewer may be held by chance: ONNX Runtime's arena and each of the threads that share the work keep some for later,
    which takes a while to settle. What is free otherwise is given back before it is looked at.
    """
    bundle = make_bundle(tmp_path / "bundle", tile_size=512, overlap=32).folder
    folder = tmp_path / "images"
    folder.mkdir()
    write_image(tmp_path / "part.bmp", good_image(2048, 2048, defects=5))
    for number in range(40):
        os.link(tmp_path / "part.bmp", folder / f"part{number}.bmp")
    resident: list[int] = []

    @contextmanager
    def measure(title: str, total: int) -> Iterator[Step]:
        process = psutil.Process()

        def step(text: str) -> None:
            with suppress(OSError, AttributeError):  # not glibc
                ctypes.CDLL(None).malloc_trim(0)
            resident.append(process.memory_info().rss)

        yield step

    info: RunInfo = inspect_folder([folder], bundle, tmp_path / "run", progress=measure)
    assert (info.counts["images"], info.counts["ERROR"]) == (40, 0)
    assert max(resident[20:]) - max(resident[:20]) < 3 * 16 * 2**20


FORMULAS = ["=1+1.png", "@SUM(A1).png", "+5V.png", "-rf.png", "\tx.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_no_name_is_a_formula_in_a_spreadsheet(bundle: Path, tmp_path: Path) -> None:
    """Both tables say it with an apostrophe, as a person would type it there; records have the name as it is."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in (*FORMULAS, "a=b.png"):
        write_image(folder / name, good_image(60, 70, seed=1, defects=1))
    inspect_folder([folder], bundle, tmp_path / "run")
    for name in ("images.csv", "regions.csv"):
        images = {row["image"] for row in table(tmp_path / "run" / name)}
        assert images == {"a=b.png", *(f"'{name}" for name in FORMULAS)}
    records = {read_record(path).image for path in (tmp_path / "run" / "regions").iterdir()}  # type: ignore[union-attr]
    assert records == {"a=b.png", *FORMULAS}
