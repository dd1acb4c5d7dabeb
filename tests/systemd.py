"""Units for systemd, looked at by systemd itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def check_unit(unit: Path, instance: str, folder: Path) -> None:
    """`unit` as installed, but for the program, which lies elsewhere here; any warning is a failure."""
    text = unit.read_text(encoding="utf-8").replace("/opt/flawmap/bin/flawmap", sys.executable)
    installed = folder / unit.name.replace("@", f"@{instance}")
    installed.write_text(text, encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(installed)], capture_output=True, text=True, timeout=60)
    about_us = [line for line in (done.stdout + done.stderr).splitlines() if "flawmap" in line]
    assert (done.returncode, about_us) == (0, []), done.stderr
