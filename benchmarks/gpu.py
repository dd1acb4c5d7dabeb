"""The whole way on a GPU: what the session does alone, and images a second from uncompressed TIFF to regions.

    python -m benchmarks.gpu [--model MODEL.onnx] [--out DIR] [--device cuda|tensorrt|cpu] [--quick]

Measures, for images of 5120x5120 px, mono, 8 bits: the session by precision (fp32, fp32 with TF32, fp16), layout, batch
and tile size; with tiles and answers left on the card, copied through pageable memory, and through page-locked
buffers; each stage of one image by itself; and a folder, with every stage of an image overlapping those of others in
threads. Without `--model` the default network with untrained weights is exported here (needs torch and onnxscript).
Prints one markdown table and writes gpu.md and gpu.json. What cannot run is a row that says why.
"""

import argparse
import itertools
import json
import math
import os
import queue
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import tifffile

from benchmarks.measure import circumstances
from flawmap.export.half_precision import to_half
from flawmap.inspect import device as devices
from flawmap.inspect.bound_session import BoundSession
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_image
from flawmap.tiling.regions import find_regions
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.whole_file import write_text

OVERLAP, BORDER, STRIDE = 104, 48, 8  # px, of the default network
HOT_SHARE = 3e-5  # of pixels lie above the level at which regions are looked for, as calibration chooses it
PACKAGES = ["numpy", "numba", "opencv-python-headless", "tifffile", "onnx", "onnxruntime", "onnxruntime-gpu", "torch"]
UINT8, FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)


@dataclass(frozen=True)
class Setting:
    """One way to run the network."""

    precision: str  # fp32, tf32, fp16
    tile_size: int
    batch: int
    nhwc: bool = False
    lanes: int = 1  # sessions side by side

    def __str__(self) -> str:
        layout = ", NHWC" if self.nhwc else ""
        return f"{self.precision}{layout}, tile {self.tile_size}, batch {self.batch}, lanes {self.lanes}"


@dataclass(frozen=True)
class Row:
    """One line of the report; `milliseconds` an image, or None and why in `note`."""

    what: str
    setting: str
    milliseconds: float | None
    note: str = ""


class Bench:
    """What all measurements share: the model in each precision, the images, the device."""

    def __init__(self, model: Path, device: str, size: int, folder: Path, n_images: int, seconds: float) -> None:
        self.device, self.size, self.seconds = device, size, seconds
        self.on_gpu = device in ("cuda", "tensorrt")
        self.rows: list[Row] = []
        self.models = {"fp32": model.read_bytes()}
        self.models["tf32"] = self.models["fp32"]
        self.models["fp16"] = to_half(onnx.load(model)).SerializeToString()
        self.paths = write_images(folder, size, n_images)

    def grid(self, tile_size: int) -> TileGrid:
        return TileGrid(self.size, self.size, tile_size, OVERLAP, multiple=STRIDE, border=BORDER)

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
        session = onnxruntime.InferenceSession(
            self.models[setting.precision],
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


def write_images(folder: Path, size: int, count: int) -> list[Path]:
    """Uncompressed TIFF files: a soft texture with sensor noise and a few dots."""
    random = np.random.default_rng(0)
    base = cv2.GaussianBlur(random.standard_normal((size, size)).astype(np.float32), (0, 0), 3) * 120 + 128
    noise = (random.standard_normal((size, size)) * 4).astype(np.float32)
    paths = []
    for number in range(count):
        image = np.clip(np.roll(base, 97 * number, axis=1) + np.roll(noise, 31 * number, axis=0), 0, 255)
        for y, x in random.integers(0, size - 5, (20, 2)):
            image[y : y + 5, x : x + 5] = 250
        paths.append(folder / f"{number:03}.tif")
        tifffile.imwrite(paths[-1], image.astype(np.uint8))
    return paths


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

    whole = inspect_one(bench, grid, setting, lane_queue([lane]), bench.paths[0])
    level = whole.level
    steps = {
        "decode": lambda: read_image(bench.paths[0]),
        "cut": lambda: batches(lambda first, n: grid.cut(image, first, lane.inputs["tiles"])),
        "score, with copies": lambda: batches(lambda first, n: lane.run()),
        "stitch": stitch,
        "regions": lambda: find_regions(whole.heatmap, grow=level, seed=level, reach=3),
    }
    for name, step in steps.items():
        bench.add(Row(f"stage: {name}", str(setting), bench.median_ms(step)))


@dataclass
class Whole:
    """One image inspected."""

    heatmap: np.ndarray
    n_regions: int
    level: float


def lane_queue(lanes: list[BoundSession]) -> "queue.SimpleQueue[BoundSession]":
    free: queue.SimpleQueue[BoundSession] = queue.SimpleQueue()
    for lane in lanes:
        free.put(lane)
    return free


def inspect_one(
    bench: Bench,
    grid: TileGrid,
    setting: Setting,
    free: "queue.SimpleQueue[BoundSession]",
    path: Path,
    buffers: "queue.SimpleQueue[tuple[np.ndarray, np.ndarray]] | None" = None,
    level: float | None = None,
) -> Whole:
    """File -> regions; a lane is held from the cutting of a batch to its stitching, so that others score meanwhile."""
    image = read_image(path)
    heatmap, restored = buffers.get() if buffers else (np.empty(image.shape, np.float32), np.empty_like(image))
    scores, repaired = Stitcher(grid, heatmap), Stitcher(grid, restored, dtype=np.uint8)
    for first in range(0, len(grid), setting.batch):
        lane = free.get()
        try:
            n = grid.cut(image, first, lane.inputs["tiles"])
            lane.run()
            scores.add(first, lane.outputs["score"][:n])
            repaired.add(first, lane.outputs["reconstruction"][:n])
        finally:
            free.put(lane)
    if level is None:
        level = float(np.partition(heatmap.ravel(), -int(heatmap.size * HOT_SHARE))[-int(heatmap.size * HOT_SHARE)])
    regions = find_regions(scores.result(), grow=level, seed=level, reach=3)
    whole = Whole(heatmap, len(regions), level)
    if buffers:
        buffers.put((heatmap, restored))
    return whole


def folder_ms(bench: Bench, setting: Setting, workers: int) -> tuple[float, int]:
    """(milliseconds an image over a folder, regions of the last image), `workers` images in flight."""
    grid = bench.grid(setting.tile_size)
    lanes = [bench.lane(setting, bench.session(setting)) for _ in range(setting.lanes)]
    for lane in lanes:
        lane.run()
    free = lane_queue(lanes)
    level = inspect_one(bench, grid, setting, free, bench.paths[0]).level
    buffers: queue.SimpleQueue[tuple[np.ndarray, np.ndarray]] = queue.SimpleQueue()
    for _ in range(workers):
        buffers.put((np.zeros((bench.size, bench.size), np.float32), np.zeros((bench.size, bench.size), np.uint8)))
    run = partial(inspect_one, bench, grid, setting, free, buffers=buffers, level=level)
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, bench.paths[:workers]))  # warm
        start = time.perf_counter()
        found = 0
        done = 0
        while done < len(bench.paths) or time.perf_counter() - start < 3 * bench.seconds:
            for whole in pool.map(run, bench.paths):
                found = whole.n_regions
            done += len(bench.paths)
        return (time.perf_counter() - start) * 1e3 / done, found


def measure(bench: Bench, tile_sizes: list[int], batches: list[int], workers: list[int]) -> None:
    check_half(bench)
    alone: dict[Setting, float] = {}
    first_tile, first_batch = tile_sizes[0], batches[0]
    candidates = [
        Setting(precision, first_tile, first_batch, nhwc)
        for precision in ("fp32", "tf32", "fp16")
        for nhwc in (False, True)
    ]
    if not bench.on_gpu:
        candidates = [setting for setting in candidates if not setting.nhwc]

    def try_alone(setting: Setting) -> None:
        with bench.row("session alone, on the card", setting) as add:
            alone[setting] = session_alone(bench, setting)
            add(alone[setting])

    for setting in candidates:
        try_alone(setting)
    best = min(alone, key=lambda setting: alone[setting])
    for tile_size in tile_sizes:
        for batch in batches:
            setting = Setting(best.precision, tile_size, batch, best.nhwc)
            n_tiles = len(bench.grid(tile_size))
            if setting not in alone and batch <= max(1, n_tiles):
                try_alone(setting)
    ranked = sorted((s for s in alone if s.precision == best.precision), key=lambda setting: alone[setting])
    for setting in ranked[:3]:
        for bound in (False, True):
            what = "session with copies, page-locked and bound" if bound else "session with copies, plain run"
            with bench.row(what, setting) as add:
                add(with_copies(bench, setting, bound=bound))
    with bench.row("stages", ranked[0]):
        stages(bench, ranked[0])
    for setting, lanes, n_workers in itertools.product(ranked[:3], (1, 2, 3), workers):
        side_by_side = replace(setting, lanes=lanes)
        with bench.row(f"folder, {n_workers} images in flight", side_by_side) as add:
            ms, found = folder_ms(bench, side_by_side, n_workers)
            add(ms, f"{alone[setting] / ms:.0%} of the session alone, {found} regions in the last image")


def card() -> str:
    """What nvidia-smi says is in the machine."""
    with os.popen("nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null") as pipe:
        return pipe.read().strip() or "no GPU"


def report(bench: Bench, facts: dict[str, Any]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    lines = [
        f"# {bench.size}x{bench.size} px on {bench.device}: {card()}",
        "",
        f"{facts['date']}; {machine['cpu']}, {machine['cores']} cores; "
        + ", ".join(f"{name} {number}" for name, number in versions.items()),
        "",
        "| what | how | ms an image | images a second | |",
        "|---|---|---:|---:|---|",
    ]
    for row in bench.rows:
        figures = "failed | " if row.milliseconds is None else f"{row.milliseconds:.1f} | "
        figures += f"{1e3 / row.milliseconds:.1f}" if row.milliseconds else ""
        lines.append(f"| {row.what} | {row.setting} | {figures} | {row.note} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="model.onnx of a bundle for mono images of 8 bits")
    parser.add_argument("--device", default="cuda", help="cuda, tensorrt or cpu")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder for gpu.md and gpu.json")
    parser.add_argument("--quick", action="store_true", help="1024x1024 px, few settings: to see that it works")
    arguments = parser.parse_args()
    size, n_images, seconds = (1024, 3, 0.1) if arguments.quick else (5120, 8, 1.0)
    tile_sizes, batches, workers = (
        ([512], [1, 2], [2]) if arguments.quick else ([1128, 2664, 5216], [8, 1, 4, 25], [4, 8])
    )
    with tempfile.TemporaryDirectory() as temporary:
        model = arguments.model
        if model is None:
            from benchmarks.untrained import write_untrained_model

            model = Path(temporary) / "model.onnx"
            write_untrained_model(model)
        bench = Bench(model, arguments.device, size, Path(temporary), n_images, seconds)
        facts = circumstances(PACKAGES)
        try:
            measure(bench, tile_sizes, batches, workers)
        finally:  # what was measured is not lost
            text = report(bench, facts)
            print(text)
            arguments.out.mkdir(parents=True, exist_ok=True)
            write_text(arguments.out / "gpu.md", text)
            record = {"device": arguments.device, "card": card(), **facts, "rows": [asdict(row) for row in bench.rows]}
            write_text(arguments.out / "gpu.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
