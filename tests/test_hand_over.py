"""Results go out once, wherever the process is killed; and to a broker, at least once."""

import json
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest

from flawmap.inspect.line.hand_over import HandOver, waiting_results
from flawmap.inspect.line.part_result import Judged, PartResult, ResultWriter
from flawmap.inspect.line.publisher import Publisher, parse_address
from flawmap.inspect.run.layout import OUTGOING, RESULTS
from flawmap.inspect.run.records import ImageRecord, RunInfo, SourceFile
from flawmap.tiling.errors import UsageError
from tests.systemd import check_unit, needs_systemd

UNIT = Path(__file__).parents[1] / "configs" / "flawmap-watch@.service"
RUN = RunInfo(
    state="running", started="", versions={"flawmap": "1.2.3"}, bundle="b", bundle_sha256="ab" * 32, product="lid",
    device="cpu", settings={}, thresholds={}, counts={}, milliseconds_median={},
)  # fmt: skip


def result(part: str, *, inspected: str = "2026-01-02T03:04:05.678+00:00", total: float = 250.0) -> PartResult:
    record = ImageRecord(
        image=f"{part}.png", verdict="OK", severity=-0.25, width=1, height=1, milliseconds={"total": total},
        inspected=inspected, source=SourceFile(size_bytes=1, modified_ns=1), regions=[],
    )  # fmt: skip
    return ResultWriter(RUN).result(Judged(part, "OK", -0.25, 0.7, 1.0, []), [record])


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.json")}


def test_a_result_reads_back_and_says_when() -> None:
    told = result("Ä\udcff")
    assert PartResult.of_text(told.text()) == told
    times = json.loads(told.text())["processingTimes"]
    assert times == {
        "startTime": "2026-01-02T03:04:05.428Z", "endTime": "2026-01-02T03:04:05.678Z", "processingDuration": 250.0,
    }  # fmt: skip


def test_the_way_of_a_result(tmp_path: Path) -> None:
    hand_over = HandOver(tmp_path, publish=True)
    assert not hand_over.has("lot/1") and hand_over.images_of("lot/1") == []
    hand_over.give("lot/1", result("lot/1"))
    assert hand_over.has("lot/1") and hand_over.images_of("lot/1") == ["lot/1.png"]
    assert [path.split("/")[0] for path in sorted(tree(tmp_path))] == ["parts", "publish", "results"]
    hand_over.take_back("lot/1")
    assert not hand_over.has("lot/1")
    assert len(tree(tmp_path)) == 2  # what went out stays out


@pytest.mark.parametrize("killed_at", range(4))
def test_killed_on_the_way(tmp_path: Path, killed_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every write of `give`: 0 before any, 1 in .outgoing, 2 in parts, 3 in publish too; then started again."""

    class KilledError(BaseException):
        pass

    import flawmap.inspect.line.hand_over as module

    HandOver(tmp_path, publish=True)
    write, writes = module.write_text, 0

    def write_until_killed(path: Path, text: str) -> None:
        nonlocal writes
        if writes == killed_at:
            raise KilledError
        writes += 1
        write(path, text)

    monkeypatch.setattr(module, "write_text", write_until_killed)
    replace = Path.replace

    def replace_until_killed(self: Path, target: Path) -> Path:
        if self.parent.name == OUTGOING and target.parent.name == RESULTS:
            raise KilledError
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_until_killed)
    with pytest.raises(KilledError):
        HandOver(tmp_path, publish=True).give("A", result("A"))
    monkeypatch.undo()
    again = HandOver(tmp_path, publish=True)
    assert again.has("A") == (killed_at >= 2)  # or else the records of its images give it one
    if not again.has("A"):
        assert tree(tmp_path) == set()
        again.give("A", result("A"))
    assert {path for path in tree(tmp_path) if "publish" not in path} == {"parts/A.json", "results/A.json"}
    texts = {path.read_text() for path in [*(tmp_path / "results").iterdir(), *waiting_results(tmp_path / "publish")]}
    assert len(texts) == 1  # twice in publish/ at worst, under one resultId
    (tmp_path / "results" / "A.json").unlink()  # the PLC takes it away
    HandOver(tmp_path, publish=True)
    assert not (tmp_path / "results" / "A.json").exists()


# -- a real broker -------------------------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Starts amqtt on a free port of this machine, the same at every call, and returns the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "broker.yaml"
    config.write_text(
        f"listeners: {{default: {{type: tcp, bind: '127.0.0.1:{port}'}}}}\n"
        "plugins: {amqtt.plugins.authentication.AnonymousAuthPlugin: {allow_anonymous: true}}\n"
    )
    running: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        command = [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(config)]
        with (tmp_path / "broker.log").open("wb") as log:
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return port
            except OSError:
                assert time.monotonic() < end, (tmp_path / "broker.log").read_text()
                time.sleep(0.1)

    start.port = port  # type: ignore[attr-defined]
    yield start
    for process in running:
        process.kill()
        process.communicate()


class Listener:
    """What a subscriber hears."""

    def __init__(self, port: int) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        self.client.on_connect = lambda client, *_: client.subscribe("hall/3/#", qos=1)
        self.client.on_message = lambda client, data, message: self.heard.append(
            (message.topic, message.payload.decode())
        )
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def wait_for(self, topic: str, count: int) -> list[Any]:
        end = time.monotonic() + 60
        while len(found := [text for name, text in self.heard if name == topic]) < count:
            assert time.monotonic() < end, self.heard
            time.sleep(0.05)
        return found

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_results_reach_the_broker_in_order_also_one_that_comes_late(tmp_path: Path, broker: Callable[[], int]) -> None:
    hand_over = HandOver(tmp_path, publish=True)
    for part in ("A", "C", "B"):
        hand_over.give(part, result(part))
    said: list[str] = []
    address = f"mqtt://127.0.0.1:{broker.port}/hall/3"  # type: ignore[attr-defined]
    with Publisher(address, tmp_path / "publish", said.append) as publisher:
        assert len(waiting_results(tmp_path / "publish")) == 3  # nobody is there yet
        listener = Listener(broker())
        assert listener.wait_for("hall/3/state", 1)[-1] == "online"
        listener.wait_for("hall/3/result", 3)
        hand_over.give("D", result("D"))
        publisher.wake()
        heard = listener.wait_for("hall/3/result", 4)
    assert [json.loads(text)["partId"]["id"] for text in heard] == ["A", "C", "B", "D"]
    assert waiting_results(tmp_path / "publish") == []
    assert listener.wait_for("hall/3/state", 2)[-1] == "offline"
    listener.close()
    assert said == []


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("mqtt://plc/hall", ("plc", 1883, "hall", "", False)),
        ("mqtts://line%201@broker.plant:99/hall/3/", ("broker.plant", 99, "hall/3", "line 1", True)),
        ("mqtts://[::1]/t", ("::1", 8883, "t", "", True)),
    ],
)
def test_addresses(address: str, parsed: tuple[object, ...]) -> None:
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", ["", "host", "http://h/t", "mqtt://h", "mqtt:///t", "mqtt://h:x/t", "mqtt://h/a/#"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UsageError, match=r"`--mqtt` \(=.*\) must look like mqtt://\[user@\]host\[:port\]/topic"):
        parse_address(address)


def test_a_password_is_not_written_into_an_address() -> None:
    with pytest.raises(UsageError, match="must not hold the password, which everybody could read: set FLAWMAP_MQTT"):
        parse_address("mqtt://user:secret@host/t")


# -- the service ---------------------------------------------------------------------------------------------


@needs_systemd
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    check_unit(UNIT, "line1", tmp_path)


def test_the_unit_runs_a_command_that_there_is() -> None:
    """Its options are the command's, and it is shipped."""
    text = UNIT.read_text(encoding="utf-8")
    (command,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert command.split()[1] == "watch" and command.split()[3:6:2] == ["-m", "-o"]
    pyproject = tomllib.loads((UNIT.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert "*.service" in pyproject["tool"]["setuptools"]["package-data"]["flawmap.configs"]
