"""The session alone on a GPU, and the stages of one image by itself: the rows that a folder is held against."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from flawmap.export.half_precision import to_half
from flawmap.inspect.scoring import device as devices
from flawmap.inspect.scoring.bound_session import BoundSession
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_image
from flawmap.tiling.regions import find_regions
from flawmap.tiling.stitch import Stitcher

OVERLAP, BORDER, STRIDE = 104, 48, 8  # px, of the default network
HOT_SHARE = 3e-5  # of pixels lie above the level at which regions are looked for, as calibration chooses it
UINT8, FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)


@dataclass(frozen=True)
class Setting:
    """One way to run the network."""

    precision: str  # fp32, tf32, fp16
    tile_size: int
    batch: int
    nhwc: bool = False

    def __str__(self) -> str:
        layout = ", NHWC" if self.nhwc else ""
        return f"{self.precision}{layout}, tile {self.tile_size}, batch {self.batch}"


@dataclass(frozen=True)
class Row:
    """One line of the report; `milliseconds` an image, or None and why in `note`."""

    what: str
    setting: str
    milliseconds: float | None
    note: str = ""


class Bench:
    """What all measurements share: the model in each precision, the images, the device."""

    def __init__(self, model: Path, device: str, size: int, paths: list[Path], seconds: float) -> None:
        self.device, self.size, self.seconds = device, size, seconds
        self.on_gpu = device in ("cuda", "tensorrt")
        self.rows: list[Row] = []
        self.model = model
        self.paths = paths

    def grid(self, tile_size: int) -> TileGrid:
        return TileGrid(self.size, self.size, tile_size, OVERLAP, multiple=STRIDE, border=BORDER, padding="replicate")

    def session(self, setting: Setting) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.enable_mem_pattern = False
        if self.on_gpu:
            options.intra_op_num_threads = 1  # the processor has other work than to wait for the card
        providers = devices.providers_for(self.device)
        cuda = {
            "use_tf32": str(int(setting.precision == "tf32")),
            "prefer_nhwc": str(int(setting.nhwc)),
            "cudnn_conv_algo_search": "EXHAUSTIVE",
        }
        tensorrt = {"trt_fp16_enable": str(setting.precision == "fp16")}
        extra = {"CUDAExecutionProvider": cuda, "TensorrtExecutionProvider": tensorrt}
        model = self.model.read_bytes()
        session = onnxruntime.InferenceSession(
            to_half(onnx.load_from_string(model)).SerializeToString() if setting.precision == "fp16" else model,
            options,
            providers=[(name, {**given, **extra.get(name, {})}) for name, given in providers],
        )
        devices.check_device(session, self.device)
        return session

    def lane(self, setting: Setting, session: onnxruntime.InferenceSession) -> BoundSession:
        shape = (setting.batch, setting.tile_size, setting.tile_size)
        outputs = {"score": (shape, FLOAT32), "reconstruction": (shape, UINT8)}
        return BoundSession(session, {"tiles": (shape, UINT8)}, outputs, on_gpu=self.on_gpu)

    @contextmanager
    def row(self, what: str, setting: object) -> Iterator[Callable[..., None]]:
        """Adds what is measured inside, milliseconds and a note, or why it could not be."""
        try:
            yield lambda ms, note="": self.add(Row(what, str(setting), ms, note))
        except Exception as error:
            self.add(Row(what, str(setting), None, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"))

    def add(self, row: Row) -> None:
        self.rows.append(row)
        ms = "failed" if row.milliseconds is None else f"{row.milliseconds:.1f} ms"
        print(f"{row.what}; {row.setting}: {ms} {row.note}", flush=True)

    def median_ms(self, run: Callable[[], Any]) -> float:
        """Of as many calls as fit into `seconds`, three at least, after two to warm up."""
        for _ in range(2):
            run()
        times: list[float] = []
        start = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - start < self.seconds:
            begin = time.perf_counter()
            run()
            times.append((time.perf_counter() - begin) * 1e3)
        return statistics.median(times)


def check_half(bench: Bench) -> None:
    """fp16 against fp32 on one tile: how far the scores are apart."""
    tile = read_image(bench.paths[0])[:1024, :1024][None]
    tile = np.ascontiguousarray(tile[:, : tile.shape[1] // 8 * 8, : tile.shape[2] // 8 * 8])
    scores = {}
    for precision in ("fp32", "tf32", "fp16"):
        with bench.row("scores", precision):
            session = bench.session(Setting(precision, tile.shape[1], 1))
            scores[precision] = session.run(["score"], {"tiles": tile})[0]
    for precision in ("tf32", "fp16"):
        if precision in scores and "fp32" in scores:
            apart = float(np.abs(scores[precision] - scores["fp32"]).max())
            spread = float(scores["fp32"].std())
            note = f"largest score difference to fp32 {apart:.2g}, scores vary by {spread:.2g}"
            bench.add(Row("scores", precision, 0.0, note))


def session_alone(bench: Bench, setting: Setting) -> float:
    """Milliseconds an image, tiles and answers on the card, nothing on the bus."""
    session = bench.session(setting)
    shape = (setting.batch, setting.tile_size, setting.tile_size)
    where = "cuda" if bench.on_gpu else "cpu"
    tiles = np.random.default_rng(0).integers(90, 170, shape, np.uint8)
    binding = session.io_binding()
    values = {
        "tiles": onnxruntime.OrtValue.ortvalue_from_numpy(tiles, where, 0),
        "score": onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, where, 0),
        "reconstruction": onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, np.uint8, where, 0),
    }
    binding.bind_ortvalue_input("tiles", values["tiles"])
    for name in ("score", "reconstruction"):
        binding.bind_ortvalue_output(name, values[name])

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return bench.median_ms(run) * math.ceil(len(bench.grid(setting.tile_size)) / setting.batch)


def with_copies(bench: Bench, setting: Setting, *, bound: bool) -> float:
    """Milliseconds an image with tiles from and answers to host memory: page-locked and bound, or plain `run`."""
    session = bench.session(setting)
    batches = math.ceil(len(bench.grid(setting.tile_size)) / setting.batch)
    if bound:
        return bench.median_ms(bench.lane(setting, session).run) * batches
    tiles = np.zeros((setting.batch, setting.tile_size, setting.tile_size), np.uint8)
    return bench.median_ms(lambda: session.run(["score", "reconstruction"], {"tiles": tiles})) * batches


def stages(bench: Bench, setting: Setting) -> None:
    """Each stage of one image by itself, nothing beside it."""
    image, grid = read_image(bench.paths[0]), bench.grid(setting.tile_size)
    lane = bench.lane(setting, bench.session(setting))
    heatmap, restored = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.uint8)

    def batches(step: Callable[[int, int], Any]) -> None:
        for first in range(0, len(grid), setting.batch):
            step(first, min(setting.batch, len(grid) - first))

    def stitch() -> None:
        scores, repaired = Stitcher(grid, heatmap), Stitcher(grid, restored, dtype=np.uint8)
        batches(lambda first, n: scores.add(first, lane.outputs["score"][:n]))
        batches(lambda first, n: repaired.add(first, lane.outputs["reconstruction"][:n]))

    grid.cut(image, 0, lane.inputs["tiles"])
    lane.run()
    stitch()
    rank = heatmap.size - int(heatmap.size * HOT_SHARE)
    level = float(np.partition(heatmap.ravel(), rank)[rank])
    steps = {
        "decode": lambda: read_image(bench.paths[0]),
        "cut": lambda: batches(lambda first, n: grid.cut(image, first, lane.inputs["tiles"])),
        "score, with copies": lambda: batches(lambda first, n: lane.run()),
        "stitch": stitch,
        "regions": lambda: find_regions(heatmap, grow=level, seed=level, reach=3),
    }
    for name, step in steps.items():
        bench.add(Row(f"stage: {name}", str(setting), bench.median_ms(step)))
