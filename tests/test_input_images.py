"""Which images a run takes and what it calls them; whatever a file system allows as a name ends in the right row."""

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.input_images import LONGEST_NAME, file_name, list_inputs
from flawmap.inspect.run.record_files import read_record, write_record
from flawmap.inspect.run.records import ImageRecord, SourceFile
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle

# What a Linux file name may hold, as Python shows it: any bytes but "/" and 0, undecodable ones as surrogates.
part_names = st.binary(min_size=1, max_size=250).map(lambda b: os.fsdecode(b.replace(b"/", b"-").replace(b"\0", b"-")))
image_names = st.lists(part_names, min_size=1, max_size=3).map("/".join)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def called(paths: list[Path], run_dir: Path) -> list[str]:
    return [entry.image for entry in list_inputs(paths, run_dir)]


# -- names of files ------------------------------------------------------------------------------------------


@given(first=image_names, second=image_names)
def test_names_are_flat_short_and_tell_images_apart(first: str, second: str) -> None:
    for image in (first, second):
        name = file_name(image)
        assert 0 < len(name.encode()) <= LONGEST_NAME  # and so it is Unicode
        assert not set(name) & set('/\\:*?"<>|\0\n')
        assert not name.endswith((".", " "))
        assert name == file_name(image)
    assert (file_name(first) == file_name(second)) == (first == second)


@pytest.mark.parametrize("image", ["part 1.png", "Prüfling-7.TIF", "部品.bmp", "a.b.c.jpg", "#1%20&.png"])
def test_a_plain_name_stays(image: str) -> None:
    assert file_name(image) == image


def test_names_that_look_alike_once_flattened() -> None:
    images = ["a/b.png", "a_b.png", "a:b.png", "a\\b.png", "a?b.png", f"{'x' * 200}1.png", f"{'x' * 200}2.png"]
    assert len({file_name(image) for image in images}) == len(images)


# -- names of images -----------------------------------------------------------------------------------------


def test_images_are_called_as_in_the_folder_given(tmp_path: Path) -> None:
    touch(tmp_path / "in", "b10.png", "b2.png", "sub/a.bmp", "sub/deep/a.png", "notes.txt")
    assert called([tmp_path / "in"], tmp_path / "run") == ["b2.png", "b10.png", "sub/a.bmp", "sub/deep/a.png"]
    assert called([tmp_path / "in" / "sub" / "a.bmp"], tmp_path / "run") == ["a.bmp"]


def test_equal_names_get_their_folder_in_front(tmp_path: Path) -> None:
    touch(tmp_path, "left/1.png", "left/2.png", "right/1.png", "right/3.png")
    paths = [tmp_path / "left", tmp_path / "right"]
    assert called(paths, tmp_path / "run") == ["left/1.png", "left/2.png", "right/1.png", "right/3.png"]
    (tmp_path / "right" / "1.png").unlink()
    assert called(paths, tmp_path / "run") == ["1.png", "2.png", "3.png"]
    touch(tmp_path, "other/left/1.png")
    both = rf"two images would both be called `left/1\.png`: {tmp_path}/left/1\.png and {tmp_path}/other/left/1\.png"
    with pytest.raises(UsageError, match=both):
        list_inputs([tmp_path / "left", tmp_path / "other" / "left"], tmp_path / "run")


def test_a_file_reached_twice_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "in/1.png", "in/2.png")
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / "in" / "2.png", tmp_path / "in", Path("in"), Path("in/../in/1.png")]
    assert called(paths, tmp_path / "run") == ["2.png", "1.png"]
    monkeypatch.chdir(tmp_path / "in")
    assert called([Path()], tmp_path / "run") == ["1.png", "2.png"]


# -- pictures that flawmap wrote -----------------------------------------------------------------------------


def a_run(folder: Path) -> None:
    touch(folder, "run.json", "regions/1.png.json", "overlays/1.png.jpg", "overlays/1.png-1.png", "index.html")


def test_the_run_folder_inside_the_images(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "run/evaluation.png")
    a_run(tmp_path / "run")
    a_run(tmp_path / "older")
    assert called([tmp_path], tmp_path / "run") == ["1.png"]
    assert called([tmp_path], tmp_path / "new" / "run") == ["1.png"]


def test_the_images_inside_the_run_folder(tmp_path: Path) -> None:
    touch(tmp_path, "images/1.png", "2.png")
    a_run(tmp_path)
    assert called([tmp_path / "images"], tmp_path) == ["1.png"]
    assert called([tmp_path], tmp_path) == ["2.png", "images/1.png"]


def test_nothing_but_flawmaps_own_pictures(tmp_path: Path) -> None:
    a_run(tmp_path / "run")
    for path in (tmp_path, tmp_path / "run", tmp_path / "run" / "overlays"):
        with pytest.raises(UsageError, match=r"no image in the folder `.*` but those that flawmap wrote itself"):
            list_inputs([path], tmp_path / "run")


# -- all the way ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no Unicode")
def test_names_of_every_kind_end_in_the_right_row(tmp_path: Path) -> None:
    """Each image has its own number of rows, so that no two can be mixed up."""
    bundle = make_bundle(tmp_path / "bundle").folder
    folder = tmp_path / "images"
    names = [
        "part.png",
        "part.bmp",
        "sub/part.png",
        "sub_part.png",
        "Prüfling «7».png",
        "部品-一.bmp",
        "a,b \"c\" 'd' {e} [f] %20 &amp; <g>.png",
        "new\nline.png",
        os.fsdecode(b"latin-\xe9.png"),
        os.fsdecode(b"latin-\xe8.png"),
        f"{'long' * 60}.png",
        f"{'長' * 80}.bmp",
        "-o.png",
        "CON.jpg",
    ]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        path = tmp_path / f"plain{Path(name).suffix}"
        write_image(path, good_image(30 + number, 40, seed=number))
        path.rename(folder / name)
    run_dir = tmp_path / "run"
    for _ in range(2):  # the second time from the records
        info = inspect_folder([folder], bundle, run_dir)
        assert info.counts["ERROR"] == 0
        with (run_dir / "images.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            heights = {row["image"]: int(row["height"]) for row in csv.DictReader(file)}
        # What a spreadsheet would take for a formula has an apostrophe in front.
        assert heights == {name.replace("-o", "'-o"): 30 + number for number, name in enumerate(names)}
        assert len(list((run_dir / "regions").iterdir())) == len(names)
    for path in run_dir.rglob("*"):
        assert path.name.encode()
    assert b"latin-\xe9.png" in (run_dir / "images.csv").read_bytes()


@given(image=image_names, error=st.text())
def test_records_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, image: str, error: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "records"
    folder.mkdir(exist_ok=True)
    record = ImageRecord(
        image=image,
        verdict="ERROR",
        severity=float(np.float32(0.1)),
        width=3,
        height=2,
        milliseconds={"decode": 1 / 3},
        error=error,
        source=SourceFile(size_bytes=2**40, modified_ns=1_700_000_000_123_456_789),
        regions=[],
    )
    write_record(folder, "one", record)
    assert read_record(folder / "regions" / "one.json") == record
