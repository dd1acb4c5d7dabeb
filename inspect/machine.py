"""What this process runs with and how much memory it took."""

import ctypes
import importlib.metadata
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

M_MMAP_THRESHOLD = -3  # of malloc.h


def versions() -> dict[str, str]:
    """Name -> version of what can move a score."""
    return {
        "flawmap": importlib.metadata.version("flawmap"),
        "numpy": np.__version__,
        "onnxruntime": onnxruntime.__version__,
        "opencv": cv2.__version__,
        "python": platform.python_version(),
    }


def processor() -> str:
    """What this machine's processor calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory_mib() -> float | None:
    """The most resident memory this process has had, MiB; None where the platform does not tell.

    On Linux from /proc: `getrusage` also counts what the process was before it became this program.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def total_memory_gib() -> float | None:
    """Memory of this machine, or of the container this process is in, GiB; None where the platform does not tell."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        limit = "max"
    return (memory if limit == "max" else min(memory, int(limit))) / 2**30


def give_back_large_blocks() -> None:
    """Has every freed block of 1 MiB or more go back to the system at once; with glibc only, elsewhere nothing changes.

    glibc keeps blocks of up to 32 MiB once one of that size was freed (mallopt(3), M_MMAP_THRESHOLD), and the images of
    a process that runs for months leave gaps between them: `flawmap serve` had 555 MiB with one client that posts
    5120x5120 images one after the other and 650 MiB with eight, and with this 467 and 491.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)
