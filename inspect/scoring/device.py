"""What runs the network, and an honest word when it is not what was asked for.

ONNX Runtime runs it by one of its providers; `openvino` is OpenVINO's own package, which can stand beside any of them.

A session that cannot have CUDA falls back to the CPU in silence, even with fallback disabled: what was asked is
compared with what the session says it got.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

import onnxruntime

from flawmap.tiling.errors import DeviceError, UsageError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
DEVICES = ("auto", "cpu", "cuda", "openvino", "tensorrt")
# What each provider falls back to for a single node it does not know; the first must be the one asked for.
FALLBACKS = {"cpu": (), "cuda": ("cpu",), "tensorrt": ("cuda", "cpu")}
# CUDA rounds to 10 bits (TF32) unless told otherwise: other scores than the ones that were calibrated. Memory grows by
# what is asked for and not by doubling, so that sessions side by side and other programs find the rest.
CUDA_OPTIONS = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
# Channels last suits its tensor cores: 32 ms an image in float32, 21 so, on an H200 (docs/performance.md).
TF32_OPTIONS = {"use_tf32": "1", "prefer_nhwc": "1"}

# A graph of one node, y = x, made once with onnx.helper: what a provider must start to count as there.
ONE_NODE_MODEL = bytes.fromhex(
    "08083a390a100a017812017922084964656e7469747912036f6e655a0f0a0178120a0a08080112040a02"
    "0801620f0a0179120a0a08080112040a02080142040a00100d"
)

# The line PC's console belongs to its operator: what goes wrong is raised, and onnxruntime says nothing beside it.
onnxruntime.set_default_logger_severity(4)


def available_devices() -> list[str]:
    """The devices whose provider this onnxruntime was built with, and OpenVINO; they may still fail to start."""
    built = onnxruntime.get_available_providers()
    found = [device for device, provider in PROVIDERS.items() if provider in built]
    return sorted([*found, "openvino"] if openvino_installed() else found)


def openvino_installed() -> bool:
    """Whether OpenVINO's own package is here."""
    return importlib.util.find_spec("openvino") is not None


def check_name(device: str) -> None:
    """UsageError for a typo."""
    if device not in DEVICES[1:]:
        raise UsageError(f"`--device` (={device}) must be one of {', '.join(DEVICES)}")


def providers_for(
    device: str, *, tf32: bool = False, tensorrt: dict[str, str] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """Providers and options of an onnxruntime session on `device`; `tf32` concerns CUDA, `tensorrt` are its options.

    DeviceError where onnxruntime lacks it, UsageError for a typo.
    """
    check_name(device)
    built = available_devices()
    if device not in built:
        raise DeviceError(
            f"`--device` (={device}) is not available here: the installed {installed_onnxruntime()} has no "
            f"{PROVIDERS[device]} (it has {', '.join(built)}); {_remedy()}"
        )
    if device in ("cuda", "tensorrt"):
        preload_cuda()
    wanted = (device, *(name for name in FALLBACKS[device] if name in built))
    options = {"cuda": CUDA_OPTIONS | (TF32_OPTIONS if tf32 else {}), "tensorrt": tensorrt or {}}
    return [(PROVIDERS[name], options.get(name, {})) for name in wanted]


def check_device(session: onnxruntime.InferenceSession, device: str) -> None:
    """DeviceError if `session` does not run on `device`."""
    got = session.get_providers()[0]
    if got != PROVIDERS[device]:
        raise DeviceError(
            f"`--device` (={device}) is not available here: onnxruntime fell back to {got}, because {why_no_gpu()}; "
            "`flawmap doctor` tells more, and `--device auto` inspects on what is there"
        )


@cache
def starts(device: str) -> bool:
    """Whether a model really runs on `device` here."""
    if device not in available_devices():
        return False
    if device == "openvino":
        return True
    try:
        check_device(onnxruntime.InferenceSession(ONE_NODE_MODEL, providers=providers_for(device)), device)
    except Exception:  # whatever a driver or a missing library comes up with
        return False
    return True


def preload_cuda() -> None:
    """Loads the CUDA and cuDNN libraries that pip installed, which the system's loader does not look for."""
    if hasattr(onnxruntime, "preload_dlls"):
        # It prints what it cannot find to stdout; whether CUDA works is asked of the session afterwards.
        with Path(os.devnull).open("w") as nowhere:
            stdout, sys.stdout = sys.stdout, nowhere
            try:
                onnxruntime.preload_dlls()
            finally:
                sys.stdout = stdout


def nvidia_driver() -> bool:
    """Whether this machine has an NVIDIA driver."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def why_no_gpu() -> str:
    """The likeliest reason why a GPU provider did not start."""
    if not nvidia_driver():
        return "this machine has no NVIDIA driver (no /proc/driver/nvidia, no nvidia-smi)"
    return (
        f"its CUDA or cuDNN libraries do not fit {installed_onnxruntime()} "
        "(onnxruntime-gpu needs CUDA 13 from 1.27, CUDA 12 before)"
    )


def installed_onnxruntime() -> str:
    """The distributions that provide `onnxruntime`, with versions: "onnxruntime-gpu 1.27.0"."""
    found = onnxruntime_distributions()
    return (
        " and ".join(f"{name} {version}" for name, version in found.items()) or f"onnxruntime {onnxruntime.__version__}"
    )


def onnxruntime_distributions() -> dict[str, str]:
    """Name -> version of every installed onnxruntime; two of them have overwritten each other's files."""
    distributions = importlib.metadata.distributions()
    found = {d.metadata["Name"]: d.version for d in distributions if d.metadata["Name"]}
    return {name: found[name] for name in sorted(found) if name.lower().replace("_", "-").startswith("onnxruntime")}


def _remedy() -> str:
    return (
        "with an NVIDIA GPU `pip uninstall onnxruntime` and `pip install 'flawmap[gpu]'` bring it, "
        "without one inspect with `--device cpu`"
    )
