"""The installed command, as a shell runs it."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

FLAWMAP = Path(sys.executable).with_name("flawmap")


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`flawmap ARGUMENTS`; no test may end in a traceback."""
    done = subprocess.run([str(FLAWMAP), *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def wait_until(what: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
