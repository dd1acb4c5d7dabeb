"""The watcher as a line uses it: the installed command, cameras that drop pictures, a PLC that takes results away."""

import base64
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import cv2
import pytest

from flawmap.inspect.line.arrivals import Patience
from flawmap.inspect.line.part_result import PartResult
from flawmap.inspect.line.stop import Stop
from flawmap.inspect.run.record_files import read_run_info
from flawmap.inspect.watch.folder import watch_folder
from flawmap.inspect.watch.loop import WatchSettings
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image, write_image
from tests.bundles import good_image, make_bundle
from tests.test_cli import FLAWMAP, run
from tests.test_folder import rows, table

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")

HASTE = ["--poll", "0.2", "--settle", "0.3", "--give-up", "4"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "toy").folder


RUNNING: list["Watcher"] = []


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """Also where a test fails."""
    yield
    for watcher in RUNNING:
        if watcher.process.poll() is None:
            watcher.kill()
    RUNNING.clear()


class Watcher:
    """`flawmap watch` as a process."""

    def __init__(self, folder: Path, model: Path, run_dir: Path, *options: str) -> None:
        self.run_dir = run_dir
        command = [str(FLAWMAP), "watch", str(folder), "-m", str(model), "-o", str(run_dir), *HASTE, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        RUNNING.append(self)

    def stop(self, number: int = signal.SIGTERM) -> tuple[str, str]:
        self.process.send_signal(number)
        return self.process.communicate(timeout=60)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def wait_until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def results(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Part -> its result file."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (run_dir / "results").glob("*.json")]
    return {result["partId"]["id"]: result for result in found}


def verdicts(run_dir: Path) -> dict[str, str]:
    return {part: result["resultContent"][0]["verdict"] for part, result in results(run_dir).items()}


class Plc:
    """Takes result files away as soon as they are there, and keeps them."""

    def __init__(self, run_dir: Path) -> None:
        self.taken: list[dict[str, Any]] = []
        self._folder = run_dir / "results"
        self._ends = False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Plc":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join()

    def _run(self) -> None:
        while not self._ends:
            for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
                self.taken.append(json.loads(path.read_text(encoding="utf-8")))  # whole, or this fails
                path.unlink()
            time.sleep(0.01)


# -- a thousand pictures -------------------------------------------------------------------------------------


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


def complete_while_read(monkeypatch: pytest.MonkeyPatch, rest: dict[str, bytes]) -> None:
    """The rest of a picture comes after the watcher has asked for its size, and before it reads: a moment, for real."""

    def read_picture(path: Path, *reading: Any) -> Any:
        if data := rest.pop(path.name, b""):
            with path.open("ab") as file:
                file.write(data)
        return read_image(path, *reading)

    monkeypatch.setattr("flawmap.inspect.read_ahead.read_image", read_picture)


@pytest.mark.parametrize("give_up", [0.2, 30.0])
def test_one_that_is_completed_while_it_is_read_has_one_result(
    bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, give_up: float
) -> None:
    data = cv2.imencode(".png", good_image(40, 50, seed=1, defects=3))[1].tobytes()
    (folder / "a.png").write_bytes(data[:-20])
    complete_while_read(monkeypatch, {"a.png": data[-20:]})
    given: list[tuple[str, str]] = []
    settings = WatchSettings(patience=Patience(0.2, give_up), poll=0.1)
    bell: SimpleQueue[str] = SimpleQueue()
    stop = Stop(bell)

    def tell(result: PartResult) -> None:
        given.append((result.part_id.id, result.result_content[0].verdict))

    arguments = (folder, bundle, tmp_path / "run", stop, bell)
    watcher = threading.Thread(target=watch_folder, args=arguments, kwargs={"settings": settings, "tell": tell})
    watcher.start()
    wait_until(lambda: bool(given))
    time.sleep(1.0)  # nothing more may come
    stop.ask()
    watcher.join()
    assert given == [("a.png", "NG")]


# -- one picture, one part -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "camera").mkdir()
    return tmp_path / "camera"


def drop(folder: Path, name: str, *, seed: int = 0, defects: int = 0, **kind: Any) -> Path:
    """A picture, renamed into place."""
    plain = folder.parent / f"next-{name}"
    write_image(plain, good_image(40, 50, seed=seed, defects=defects, **kind))
    return plain.rename(folder / name)


def test_a_result_has_the_fields_of_opc_40100(bundle: Path, folder: Path, tmp_path: Path) -> None:
    drop(folder, "SN1.png", seed=1, defects=3)
    watcher = Watcher(folder, bundle, tmp_path / "run")
    wait_until(lambda: "SN1.png" in results(tmp_path / "run"))
    out, errors = watcher.stop(signal.SIGINT)
    assert watcher.process.returncode == 0, errors
    assert "SN1.png: NG, severity " in out
    result = results(tmp_path / "run")["SN1.png"]
    assert set(result) == {
        "resultId", "isPartial", "isSimulated", "resultState", "partId", "internalRecipeId", "internalConfigurationId",
        "jobId", "creationTime", "processingTimes", "resultContent",
    }  # fmt: skip
    assert (result["isPartial"], result["isSimulated"], result["resultState"]) == (False, False, 1)
    assert set(result["internalRecipeId"]) == {"id", "version", "hash", "hashAlgorithm"}
    assert set(result["processingTimes"]) == {"startTime", "endTime", "processingDuration"}
    info = read_run_info(tmp_path / "run")
    assert info is not None and result["internalRecipeId"]["id"] == "toy"
    digest = base64.b64decode(result["internalRecipeId"]["hash"]).hex()
    assert digest == info.bundle_sha256 and digest.startswith(result["internalRecipeId"]["version"])
    start, end, created = (
        datetime.fromisoformat(moment)
        for moment in (*list(result["processingTimes"].values())[:2], result["creationTime"])
    )
    assert start <= end <= created and created.utcoffset() == timedelta(0)
    (content,) = result["resultContent"]
    row = rows(tmp_path / "run")["SN1.png"]
    assert (content["verdict"], content["severity"]) == (row["verdict"], float(row["severity"]))
    (image,) = content["images"]
    assert (image["image"], image["nRegions"]) == ("SN1.png", int(row["n_regions"]))
    region = table(tmp_path / "run" / "regions.csv")[0]
    assert image["regions"][0]["xMin"] == int(region["x_min"])
    assert (tmp_path / "run" / "parts" / "SN1.png.json").read_bytes() == (
        tmp_path / "run" / "results" / "SN1.png.json"
    ).read_bytes()


def test_oldest_first_and_nothing_again_after_a_stop(bundle: Path, folder: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    for number in range(6):
        os.utime(drop(folder, f"part{number}.png", seed=number), (10 - number, 10 - number))
    with Plc(run_dir) as plc:
        first = Watcher(folder, bundle, run_dir)
        wait_until(lambda: len(plc.taken) == 6)
        first.stop()
        drop(folder, "new.png")
        second = Watcher(folder, bundle, run_dir, "--workers", "3")
        wait_until(lambda: len(plc.taken) == 7)
        second.stop()
    names = [result["partId"]["id"] for result in plc.taken]
    assert sorted(names[:6]) == [f"part{number}.png" for number in range(6)] and names[6:] == ["new.png"]
    assert list(rows(run_dir)) == [f"part{number}.png" for number in range(5, -1, -1)] + ["new.png"]
    jobs = {result["jobId"]["id"] for result in plc.taken}
    assert len(jobs) == 2


def test_a_picture_that_is_written_over_has_a_result_of_its_own(bundle: Path, folder: Path, tmp_path: Path) -> None:
    """Cameras with one name for all pictures; with one for each, nothing is ever lost from the tables."""
    run_dir = tmp_path / "run"
    with Plc(run_dir) as plc:
        watcher = Watcher(folder, bundle, run_dir)
        for number, defects in enumerate((0, 3, 0)):
            drop(folder, "image.png", seed=number, defects=defects)
            wait_until(lambda number=number: len(plc.taken) == number + 1)
        watcher.stop()
    assert [result["resultContent"][0]["verdict"] for result in plc.taken] == ["OK", "NG", "OK"]
    assert len({result["resultId"]["id"] for result in plc.taken}) == 3
    assert rows(run_dir)["image.png"]["verdict"] == "OK"


def test_markers_and_hostile_names(bundle: Path, folder: Path, tmp_path: Path) -> None:
    names = ["a b.png", "Ä-ö.png", os.fsdecode(b"\xff.png"), "{}$(x).png"]
    for name in names:
        drop(folder, name)
    watcher = Watcher(folder, bundle, tmp_path / "run", "--done-marker")
    for name in names:
        (folder / f"{name}.done").touch()
    wait_until(lambda: len(results(tmp_path / "run")) == len(names))
    watcher.stop()
    assert set(results(tmp_path / "run")) == set(names)


def test_without_watchdog_it_looks(bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "without" / "watchdog").mkdir(parents=True)
    (tmp_path / "without" / "watchdog" / "__init__.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    watcher = Watcher(folder, bundle, tmp_path / "run")
    drop(folder, "a.png")
    wait_until(lambda: "a.png" in results(tmp_path / "run"))
    _, errors = watcher.stop()
    assert "note: watchdog is not installed, pictures are found by looking only: pip install 'flawmap[watch]'" in errors


def test_it_says_when_the_takt_is_not_met(bundle: Path, folder: Path, tmp_path: Path) -> None:
    drop(folder, "a.png")
    drop(folder, "b.png")
    watcher = Watcher(folder, bundle, tmp_path / "run", "--takt", "0.0001")
    wait_until(lambda: len(results(tmp_path / "run")) == 2)
    _, errors = watcher.stop()
    (said,) = [line for line in errors.splitlines() if "takt" in line]  # not once a picture
    assert re.search(
        r"note: takt not met: \S+ took \d+\.\d\d s from complete to result \(takt 0\.0001 s\), \d wait", said
    )


def test_systemd_is_told(bundle: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real protocol: datagrams to the socket that NOTIFY_SOCKET names."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        watcher = Watcher(folder, bundle, tmp_path / "run")
        heard = systemd.recv(1000).decode()
        assert heard == "READY=1"
        heard = systemd.recv(1000).decode() + systemd.recv(1000).decode()
        assert heard.count("WATCHDOG=1") == 2 and "STATUS=0 results, 0 pictures wait" in heard
        watcher.process.send_signal(signal.SIGTERM)
        while heard != "STOPPING=1":
            heard = systemd.recv(1000).decode()
        watcher.process.communicate(timeout=30)


# -- parts of several cameras --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    station = tmp_path_factory.mktemp("station")
    make_bundle(station / "top.bundle")
    make_bundle(station / "side.bundle", channels=3, dtype="uint16")
    path = station / "lid.yaml"
    path.write_text(
        "part: '{part}_{camera}.png'\n"
        "models: [{camera: top, bundle: top.bundle}, {camera: side, bundle: side.bundle}]\n"
        "expected: [top, side]\n"
        "ignore: ['*_preview.png']\n"
    )
    return path


SIDE: dict[str, Any] = {"channels": 3, "dtype": "uint16"}


def test_a_part_has_one_result_when_its_cameras_have_seen_it(recipe: Path, folder: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    with Plc(run_dir) as plc:
        watcher = Watcher(folder, recipe, run_dir)
        drop(folder, "A_top.png")
        drop(folder, "B_side.png", **SIDE, seed=4, defects=3)
        drop(folder, "A_preview.png")
        drop(folder, "dark.png")  # belongs to no part
        wait_until(lambda: len(list((run_dir / "regions").glob("*.json"))) == 3)
        watcher.kill()
        watcher = Watcher(folder, recipe, run_dir)
        drop(folder, "A_side.png", **SIDE)
        drop(folder, "B_top.png")
        wait_until(lambda: len(plc.taken) == 3)
        watcher.stop()
    taken = {result["partId"]["id"]: result["resultContent"][0] for result in plc.taken}
    assert {part: content["verdict"] for part, content in taken.items()} == {"A": "OK", "B": "NG", "dark.png": "ERROR"}
    assert [image["camera"] for image in taken["B"]["images"]] == ["side", "top"]
    assert "its name does not fit `part`" in taken["dark.png"]["error"]
    table_of_parts = {row["part"]: row for row in table(run_dir / "parts.csv")}
    assert {part: row["verdict"] for part, row in table_of_parts.items()} == {"A": "OK", "B": "NG"}
    for part, row in table_of_parts.items():
        assert float(row["severity"]) == taken[part]["severity"]


def test_a_part_that_waits_too_long_is_an_error(recipe: Path, folder: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    watcher = Watcher(folder, recipe, run_dir, "--part-timeout", "0.5")
    drop(folder, "A_top.png")
    wait_until(lambda: "A" in results(run_dir))
    drop(folder, "A_side.png", **SIDE)
    wait_until(lambda: (run_dir / "regions" / "A_side.png.json").is_file())
    _, errors = watcher.stop()
    (content,) = results(run_dir)["A"]["resultContent"]
    assert (content["verdict"], content["severity"], content["missingCameras"]) == ("ERROR", None, ["side"])
    assert content["error"] == "no picture of side"
    assert "A_side.png (OK) came after the result of its part A was given" in errors
    assert {row["part"]: row["verdict"] for row in table(run_dir / "parts.csv")} == {"A": "OK"}  # what is known now


def test_a_second_picture_of_one_camera_is_an_error(recipe: Path, folder: Path, tmp_path: Path) -> None:
    (folder / "lot").mkdir()
    watcher = Watcher(folder, recipe, tmp_path / "run")
    drop(folder, "A_top.png")
    wait_until(lambda: (tmp_path / "run" / "regions" / "A_top.png.json").is_file())
    write_image(folder / "lot" / "A_top.png", good_image(40, 50))
    drop(folder, "A_side.png", **SIDE)
    wait_until(lambda: "A" in results(tmp_path / "run") and len(list((tmp_path / "run" / "regions").iterdir())) == 3)
    watcher.stop()
    errors = {row["image"]: row["error"] for row in rows(tmp_path / "run").values() if row["verdict"] == "ERROR"}
    assert list(errors) == ["lot/A_top.png"]
    assert "part `A` has another picture of camera `top`: `A_top.png`" in errors["lot/A_top.png"]


# -- refused -------------------------------------------------------------------------------------------------


def watch(folder: Path, model: Path, run_dir: Path, **settings: Any) -> None:
    """In this process; for what never comes to watch anything."""
    bell: SimpleQueue[str] = SimpleQueue()
    watch_folder(folder, model, run_dir, Stop(bell), bell, settings=WatchSettings(**settings))


def test_what_is_refused(bundle: Path, recipe: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UsageError, match=r"`FOLDER` \(=.*none\) does not exist"):
        watch(folder / "none", bundle, out)
    for option, name in (("--poll", "poll"), ("--takt", "takt"), ("--part-timeout", "part_timeout")):
        with pytest.raises(UsageError, match=rf"`{option}` \(=0\) must lie above 0 and be at most 86400 s"):
            watch(folder, bundle, out, **{name: 0.0})
    with pytest.raises(UsageError, match=r"`--settle` \(=90000\) must lie above 0"):
        watch(folder, bundle, out, patience=Patience(90000, 90001))
    with pytest.raises(UsageError, match=r"`--give-up` \(=0.1\) must not be less than `--settle` \(=0.5\)"):
        watch(folder, bundle, out, patience=Patience(0.5, 0.1))
    with pytest.raises(UsageError, match=r"`--workers` \(=0\) must be at least 1"):
        watch(folder, bundle, out, workers=0)
    with pytest.raises(UsageError, match=r"`-o` \(=.*camera\) must not be `FOLDER` \(=.*camera\), nor hold it"):
        watch(folder, bundle, folder)
    loose = recipe.with_name("loose.yaml")
    loose.write_text(recipe.read_text().replace("expected: [top, side]\n", ""))
    with pytest.raises(UsageError, match=r"`expected` is missing: it says when a part has all its pictures"):
        watch(folder, loose, out)
    done = run("watch", folder, "-m", bundle, "-o", out, "--mqtt", "host")
    assert done.returncode == 2
    assert "`--mqtt` (=host) must look like mqtt://[user@]host[:port]/topic, or mqtts:// for TLS" in done.stderr


def test_a_run_folder_belongs_to_one_watcher_and_one_model(bundle: Path, folder: Path, tmp_path: Path) -> None:
    drop(folder, "a.png")
    watcher = Watcher(folder, bundle, tmp_path / "run")
    wait_until(lambda: "a.png" in results(tmp_path / "run"))
    with pytest.raises(UsageError, match="is in use by another flawmap"):
        watch(folder, bundle, tmp_path / "run")
    watcher.stop()
    with pytest.raises(UsageError, match=r"holds another run: `heatmaps` was False, is True\. Give another folder"):
        watch(folder, bundle, tmp_path / "run", heatmaps=True)
