"""The bundle's network on ONNX Runtime or OpenVINO: tiles in, score and reconstruction out, in one batch shape."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle
from flawmap.inspect.scoring import device as devices
from flawmap.inspect.scoring.bound_session import BoundSession
from flawmap.inspect.scoring.cuda_runtime import free_memory
from flawmap.inspect.scoring.openvino_session import OpenVinoSession
from flawmap.inspect.scoring.self_test import self_test
from flawmap.inspect.scoring.tensorrt_engine import engine_options
from flawmap.tiling.errors import DeviceError, UsageError

Image = NDArray[Any]

BATCH_SIZES = {"cpu": 1, "openvino": 1, "cuda": 8, "tensorrt": 1}  # one tile fills a CPU; a GPU needs several
# (TensorRT makes an engine for the largest batch and the largest tile that it has seen, also if never both at once.)
CARDS = ("cuda", "tensorrt")
PROBE_SIZE = 1024  # px, of the tile that shows how much of a GPU's memory a pixel takes
BYTES_A_PIXEL = 64  # at least: input, score, reconstruction and a few layers of the smallest network


class TileScorer:
    """Scores batches of tiles; warmed up and self-tested when the constructor returns.

    `device` is what really runs ("cpu", "cuda", "openvino", "tensorrt", and the precision of a faster model: "openvino
    int8"); `device_note` says why `auto` left a GPU out. `golden_scores`: what it made of the bundle's golden tiles.
    `batch_size` tiles of [tile_size, tile_size] or [tile_size, tile_size, 3] go in at a time; `on_gpu` other shapes
    may, by `bind`, though each makes it tune its kernels anew. `fixed_batch`: the only one the model takes, or None.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: str = "auto",
        batch_size: int | None = None,
        threads: int | None = None,
        *,
        arena: bool = True,
        any_shape: bool = False,
    ) -> None:
        """`threads`: for one operator, by default one a core. `arena`: keep working memory between batches.
        `any_shape`: take batches and tiles of other sizes on a processor, too.

        Raises DeviceError if `device` is not here, UsageError if the model cannot be loaded, takes another batch size,
        or does not give the bundle's golden scores on this machine.
        """
        if threads is not None and threads < 1:
            raise UsageError(f"`threads` (={threads}) must be at least 1")
        faster = bundle.running
        if faster is not None:
            device = faster.device
        if device == "openvino":
            self.device, self.device_note = device, ""
            bf16 = faster is not None and faster.precision.endswith("bf16")
            self._session: Any = OpenVinoSession(bundle.model_path, bf16=bf16, threads=threads)
        else:
            self.device, self.device_note, self._session = _open_session(bundle, device, threads, arena)
        self.on_gpu = self.device in CARDS
        self._any_shape = any_shape
        self.fixed_batch = _fixed_batch(self._session)
        self.batch_size = _batch_size(self.fixed_batch, batch_size, self.device)
        info = bundle.info
        channels = () if info.image.channels == 1 else (info.image.channels,)
        self.batch_shape = (self.batch_size, info.tile.size, info.tile.size, *channels)
        self.dtype = np.dtype(info.image.dtype)
        # Of an aligned product: what the reference shows at each tile's place.
        self.context_shape = (*self.batch_shape[:3], info.image.channels + 1) if info.alignment else None
        self.golden_scores = self_test(bundle, lambda *inputs: self._run(*inputs)[0], self.batch_size, self.device)
        # Warm-up: the first image must not pay for allocation. A GPU does not know its shape yet.
        if not self.on_gpu:
            context = None if self.context_shape is None else np.zeros(self.context_shape, self.dtype)
            self.score(np.zeros(self.batch_shape, self.dtype), context)
        if faster is not None:
            self.device += f" {faster.precision}"

    def score(self, tiles: Image, context: Image | None = None) -> tuple[NDArray[np.float32], Image]:
        """Scores one full batch.

        `tiles`: `batch_shape`, `dtype`; `context`: `context_shape`, `dtype`, of an aligned product; a last batch that
        is not full carries anything in the rest. Returns the score
        (float32 [N, t, t], higher is more likely a defect) and the reconstruction (shape and dtype of `tiles`). On a
        GPU `bind` spares copies that this makes.
        """
        if self._any_shape and tiles.dtype == self.dtype:
            return self._run(tiles, context)
        if tiles.shape != self.batch_shape or tiles.dtype != self.dtype:
            raise ValueError(
                f"`tiles` (={tiles.dtype} {list(tiles.shape)}) must be {self.dtype} {list(self.batch_shape)}"
            )
        if (None if context is None else context.shape) != self.context_shape:
            raise ValueError(
                f"`context` must be {self.context_shape}, not {None if context is None else context.shape}"
            )
        return self._run(tiles, context)

    def bind(self, batch: int, tile_size: int) -> BoundSession:
        """Buffers for `batch` tiles of `tile_size` px: `tiles`, and of an aligned product `context`."""
        size = batch, tile_size, tile_size
        tiles = (*size, *self.batch_shape[3:]), self.dtype
        inputs = {"tiles": tiles}
        if self.context_shape is not None:
            inputs["context"] = (*size, *self.context_shape[3:]), self.dtype
        outputs = {"score": (size, np.dtype(np.float32)), "reconstruction": tiles}
        return BoundSession(self._session, inputs, outputs, on_gpu=self.on_gpu)

    def bytes_a_pixel(self) -> float:
        """Of the GPU's memory, that scoring takes for each pixel of a batch: measured on one, which stays allocated."""
        before = free_memory()
        batch = self.fixed_batch or 1
        self.bind(batch, PROBE_SIZE).run()
        after = free_memory()
        taken = 0 if before is None or after is None else before - after
        return max(BYTES_A_PIXEL, taken / (batch * PROBE_SIZE**2))

    def _run(self, tiles: Image, context: Image | None = None) -> tuple[NDArray[np.float32], Image]:
        inputs = {"tiles": tiles} if context is None else {"tiles": tiles, "context": context}
        score, reconstruction = self._session.run(["score", "reconstruction"], inputs)
        return score, reconstruction


def _session_options(threads: int | None, arena: bool) -> onnxruntime.SessionOptions:
    """Resident MiB after four 1024x1024 tiles through two U-Nets of 24-48-72 channels, 78 of them before the session:

    arena and pattern 417, arena alone 375, neither 276 to 438 (its peak 493 to 644); no difference in time was seen.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or physical_cores()
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = False
    return options


def _open_session(
    bundle: Bundle, device: str, threads: int | None, arena: bool
) -> tuple[str, str, onnxruntime.InferenceSession]:
    """(device really used, why `auto` left a GPU out, session)."""
    options = _session_options(threads, arena)
    # Beside a GPU the processor has other work than to wait for it in as many threads as there are cores.
    on_card = _session_options(threads or 1, arena)
    if device != "auto":
        session = _session(bundle, device, on_card if device in CARDS else options)
        devices.check_device(session, device)
        return device, "", session
    note = ""
    if "cuda" in devices.available_devices():
        session = _session(bundle, "cuda", on_card)
        try:
            devices.check_device(session, "cuda")
            return "cuda", "", session
        except DeviceError:
            note = f"inspecting on the CPU: {devices.why_no_gpu()}; `flawmap doctor` tells more"
    elif devices.nvidia_driver():
        note = (
            f"inspecting on the CPU: there is an NVIDIA driver, but {devices.installed_onnxruntime()} has no CUDA; "
            "`pip uninstall onnxruntime` and `pip install 'flawmap[gpu]'` would use it"
        )
    return "cpu", note, _session(bundle, "cpu", options)


def _session(bundle: Bundle, device: str, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
    model = bundle.model_path
    providers = devices.providers_for(
        device,
        tf32=bundle.running is not None and bundle.running.precision == "tf32",
        tensorrt=engine_options(bundle) if device == "tensorrt" and device in devices.available_devices() else None,
    )
    try:
        return onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions have no common base but this one
        if device in CARDS and "CUDA" in str(error):
            raise DeviceError(f"`--device` (={device}) is not available here: {_first_line(error)}") from error
        raise UsageError(f"{model} cannot be loaded: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _fixed_batch(session: onnxruntime.InferenceSession | OpenVinoSession) -> int | None:
    """The only batch size of a model that was exported with one."""
    fixed = session.fixed_batch if isinstance(session, OpenVinoSession) else session.get_inputs()[0].shape[0]
    return fixed if isinstance(fixed, int) else None


def _batch_size(fixed: int | None, asked: int | None, device: str) -> int:
    """Of tiles, unless something else decides; a model exported with a fixed one does."""
    if asked is not None and asked < 1:
        raise UsageError(f"`batch_size` (={asked}) must be at least 1")
    if fixed and asked and fixed != asked:
        raise UsageError(f"`batch_size` (={asked}) must be {fixed}: the model was exported with that fixed batch")
    return fixed or asked or BATCH_SIZES[device]


def physical_cores() -> int:
    """Cores this process may use, hyper-threads counted once where the system tells; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    siblings = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/topology/thread_siblings_list")
    try:
        cores = len({path.read_text() for path in siblings})
    except OSError:
        cores = 0
    return max(1, min(usable, cores or usable))
