"""A thousand pictures, dropped in all the ways there are while the watcher is killed: each has exactly one result."""

import os
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from flawmap.inspect.run.record_files import read_run_info
from tests.bundles import good_image
from tests.command_line import wait_until
from tests.run_tables import rows
from tests.watching import Plc, Watcher

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
    pytest.mark.usefixtures("nothing_is_left_running"),
]


def write_plainly(target: Path, data: bytes, moments: random.Random) -> None:
    target.write_bytes(data)


def write_slowly(target: Path, data: bytes, moments: random.Random) -> None:
    with target.open("wb", buffering=0) as file:
        for i in range(0, len(data), len(data) // 4 + 1):
            file.write(data[i : i + len(data) // 4 + 1])
            time.sleep(moments.uniform(0, 0.5))


def write_in_pieces(target: Path, data: bytes, moments: random.Random) -> None:
    """Closed after every piece: the system's word that it is complete is wrong."""
    for i in range(0, len(data), len(data) // 3 + 1):
        with target.open("ab") as file:
            file.write(data[i : i + len(data) // 3 + 1])
        time.sleep(moments.uniform(0, 0.6))


def rename_in(target: Path, data: bytes, moments: random.Random) -> None:
    part = target.with_name(f"{target.name}.part")
    part.write_bytes(data)
    part.rename(target)


def copy_in(target: Path, data: bytes, moments: random.Random) -> None:
    """As `cp -p` does: the time of the original is set once the copy is closed."""
    origin = target.parent.parent / "origin" / target.name
    origin.parent.mkdir(exist_ok=True)
    origin.write_bytes(data)
    os.utime(origin, (1_600_000_000, 1_600_000_000 + moments.random()))
    shutil.copy2(origin, target)


WAYS = (write_plainly, write_slowly, write_in_pieces, rename_in, copy_in)


def pictures(count: int) -> Iterator[tuple[str, bytes, str | None]]:
    """(name, bytes, verdict); the verdict of the good ones is None, they may show a false alarm."""
    for number in range(count):
        defects = 3 * (number % 5 == 1)
        data = cv2.imencode(".png", good_image(40, 50, seed=number, defects=defects))[1].tobytes()
        if number % 25 == 7:
            yield f"part{number}.png", b"no image at all", "ERROR"
        elif number % 25 == 19:
            yield f"part{number}.png", data[:-20], "ERROR"
        else:
            yield f"part{number}.png", data, "NG" if defects else None


def drop_all(folder: Path, count: int, seconds: float) -> None:
    """Eight cameras drop `count` pictures at random moments of `seconds`, each in a way of its own."""
    moments = random.Random(0)
    work = [(moments.uniform(0, seconds), moments.choice(WAYS), name, data) for name, data, _ in pictures(count)]
    start = time.monotonic()

    def camera(mine: list[Any]) -> None:
        own = random.Random(1)
        for moment, way, name, data in sorted(mine, key=lambda one: one[0]):
            time.sleep(max(0.0, start + moment - time.monotonic()))
            way(folder / name, data, own)

    cameras = [threading.Thread(target=camera, args=(work[i::8],)) for i in range(8)]
    for thread in cameras:
        thread.start()
    for thread in cameras:
        thread.join()


@pytest.mark.parametrize(("count", "seconds"), [(100, 4.0), pytest.param(1000, 40.0, marks=pytest.mark.slow)])
def test_every_picture_has_exactly_one_result(bundle: Path, tmp_path: Path, count: int, seconds: float) -> None:
    """Some are there before, the rest comes while the watcher is killed twice, as no signal handler can know."""
    folder, run_dir = tmp_path / "camera", tmp_path / "run"
    folder.mkdir()
    expected = {name: verdict for name, _, verdict in pictures(count)}
    cameras = threading.Thread(target=drop_all, args=(folder, count, seconds))
    with Plc(run_dir) as plc:
        cameras.start()
        for share in (0.2, 0.55):
            watcher = Watcher(folder, bundle, run_dir)
            wait_until(lambda share=share: len(plc.taken) >= share * count, 300)
            watcher.kill()
        watcher = Watcher(folder, bundle, run_dir)
        cameras.join()
        wait_until(lambda: len(plc.taken) >= count, 300)
        time.sleep(1.0)  # nothing more may come
        out, errors = watcher.stop()
    assert watcher.process.returncode == 0, errors
    taken = Counter(result["partId"]["id"] for result in plc.taken)
    assert taken == Counter(expected.keys())
    assert len({result["resultId"]["id"] for result in plc.taken}) == count
    for result in plc.taken:
        verdict, (content,) = expected[result["partId"]["id"]], result["resultContent"]
        assert content["verdict"] == verdict or (verdict is None and content["verdict"] != "ERROR"), content
        assert (content["verdict"] == "ERROR") == bool(content["error"]) == (result["resultState"] == 4)
    # What `flawmap inspect` would have left: a row an image, a record an image, nothing half done.
    table = rows(run_dir)
    assert set(table) == set(expected)
    info = read_run_info(run_dir)
    assert info is not None and (info.state, info.counts["images"]) == ("finished", count)
    assert f"stopped; {count} images" in out
    assert len(list((run_dir / "parts").iterdir())) == len(list((run_dir / "regions").iterdir())) == count
    assert list((run_dir / ".outgoing").iterdir()) == list((run_dir / "results").iterdir()) == []
    assert (run_dir / "index.html").is_file()
