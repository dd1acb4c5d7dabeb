"""What this process runs with and how much memory it took."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime


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
