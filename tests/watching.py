"""`flawmap watch` for the tests: the installed command, cameras that drop pictures, a PLC that takes results away."""

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from flawmap.tiling.images import write_image
from tests.bundles import good_image
from tests.command_line import FLAWMAP

HASTE = ["--poll", "0.2", "--settle", "0.3", "--give-up", "4"]
RUNNING: list["Watcher"] = []


def kill_all() -> None:
    """Every watcher that a test has left running."""
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


def results(run_dir: Path) -> dict[str, dict[str, Any]]:
    """Part -> its result file."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in (run_dir / "results").glob("*.json")]
    return {result["partId"]["id"]: result for result in found}


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


def drop(folder: Path, name: str, *, seed: int = 0, defects: int = 0, **kind: Any) -> Path:
    """A picture, renamed into place."""
    plain = folder.parent / f"next-{name}"
    write_image(plain, good_image(40, 50, seed=seed, defects=defects, **kind))
    return plain.rename(folder / name)
