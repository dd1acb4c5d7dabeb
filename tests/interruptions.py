"""What stops a run half-way: a disk that is full, Ctrl-C."""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flawmap.inspect.progress import ShowProgress, Step


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "flawmap-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(options, capture_output=True).returncode:
        pytest.skip("this user cannot mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def ctrl_c_after(images: int) -> ShowProgress:
    """Progress that presses Ctrl-C once so many images are done."""

    @contextmanager
    def press(title: str, total: int) -> Iterator[Step]:
        heard: list[str] = []

        def step(text: str) -> None:
            heard.append(text)
            if len(heard) == images:
                signal.raise_signal(signal.SIGINT)

        yield step

    return press
