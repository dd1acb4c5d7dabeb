"""The default network on a processor by runtime and precision, in turns, on one tile as the line cuts it.

    python -m benchmarks.precision [--quick] [--threads N] [--out benchmarks/results]

Before anything is timed, every contender's score is compared with ONNX Runtime's in float32. `processor` is the time
that all threads together took: it hardly moves when others use the machine, which the wall clock does.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino

from benchmarks.gpu import write_images
from benchmarks.measure import circumstances, write_results
from benchmarks.untrained import write_untrained_model
from flawmap.export.faster_model import write_faster_model
from flawmap.inspect.scoring.openvino_session import OpenVinoSession
from flawmap.inspect.scoring.runtime import physical_cores
from flawmap.tiling.images import read_image

EDGE = 48  # px: what padding reaches is not compared
PACKAGES = ["flawmap", "numpy", "onnx", "onnxruntime", "openvino"]
OUTPUTS = ["score", "reconstruction"]


@dataclass(frozen=True)
class Row:
    """One contender: milliseconds of a tile over all rounds, and how far its scores are from float32."""

    contender: str
    median_ms: float
    fastest_ms: float
    processor_ms: float
    score_error_rms: float  # as a share of how much scores vary


def contenders(folder: Path, tiles: list[np.ndarray], threads: int) -> dict[str, Callable[[np.ndarray], Any]]:
    """Name -> what scores a tile."""
    trained, fast, int8 = folder / "trained.onnx", folder / "inference.onnx", folder / "int8.onnx"
    write_untrained_model(trained, for_inference=False)
    write_untrained_model(fast)
    write_faster_model(fast, int8, "int8", [{"tiles": tile[None, :512, :512]} for tile in tiles])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern = threads, False
    sessions: dict[str, Any] = {
        "ONNX Runtime float32, as trained": onnxruntime.InferenceSession(str(trained), options),
        "ONNX Runtime float32": onnxruntime.InferenceSession(str(fast), options),
        "ONNX Runtime int8": onnxruntime.InferenceSession(str(int8), options),
        "OpenVINO float32, as trained": OpenVinoSession(trained, threads=threads),
        "OpenVINO float32": OpenVinoSession(fast, threads=threads),
        "OpenVINO int8": OpenVinoSession(int8, threads=threads),
    }
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        sessions["OpenVINO bf16"] = OpenVinoSession(fast, bf16=True, threads=threads)
        sessions["OpenVINO int8-bf16"] = OpenVinoSession(int8, bf16=True, threads=threads)
    return {name: lambda tile, s=session: s.run(OUTPUTS, {"tiles": tile}) for name, session in sessions.items()}


def measure(runs: dict[str, Callable[[np.ndarray], Any]], tiles: list[np.ndarray], rounds: int) -> list[Row]:
    inner = np.s_[:, EDGE:-EDGE, EDGE:-EDGE]
    scores = {name: run(tiles[0][None])[0][inner] for name, run in runs.items()}
    expected = scores["ONNX Runtime float32, as trained"]
    wall: dict[str, list[float]] = {name: [] for name in runs}
    processor: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        tile = tiles[number % len(tiles)][None]
        for name, run in runs.items():
            start, processor_start = time.perf_counter(), time.process_time()
            run(tile)
            wall[name].append((time.perf_counter() - start) * 1e3)
            processor[name].append((time.process_time() - processor_start) * 1e3)
    return [
        Row(
            name,
            statistics.median(wall[name]),
            min(wall[name]),
            statistics.median(processor[name]),
            float(np.sqrt(np.mean((scores[name] - expected) ** 2)) / expected.std()),
        )
        for name in runs
    ]


def report(rows: list[Row], facts: dict[str, Any], settings: dict[str, Any]) -> str:
    machine = facts["machine"]
    first = rows[0]
    lines = [
        "# The network on a processor",
        "",
        f"{facts['date']}; {machine['cpu']}, {machine['cores']} cores; load averages {machine['load_average']}",
        "",
        ", ".join(f"{name} {number}" for name, number in facts["versions"].items()),
        "",
        ", ".join(f"{name} {value}" for name, value in settings.items()) + ". Milliseconds a tile.",
        "",
        "| contender | median | fastest | processor | times as fast, by processor | score error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ratio = first.processor_ms / row.processor_ms
        figures = f"{row.median_ms:.1f} | {row.fastest_ms:.1f} | {row.processor_ms:.1f} | {ratio:.2f}"
        lines.append(f"| {row.contender} | {figures} | {row.score_error_rms:.2%} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller tile, few rounds")
    parser.add_argument("--threads", type=int, default=physical_cores(), help="of every contender")
    parser.add_argument("--out", type=Path, help="folder to write precision.md and precision.json to")
    arguments = parser.parse_args()
    side, rounds = (512, 3) if arguments.quick else (1128, 15)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tiles = [read_image(path) for path in write_images(folder, side, 3)]
        rows = measure(contenders(folder, tiles, arguments.threads), tiles, rounds)
    facts = circumstances(PACKAGES)
    settings = {"tile": f"{side}x{side}", "threads": arguments.threads, "rounds": rounds}
    text = report(rows, facts, settings)
    print(text)
    if arguments.out:
        record = {"settings": settings, **facts, "rows": [asdict(row) for row in rows]}
        write_results(arguments.out, "precision", text, record)


if __name__ == "__main__":
    main()
