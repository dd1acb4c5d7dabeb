"""What TensorRT is told: to keep its engines, because making one takes minutes, and how finely it may compute.

Option names: onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html. Nobody has run this on a card
yet: docs/performance.md says so.
"""

import logging
import os
from pathlib import Path

from flawmap.export.bundle import Bundle

log = logging.getLogger("flawmap")


def engine_options(bundle: Bundle) -> dict[str, str]:
    """Options of ONNX Runtime's TensorRT provider for `bundle`; says so where an engine has yet to be made.

    Half precision only where the bundle holds a model that was shown to lose nothing by it.
    """
    folder = engine_folder(bundle)
    options = {"trt_fp16_enable": str(bundle.running is not None and bundle.running.precision == "fp16")}
    kept = "at every start: its cache folder cannot be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            options |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(folder)}
            options |= {"trt_timing_cache_enable": "True", "trt_timing_cache_path": str(folder)}
            kept = f"at the first start and for each new size of image (kept in {folder})"
    except OSError:
        pass
    if not folder.is_dir() or not any(folder.glob("*.engine")):
        log.info("TensorRT builds an engine for this model and this card, which takes minutes, %s", kept)
    return options


def engine_folder(bundle: Bundle) -> Path:
    """Where the engines of `bundle` are kept: in the user's cache folder, by what names the bundle."""
    caches = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(caches) / "flawmap" / "tensorrt" / bundle.digest[:16]
