"""A run that was stopped, changed or is given again: what is done once more, what is kept and what is refused."""

import os
import shutil
from pathlib import Path

import pytest

from flawmap.export.bundle import update_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.lock import locked
from flawmap.inspect.run.record_files import read_record, read_run_info, write_record
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import calibration, good_image
from tests.interruptions import ctrl_c_after
from tests.run_tables import rows, tables, tree


def test_a_finished_run_is_not_done_again(images: Path, bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    inspect_folder([images], bundle, run_dir)
    (run_dir / "metrics.json").write_text("{}")
    records, pictures, said = tree(run_dir / "regions"), tree(run_dir / "overlays"), tables(run_dir)
    info = inspect_folder([images], bundle, run_dir)
    assert (tree(run_dir / "regions"), tree(run_dir / "overlays"), tables(run_dir)) == (records, pictures, said)
    assert info.counts["images"] == 3 and info.milliseconds_median["score"] > 0
    assert (run_dir / "metrics.json").is_file()  # still true


def test_only_what_changed_is_done_again(images: Path, bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    (images / "part3.png").write_bytes(b"")
    assert inspect_folder([images], bundle, run_dir).counts["ERROR"] == 1
    before = tree(run_dir / "regions")
    write_image(images / "part3.png", good_image(120, 160, seed=7))  # could not be inspected: tried again
    write_image(images / "part2.png", good_image(120, 160, seed=8))  # had two regions, has none now
    write_image(images / "part4.png", good_image(120, 160, seed=9))  # new
    (images / "part1.png").unlink()  # gone
    (run_dir / "metrics.json").write_text("{}")  # holds no more
    info = inspect_folder([images], bundle, run_dir)
    after = tree(run_dir / "regions")
    assert {name for name in after if after[name] == before.get(name)} == {"part0.png.json"}
    assert info.counts == {"images": 4, "regions": 0, "dropped": 0, "OK": 4, "REVIEW": 0, "NG": 0, "ERROR": 0}
    inspect_folder([images], bundle, tmp_path / "undisturbed")
    assert tables(run_dir) == tables(tmp_path / "undisturbed")
    assert set(tree(run_dir)) == set(tree(tmp_path / "undisturbed"))  # no picture of a region that is no more


def test_what_could_not_be_inspected_is_tried_again(images: Path, bundle: Path, tmp_path: Path) -> None:
    """Even if the file is the same: the machine may have been short of memory."""
    run_dir = tmp_path / "run"
    inspect_folder([images], bundle, run_dir)
    said = tables(run_dir)
    record = read_record(run_dir / "regions" / "part1.png.json")
    assert record is not None
    failed = record.model_copy(update={"verdict": "ERROR", "error": "MemoryError: ", "regions": []})
    write_record(run_dir, "part1.png", failed)
    assert inspect_folder([images], bundle, run_dir).counts["ERROR"] == 0
    assert tables(run_dir) == said


@pytest.mark.parametrize("content", ["", "{", '{"image": "part1.png"}', "null"])
def test_a_broken_record_is_made_again(images: Path, bundle: Path, tmp_path: Path, content: str) -> None:
    run_dir = tmp_path / "run"
    inspect_folder([images], bundle, run_dir)
    said = tables(run_dir)
    (run_dir / "regions" / "part1.png.json").write_text(content)
    inspect_folder([images], bundle, run_dir)
    assert tables(run_dir) == said


def test_another_run_in_the_same_folder_is_refused(images: Path, bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    inspect_folder([images], bundle, run_dir)
    before = tree(run_dir)
    ways_out = "Give `--fresh` to remove its results and start over, or another folder"
    with pytest.raises(UsageError, match=rf"holds another run: `false_alarms` was 0\.1, is 0\.01\. {ways_out}"):
        inspect_folder([images], bundle, run_dir, false_alarms=0.01)
    with pytest.raises(UsageError, match=rf"holds another run: `heatmaps` was False, is True\. {ways_out}"):
        inspect_folder([images], bundle, run_dir, heatmaps=True)
    with pytest.raises(UsageError, match=r"holds another run: `paths` was .*, is .*part0\.png"):
        inspect_folder([images / "part0.png"], bundle, run_dir)
    shutil.copytree(bundle, tmp_path / "other")
    update_bundle(tmp_path / "other", calibration=calibration(grow=3.0))
    with pytest.raises(
        UsageError, match=rf"holds another run: `bundle` was [0-9a-f]{{12}}, is [0-9a-f]{{12}}\. {ways_out}"
    ):
        inspect_folder([images], tmp_path / "other", run_dir)
    assert tree(run_dir) == before
    inspect_folder([images], bundle, run_dir, workers=3)  # decides nothing
    info = inspect_folder([images], tmp_path / "other", run_dir, fresh=True)
    assert info.thresholds["grow"] == 3.0


def test_fresh_removes_what_flawmap_wrote_and_nothing_else(images: Path, bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    inspect_folder([images], bundle, run_dir, heatmaps=True)
    mine = {"notes.txt", "overlays/part1.png-1.svg", "overlays/mine.jpg", "regions/mine.json", "archive/images.csv"}
    for name in mine:
        (run_dir / name).parent.mkdir(exist_ok=True)
        (run_dir / name).write_text("{}")
    (run_dir / "metrics.json").write_text("{}")
    (images / "part2.png").unlink()
    (run_dir / "regions" / "mine.json").rename(run_dir / "regions" / "mine.txt")
    mine = mine - {"regions/mine.json"} | {"regions/mine.txt"}
    inspect_folder([images], bundle, run_dir, fresh=True)
    inspect_folder([images], bundle, tmp_path / "undisturbed")
    assert set(tree(run_dir)) == set(tree(tmp_path / "undisturbed")) | mine
    assert tables(run_dir) == tables(tmp_path / "undisturbed")


@pytest.mark.parametrize("fresh", [False, True])
def test_a_run_json_of_somebody_else_is_left_alone(images: Path, bundle: Path, tmp_path: Path, fresh: bool) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "run.json").write_text('{"npm": "run"}')
    with pytest.raises(UsageError, match=r"holds a run\.json that this flawmap (cannot read|did not write)"):
        inspect_folder([images], bundle, run_dir, fresh=fresh)
    assert (run_dir / "run.json").read_text() == '{"npm": "run"}'


def test_two_processes_do_not_share_a_run_folder(images: Path, bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with (
        locked(run_dir),
        pytest.raises(UsageError, match=rf"`-o` \(=.*run\) is in use by another flawmap \(process {os.getpid()}\)"),
    ):
        inspect_folder([images], bundle, run_dir)
    inspect_folder([images], bundle, run_dir)


def test_ctrl_c_keeps_what_is_done(images: Path, bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"

    with pytest.raises(KeyboardInterrupt):
        inspect_folder([images], bundle, run_dir, progress=ctrl_c_after(2))
    info = read_run_info(run_dir)
    assert info is not None and (info.state, info.counts["images"]) == ("interrupted", 2)
    assert list(rows(run_dir)) == ["part0.png", "part1.png"]
    assert (run_dir / "index.html").is_file()
    before = tree(run_dir / "regions")
    assert inspect_folder([images], bundle, run_dir).state == "finished"
    assert before.items() < tree(run_dir / "regions").items()
    inspect_folder([images], bundle, tmp_path / "undisturbed")
    assert tables(run_dir) == tables(tmp_path / "undisturbed")
