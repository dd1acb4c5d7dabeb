"""Killed anywhere and started again, a run ends with the tables of one that nobody disturbed."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.record_files import read_run_info
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle
from tests.run_tables import tables

COUNT = 30
INSPECT = """
import sys
from pathlib import Path
from flawmap.inspect.folder import inspect_folder
images, bundle, run = map(Path, sys.argv[1:])
inspect_folder([images], bundle, run, heatmaps=True)
"""


def n_records(run_dir: Path) -> int:
    return len(list((run_dir / "regions").glob("*.json")))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_and_continued(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle").folder
    images = tmp_path / "images"
    images.mkdir()
    for number in range(COUNT):
        write_image(images / f"part{number}.png", good_image(100, 140, seed=number, defects=number % 4))
    (images / "part7.png").write_bytes(b"not an image")
    inspect_folder([images], bundle, tmp_path / "undisturbed", heatmaps=True)
    expected = tables(tmp_path / "undisturbed")

    run_dir = tmp_path / "run"
    command = [sys.executable, "-c", INSPECT, str(images), str(bundle), str(run_dir)]
    moments = random.Random(0)
    kills, counts = 0, [0]
    while n_records(run_dir) < COUNT - 4:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        enough = min(n_records(run_dir) + moments.randint(1, 9), COUNT - 1)
        while process.poll() is None and n_records(run_dir) < enough:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.03))  # anywhere between two records
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode in (-signal.SIGKILL, 0), errors.decode()
        kills += process.returncode != 0
        counts.append(n_records(run_dir))
        info = read_run_info(run_dir)
        # The kill may come between the last word of a run and the end of its process, but no sooner.
        assert info is not None and (info.state == "running" or counts[-1] == COUNT)
    assert kills >= 3, "the kills came too late to show anything"
    assert inspect_folder([images], bundle, run_dir, heatmaps=True).state == "finished"
    assert tables(run_dir) == expected
    names = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (run_dir, tmp_path / "undisturbed")]
    assert names[0] == names[1]  # no temporary file is left
