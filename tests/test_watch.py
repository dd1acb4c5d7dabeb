"""The watcher as a line uses it: the installed command, cameras that drop pictures, a PLC that takes results away."""

import base64
import os
import re
import signal
import socket
import sys
import threading
import time
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
from tests.command_line import run, wait_until
from tests.run_tables import rows, table
from tests.watching import Plc, Watcher, drop, results

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
    pytest.mark.usefixtures("nothing_is_left_running"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "camera").mkdir()
    return tmp_path / "camera"


# -- one picture, one part -----------------------------------------------------------------------------------


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
