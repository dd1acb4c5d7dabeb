"""A run with a recipe that was stopped, or is given again: no part is OK before all its images are."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flawmap.export.bundle import update_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.report.page import write_page
from flawmap.inspect.run.record_files import read_run_info
from flawmap.tiling.errors import UsageError
from tests.bundles import calibration
from tests.interruptions import ctrl_c_after
from tests.run_tables import everything, tree, verdicts
from tests.stations import add_image, write_recipe


def test_another_recipe_or_bundle_in_the_same_folder_is_refused(station: Path, mixed: Path, tmp_path: Path) -> None:
    copy, run_dir = tmp_path / "station", tmp_path / "run"
    shutil.copytree(station, copy)
    recipe = write_recipe(copy)
    inspect_folder([mixed], recipe, run_dir)
    records = tree(run_dir / "regions")
    recipe.write_text("# a remark changes nothing\n" + recipe.read_text())
    inspect_folder([mixed], recipe, run_dir)
    assert tree(run_dir / "regions") == records
    with pytest.raises(
        UsageError, match=r"holds another run: `expected of the recipe` was \['top', .*\], is \['top'\]"
    ):
        inspect_folder([mixed], write_recipe(copy, expected=["top"]), run_dir)
    with pytest.raises(UsageError, match=r"`bundle of camera top` was [0-9a-f]{12}, is None; .*`bundle` was None, is"):
        inspect_folder([mixed], copy / "top.bundle", run_dir)
    write_recipe(copy)
    update_bundle(copy / "side.bundle", calibration=calibration(grow=3.0))
    with pytest.raises(
        UsageError, match=r"holds another run: `bundle of camera side\*` was [0-9a-f]{12}, is [0-9a-f]{12}\. "
    ):
        inspect_folder([mixed], recipe, run_dir)
    inspect_folder([mixed], copy / "top.bundle", run_dir, fresh=True)
    inspect_folder([mixed], copy / "top.bundle", tmp_path / "undisturbed")
    assert set(tree(run_dir)) == set(tree(tmp_path / "undisturbed"))  # parts.csv went, too


def test_a_part_that_is_broken_off_is_not_ok(station: Path, mixed: Path, tmp_path: Path) -> None:
    recipe, run_dir = write_recipe(station, expected=None), tmp_path / "run"

    with pytest.raises(KeyboardInterrupt):
        inspect_folder([mixed], recipe, run_dir, progress=ctrl_c_after(5))
    assert verdicts(run_dir) == {"A": "OK", "B": "ERROR"}  # of B the top is yet to come
    info = read_run_info(run_dir)
    assert info is not None and info.recipe is not None
    assert info.recipe.unfinished == ["B", "C", "D"]
    assert "not all of its images have been inspected" in write_page(run_dir).read_text("utf-8")
    inspect_folder([mixed], recipe, run_dir)
    assert verdicts(run_dir) == {"A": "OK", "B": "NG", "C": "NG", "D": "OK"}  # nothing is expected of D


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_and_continued(station: Path, tmp_path: Path) -> None:
    recipe, folder, run_dir = write_recipe(station), tmp_path / "images", tmp_path / "run"
    for number in range(6):
        for camera in ("top", "side1", "side2"):
            add_image(folder, f"P{number}", camera, defects=number % 3)
    (folder / "P4_side1.png").write_bytes(b"not an image")
    shutil.copy(folder / "P1_top.png", folder / "stray.png")
    inspect_folder([folder], recipe, tmp_path / "undisturbed")
    command = [Path(sys.executable).with_name("flawmap"), "inspect", folder, "-m", recipe, "-o", run_dir]
    moments, kills = random.Random(0), 0

    def n_records() -> int:
        return len(list((run_dir / "regions").glob("[!.]*.json")))

    while n_records() < 17:
        process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        enough = min(n_records() + moments.randint(3, 7), 17)
        while process.poll() is None and n_records() < enough:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 3), said.decode()
        kills += process.returncode != 3
        info = read_run_info(run_dir)
        assert info is not None and info.recipe is not None
        assert info.state == "running" and info.recipe.unfinished
    assert kills >= 2, "the kills came too late to show anything"
    inspect_folder([folder], recipe, run_dir)
    assert everything(run_dir) == everything(tmp_path / "undisturbed")
    assert set(tree(run_dir)) == set(tree(tmp_path / "undisturbed"))
