"""What this machine can run, and what is wrong with it: every problem comes with what to do."""

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import onnxruntime

from flawmap.inspect.machine import total_memory_gib, versions
from flawmap.inspect.scoring import device
from flawmap.inspect.scoring.device import ONE_NODE_MODEL
from flawmap.inspect.scoring.runtime import physical_cores
from flawmap.tiling.region_kernels import scan_spans

Level = Literal["ok", "warning", "problem"]

OLDEST_PYTHON = (3, 11)
ENOUGH_MEMORY_GIB = 2.0  # one 26-megapixel image takes 1.2 GiB in all
ENOUGH_DISK_GIB = 2.0
TRAINING_PACKAGES = ("torch", "pytorch_lightning", "albumentations", "onnx", "onnxscript")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    level: Level
    text: str


def examine(folder: Path | None = None) -> list[Finding]:
    """Looks at everything that inspecting and training need; `folder` (here, by default) is where results would go."""
    checks: list[Callable[[], Finding]] = [
        _python,
        _flawmap,
        _onnxruntime,
        _providers,
        _cuda,
        _openvino,
        _cores,
        _memory,
        _opencv,
        _compiled_kernels,
        _training,
        lambda: _disk(Path.cwd() if folder is None else folder),
    ]
    return [check() for check in checks]


def _python() -> Finding:
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return Finding("python", "problem", f"{text}: flawmap needs {'.'.join(map(str, OLDEST_PYTHON))} or newer")
    return Finding("python", "ok", text)


def _flawmap() -> Finding:
    return Finding("flawmap", "ok", versions()["flawmap"])


def _onnxruntime() -> Finding:
    found = device.onnxruntime_distributions()
    text = device.installed_onnxruntime()
    if len(found) > 1:
        names = " ".join(found)
        return Finding(
            "onnxruntime",
            "problem",
            f"{text} overwrite each other's files: `pip uninstall {names}`, then install flawmap[cpu] or flawmap[gpu]",
        )
    return Finding("onnxruntime", "ok", text)


def _providers() -> Finding:
    devices = device.available_devices()
    if "cpu" not in devices:
        return Finding("providers", "problem", "onnxruntime has no CPU provider: install flawmap[cpu] again")
    return Finding("providers", "ok", f"`--device` can be auto, {', '.join(devices)}")


def _cuda() -> Finding:
    """Whether a session really runs on CUDA, not whether somebody says it could."""
    if "cuda" not in device.available_devices():
        if device.nvidia_driver():
            text = (
                "there is an NVIDIA driver, but onnxruntime has no CUDA: `pip uninstall onnxruntime`, then flawmap[gpu]"
            )
            return Finding("cuda", "warning", text)
        return Finding("cuda", "ok", "no NVIDIA driver here, inspecting runs on the CPU")
    try:
        providers = device.providers_for("cuda")
        device.check_device(onnxruntime.InferenceSession(ONE_NODE_MODEL, providers=providers), "cuda")
    except Exception as error:
        return Finding("cuda", "problem", f"does not start: {' '.join(str(error).split())}")
    return Finding("cuda", "ok", "a session runs on it")


def _openvino() -> Finding:
    """Whether OpenVINO really runs a model, and which of its faster precisions this processor has."""
    if not device.openvino_installed():
        return Finding("openvino", "ok", "not installed (flawmap[openvino] adds it: `--device openvino`)")
    try:
        import openvino

        core = openvino.Core()
        core.compile_model(core.read_model(ONE_NODE_MODEL, b""), "CPU").create_infer_request()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except Exception as error:
        return Finding("openvino", "problem", f"does not start: {' '.join(str(error).split())}")
    faster = [name for name in ("BF16", "INT8") if name in able]
    return Finding(
        "openvino", "ok", f"{openvino.__version__.split('-')[0]}, faster here: {', '.join(faster) or 'nothing'}"
    )


def _cores() -> Finding:
    cores = physical_cores()
    text = f"{cores} physical, {os.cpu_count()} logical"
    if cores < 2:
        return Finding("cores", "warning", f"{text}: reading the next image and scoring this one share a core")
    return Finding("cores", "ok", text)


def _memory() -> Finding:
    memory = total_memory_gib()
    if memory is None:
        return Finding("memory", "ok", "this platform does not tell how much there is")
    text = f"{memory:.1f} GiB"
    if memory < ENOUGH_MEMORY_GIB:
        return Finding(
            "memory", "warning", f"{text}: 26-megapixel images want {ENOUGH_MEMORY_GIB:g} GiB, use smaller ones"
        )
    return Finding("memory", "ok", text)


def _opencv() -> Finding:
    formats = [line.split(":")[0].strip() for line in cv2.getBuildInformation().splitlines()]
    missing = [name for name in ("PNG", "JPEG") if name not in formats]
    if missing:
        text = f"{cv2.__version__} cannot read {' and '.join(missing)}: install opencv-python-headless again"
        return Finding("opencv", "problem", text)
    return Finding("opencv", "ok", cv2.__version__)


def _compiled_kernels() -> Finding:
    """Where numba keeps compiled code; without such a place every start compiles for some seconds."""
    folder = scan_spans._cache.cache_path  # type: ignore[attr-defined]  # numba chooses among several, and tells only here
    if folder is not None and _writable(Path(folder)):
        return Finding("compiled kernels", "ok", f"kept in {folder}")
    return Finding(
        "compiled kernels",
        "warning",
        "no folder to keep them in, every start compiles for seconds: set NUMBA_CACHE_DIR to one that can be written",
    )


def _training() -> Finding:
    missing = [name for name in TRAINING_PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding("training", "ok", "torch, lightning, albumentations and onnx are installed")
    if len(missing) == len(TRAINING_PACKAGES):
        return Finding("training", "ok", "not installed, this machine inspects only (flawmap[train] adds it)")
    return Finding("training", "warning", f"{', '.join(missing)} missing: `pip install 'flawmap[train]'`")


def _disk(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free / 2**30
    except OSError as error:
        return Finding("disk", "problem", f"{folder} cannot be looked at: {error.strerror or error}")
    text = f"{free:.1f} GiB free at {folder}"
    if not _writable(folder):
        return Finding("disk", "problem", f"{folder} cannot be written: run flawmap where it may write, or give `-o`")
    if free < ENOUGH_DISK_GIB:
        return Finding("disk", "warning", f"{text}: a report of a thousand images takes about {ENOUGH_DISK_GIB:g} GiB")
    return Finding("disk", "ok", text)


def _writable(folder: Path) -> bool:
    """By writing: permission bits do not know about read-only disks."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
