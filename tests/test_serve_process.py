"""`flawmap serve` as it runs in a plant: the installed command, real sockets, real clients, all at once."""

import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import psutil
import pytest

from flawmap.inspect.run.record_files import read_run_info
from flawmap.tiling.images import write_image
from tests.bundles import good_image
from tests.command_line import FLAWMAP, run, wait_until
from tests.run_tables import table
from tests.serving import Served
from tests.systemd import check_unit, needs_systemd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camera")
    write_image(folder / "small.png", good_image(70, 90, defects=2))
    write_image(folder / "middle.png", good_image(900, 1200, seed=1, defects=2))
    return folder


def post(address: str, file: Path, name: str, **more: object) -> httpx.Response:
    with file.open("rb") as stream:
        return httpx.post(f"{address}/api/inspect", files={"image": (name, stream)}, timeout=300, **more)  # type: ignore[arg-type]


def in_order(address: str, file: Path, n_clients: int) -> list[httpx.Response]:
    """Answers to `n_clients`, the next of which posts once the one before was lined up or sent away."""
    answers = []
    with ThreadPoolExecutor(n_clients) as clients:
        for number in range(n_clients):
            before = _taken(address)
            answers.append(clients.submit(post, address, file, f"{number:02}.png"))
            wait_until(lambda before=before: _taken(address) > before)  # type: ignore[misc]
    return [answer.result() for answer in answers]


def _taken(address: str) -> int:
    """Images that were lined up or sent away so far."""
    figures = dict(
        line.rsplit(" ", 1) for line in httpx.get(f"{address}/metrics").text.splitlines() if not line.startswith("#")
    )
    return int(float(figures["flawmap_received_total"]) + float(figures['flawmap_rejected_total{reason="no_place"}']))


def served_in_order(address: str, answers: list[httpx.Response]) -> list[str]:
    """The images of those that had a place, which were inspected in the order of their clients; the others got 503."""
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all(answer.status_code == 200 or answer.headers["retry-after"] == "5" for answer in answers)
    done = [answer.json()["image"] for answer in answers if answer.status_code == 200]
    (run_,) = httpx.get(f"{address}/api/runs").json()
    listed = httpx.get(f"{address}/api/runs/{run_['id']}/images?sort=inspected").json()["images"]
    assert [one["image"] for one in listed] == done == sorted(done)
    return done


def test_clients_at_once_are_served_in_their_order_or_told_to_come_again(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    with Served(tmp_path / "runs", bundle, "--queue", "5") as served:
        done = served_in_order(served.address, in_order(served.address, images / "middle.png", 12))
        assert len(done) >= 6  # places
        assert served.stop() == (0, "")
    assert re.findall(r"^\S+ \S+ (\S+): NG, severity \S+$", served.told, re.MULTILINE) == done
    (run_dir,) = (tmp_path / "runs").glob("service-*")
    assert [row["image"] for row in table(run_dir / "images.csv")] == done


class Memory:
    """The most memory that a process has while the `with` block runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._ends = psutil.Process(process.pid), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most_mib = 0

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(0.01):
            self.most_mib = max(self.most_mib, self._process.memory_info().rss >> 20)


@pytest.mark.slow
def test_eight_clients_with_full_size_images(bundle: Path, tmp_path: Path) -> None:
    """Images of 26 megapixels: first by one client, then by eight in turn, then by twelve at once for eight places."""
    image = tmp_path / "full.png"
    write_image(image, good_image(5120, 5120, seed=1, defects=5))
    with Served(tmp_path / "runs", bundle, "--queue", "7") as served:
        with Memory(served.process) as alone:
            for number in range(3):
                first = post(served.address, image, f"alone{number}.png").json()
        with Memory(served.process) as crowded:
            answers = in_order(served.address, image, 8)
            with ThreadPoolExecutor(12) as clients:
                crowd = list(clients.map(lambda n: post(served.address, image, f"crowd{n}.png"), range(12)))
        print(f"memory: {alone.most_mib} MiB with one client, {crowded.most_mib} MiB with twelve")
        assert [answer.status_code for answer in answers] == 8 * [200]
        assert {answer.status_code for answer in crowd} <= {200, 503}
        assert sum(answer.status_code == 200 for answer in crowd) >= 8
        for answer in (*answers, *crowd):
            assert answer.status_code == 503 or answer.json()["severity"] == first["severity"]
        # Twelve images more would be 300 MB; what waits lies on the disk.
        assert crowded.most_mib - alone.most_mib < 64
        listed = httpx.get(f"{served.address}/api/runs/{first['run']}/images?sort=inspected").json()["images"]
        assert [one["image"] for one in listed[3:11]] == [answer.json()["image"] for answer in answers]


def test_a_stop_finishes_the_image_at_hand_and_sends_the_others_away(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    with Served(tmp_path / "runs", bundle) as served, ThreadPoolExecutor(6) as clients:
        answers = [clients.submit(post, served.address, images / "middle.png", f"{n}.png") for n in range(6)]
        wait_until(lambda: _taken(served.address) == 6)
        code, said = served.stop()
        assert (code, said) == (0, "")
        codes = sorted(answer.result().status_code for answer in answers)
    assert set(codes) == {200, 503} and codes[0] == 200
    (run_dir,) = (tmp_path / "runs").glob("service-*")
    info = read_run_info(run_dir)
    assert info is not None and info.state == "finished"
    assert len(table(run_dir / "images.csv")) == codes.count(200)
    assert list((tmp_path / "runs").glob(".incoming-*/*.upload")) == []


def test_after_a_kill_it_goes_on_and_nothing_is_left_lying(bundle: Path, images: Path, tmp_path: Path) -> None:
    with Served(tmp_path / "runs", bundle) as served:
        assert post(served.address, images / "small.png", "a.png").status_code == 200
        host, port = served.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as half:  # an upload that never ends
            half.sendall(
                b"POST /api/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
                b'--x\r\nContent-Disposition: form-data; name="image"; filename="b.png"\r\n\r\n' + bytes(1000)
            )
            wait_until(lambda: list((tmp_path / "runs").glob(".incoming-1/*.upload")) != [])
            served.process.kill()
            served.process.wait()
    with Served(tmp_path / "runs", bundle) as served:
        assert list((tmp_path / "runs").glob(".incoming-*/*.upload")) == []
        assert post(served.address, images / "small.png", "a.png").json()["image"] == "a-2.png"
        (run_,) = httpx.get(f"{served.address}/api/runs").json()
        assert run_["counts"]["images"] == 2
        assert served.stop(signal.SIGINT)[0] == 0


def test_who_hangs_up_while_sending_takes_no_place_with_him(bundle: Path, images: Path, tmp_path: Path) -> None:
    with Served(tmp_path / "runs", bundle, "--queue", "1") as served:
        host, port = served.address.removeprefix("http://").split(":")
        for _ in range(5):
            with socket.create_connection((host, int(port))) as line:
                line.sendall(
                    b"POST /api/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
                    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
                )
                wait_until(lambda: "flawmap_queue_images 1.0" in httpx.get(f"{served.address}/metrics").text)
            wait_until(lambda: "flawmap_queue_images 0.0" in httpx.get(f"{served.address}/metrics").text)
        with socket.create_connection((host, int(port))) as line:  # a path that is never said
            line.sendall(
                b"POST /api/inspect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
                b'Content-Type: application/json\r\n\r\n{"path": '
            )
        assert post(served.address, images / "small.png", "a.png").status_code == 200
        assert served.stop() == (0, "")


def test_names_arrive_as_they_were_sent(bundle: Path, images: Path, tmp_path: Path) -> None:
    """Through a real client, a real server and an address: percent signs, question marks, other scripts.

    At every address of the machine, so with a token.
    """
    with Served(tmp_path / "runs", bundle, "--host", "0.0.0.0", FLAWMAP_TOKEN=TOKEN) as served:
        address = served.address
        assert httpx.get(f"{address}/health").status_code == 200
        assert httpx.get(f"{address}/api/runs").status_code == 401
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
            for name in ("a%2e%2e.png", "100%.png", "what? no#3.png", "检 ü.png", "a+b&c=d.png"):
                with (images / "small.png").open("rb") as stream:
                    said = client.post("/api/inspect", files={"image": (name, stream)}, timeout=60).json()
                assert said["image"] == name
                assert client.get(f"/api/runs/{said['run']}/images/{quote(said['id'], safe='')}").json() == said
                assert client.get(said["overlay"]).status_code == 200


def test_it_says_where_others_find_it_and_what_they_need(bundle: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with Served(tmp_path / "runs", bundle, "--host", "0.0.0.0", "--token-file", str(token)) as served:
        assert served.process.stdout is not None
        also, asks = (served.process.stdout.readline().rstrip("\n") for _ in range(2))
        assert served.stop() == (0, "")
    port = served.address.rsplit(":", 1)[1]
    assert "0.0.0.0" not in served.address
    assert also.startswith("also at http://") and f"http://{socket.gethostname()}:{port} (where this name" in also
    assert asks == (
        f"it asks for the token in `--token-file` (={token}): browsers once a shift, programs send "
        "`Authorization: Bearer TOKEN`"
    )
    with Served(tmp_path / "runs", bundle) as served:
        assert served.stop() == (0, "") and served.told == ""  # on this machine alone, nothing more is to be said
    assert served.address.startswith("http://127.0.0.1:")


def test_a_stop_at_its_first_word_is_graceful_too(bundle: Path, tmp_path: Path) -> None:
    """Signals are heard before the address is said."""
    for _ in range(3):
        with Served(tmp_path / "runs", bundle) as served:
            assert served.stop() == (0, "")


def test_wrong_use_ends_with_2(bundle: Path, tmp_path: Path) -> None:
    done = run("serve", tmp_path / "runs", "-m", bundle, "--host", "0.0.0.0")
    assert done.returncode == 2 and "`--host` (=0.0.0.0) is not loopback" in done.stderr


def test_without_the_extra_one_sentence_says_what_to_install(bundle: Path, tmp_path: Path) -> None:
    """As in an environment where FastAPI was never installed."""
    code = (
        "import sys, importlib.util\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('fastapi', 'uvicorn'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in ('fastapi', 'uvicorn') else find(name, *rest)\n"
        "sys.meta_path.insert(0, Missing())\n"
        f"sys.argv = ['flawmap', 'serve', {str(tmp_path / 'runs')!r}, '-m', {str(bundle)!r}]\n"
        "from flawmap.inspect.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "flawmap: `flawmap serve` needs fastapi, uvicorn: pip install 'flawmap[serve]'\n"


def test_no_other_command_loads_what_only_the_service_needs() -> None:
    code = (
        "import sys, flawmap.inspect.cli\n"
        "needed = ('fastapi', 'starlette', 'uvicorn', 'sqlalchemy', 'pydantic', 'numpy')\n"
        "loaded = [name for name in needed if name in sys.modules]\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert FLAWMAP.exists()


UNIT = Path(__file__).parents[1] / "configs" / "flawmap-serve@.service"


@needs_systemd
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    check_unit(UNIT, "board", tmp_path)


def test_systemd_is_told_when_it_serves_and_when_it_stops(bundle: Path, tmp_path: Path) -> None:
    """`Type=notify`, spoken over a real socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        with Served(tmp_path / "runs", bundle, NOTIFY_SOCKET=str(tmp_path / "notify")) as served:
            assert systemd.recv(1000) == b"READY=1"
            assert httpx.get(f"{served.address}/health").status_code == 200
            assert served.stop() == (0, "")
            assert systemd.recv(1000) == b"STOPPING=1"
