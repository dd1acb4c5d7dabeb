"""Cutting, stitching and finding regions beside every usual peer, and the whole way without a network.

    python -m benchmarks.kernels [--quick] [--out benchmarks/results]

Every contender's answer is checked before it is timed; contenders take turns; memory is what a contender holds beyond
its input. Peers of the extra `bench` that are not installed are left out and named. pytorch-toolbelt needs torchvision
and is not measured. `make bench` runs this with `benchmarks.pipeline` and writes one report.
"""

import argparse
import gc
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import Contenders, imported, missing, with_peers
from benchmarks.measure import (
    Goal,
    Timing,
    circumstances,
    goals_markdown,
    interleaved,
    markdown,
    memory_beyond,
    write_results,
)
from benchmarks.regions import as_table, time_hysteresis, time_regions, with_blobs
from benchmarks.tiles import BATCH, time_cut, time_merge, time_residual
from benchmarks.whole_way import Ways
from flawmap.tiling.grid import TileGrid

PACKAGES = [
    "flawmap", "numpy", "numba", "opencv-python-headless", "scikit-image", "scipy", "torch",
    "tiler", "patchify", "sahi", "monai", "blended-tiling", "connected-components-3d",
]  # fmt: skip
WHOLE, NEW = "the whole way without network", ", a new heatmap"
GROWTH = (2560, 5120, 10240, 20480)


def time_whole_way(size: int, rounds: int) -> list[Timing]:
    ways = Ways(size)
    heatmap = np.zeros(ways.image.shape, np.float32)
    expected = np.sort(as_table(ways.flawmap())[:, :5], axis=0)

    def check(answer: np.ndarray) -> None:
        table = as_table(answer) if answer.dtype.names else answer
        np.testing.assert_array_equal(np.sort(table[:, :5], axis=0), expected)  # boxes and areas

    contenders: Contenders = {
        "flawmap": lambda: ways.flawmap(heatmap),
        "hand-tuned numpy + cv2": lambda: ways.hand_tuned(heatmap),
        f"flawmap{NEW}": ways.flawmap,
        f"hand-tuned numpy + cv2{NEW}": ways.hand_tuned,
        "anomalib-like: unfold, fold, skimage": ways.anomalib_like,
    }
    peers = {"tiler + skimage": lambda: imported("tiler", ways.tiler_and_skimage)}
    return interleaved(WHOLE, with_peers(contenders, peers), rounds, check)


def growth(sizes: Iterable[int], rounds: int) -> list[dict[str, float]]:
    """The whole way by size: milliseconds a megapixel, and memory beyond the input in heatmaps, a new one included."""
    rows = []
    for size in sizes:
        ways = Ways(size)
        memory = memory_beyond(ways.flawmap)
        heatmap = np.zeros(ways.image.shape, np.float32)
        (timing,) = interleaved("growth", {"flawmap": lambda w=ways, h=heatmap: w.flawmap(h)}, rounds)
        row = {"size_px": size, "median_ms": timing.median_ms, "ms_per_megapixel": timing.median_ms / size**2 * 1e6}
        if memory is not None:
            row["memory_in_heatmaps"] = memory / (size**2 * 4 / 2**20)
        rows.append(row)
        del ways, heatmap
        gc.collect()
    return rows


def goals_of(timings: list[Timing], grown: list[dict[str, float]]) -> list[Goal]:
    """What the kernels are held against (docs/performance.md), as ratios of medians of this run."""

    def median(step: str, contender: str) -> float:
        return next(t.median_ms for t in timings if t.step.startswith(step) and t.contender == contender)

    def ours(step: str) -> float:
        return next(t.median_ms for t in timings if t.step.startswith(step) and t.contender.startswith("flawmap"))

    def fastest_peer(step: str) -> float:
        others = [t for t in timings if t.step.startswith(step) and not t.contender.startswith(("flawmap", "copy"))]
        return min(t.median_ms for t in others)

    noise = "regions, 10 %"
    limit = median("merge", "copy of a finished heatmap (the memory's limit)")
    plain = median("residual", "numpy loop, plain: sums and counts")
    noise_ratio = median(noise, "cv2 labels and stats, numpy scores") / ours(noise)
    new = median(WHOLE, f"flawmap{NEW}")
    hand_tuned, anomalib_like = "hand-tuned numpy + cv2", median(WHOLE, "anomalib-like: unfold, fold, skimage")
    goals = [
        Goal("merge / reading the tiles and writing the map (one copy)", ours("merge") / limit, 1.7, False),
        Goal("residual + merge: plain numpy loop / flawmap", plain / ours("residual"), 6, True),
        *(
            Goal(f"{step}: fastest peer / flawmap", fastest_peer(step) / ours(step), ratio, True)
            for step, ratio in (("cut", 1), ("regions, blobs", 4), ("regions, specks", 4), ("hysteresis", 1))
        ),
        Goal("regions, 10 % noise: cv2 / flawmap", noise_ratio, 1, True),
        Goal("whole way: hand-tuned / flawmap", median(WHOLE, hand_tuned) / ours(WHOLE), 2.3, True),
        Goal(f"whole way{NEW}: hand-tuned / flawmap", median(WHOLE, f"{hand_tuned}{NEW}") / new, 2.3, True),
        Goal(f"whole way{NEW}: anomalib-like / flawmap", anomalib_like / new, 10, True),
    ]
    if any(t.contender == "tiler + skimage" for t in timings):
        ratio = median(WHOLE, "tiler + skimage") / new
        goals.append(Goal(f"whole way{NEW}: tiler + skimage / flawmap", ratio, 10, True))
    per_megapixel = [row["ms_per_megapixel"] for row in grown]
    if len(per_megapixel) > 1:
        ratio = per_megapixel[-1] / min(per_megapixel)
        goals.append(Goal("time a megapixel: largest size / best size", ratio, 1.25, False))
    memory = [row["memory_in_heatmaps"] for row in grown if row["size_px"] >= 5120 and "memory_in_heatmaps" in row]
    if memory:
        goals.append(Goal("memory beyond the input, in heatmaps", max(memory), 1.1, False))
    return goals


def growth_markdown(grown: list[dict[str, float]]) -> str:
    lines = ["| px | milliseconds | a megapixel | memory / heatmap |", "|---:|---:|---:|---:|"]
    for row in grown:
        memory = f"{row['memory_in_heatmaps']:.2f}" if "memory_in_heatmaps" in row else ""
        size = f"{row['size_px']:.0f}x{row['size_px']:.0f}"
        lines.append(f"| {size} | {row['median_ms']:.1f} | {row['ms_per_megapixel']:.2f} | {memory} |")
    return "\n".join(lines) + "\n"


def run(*, quick: bool) -> tuple[str, dict[str, Any], list[Goal]]:
    """Everything: (markdown, what the JSON holds, the goals)."""
    size, rounds, slow_peers = (2048, 3, False) if quick else (5120, 15, True)
    share = (size / 5120) ** 2
    grid = TileGrid(size, size, tile_size=256, overlap=64)
    timings = time_cut(grid, rounds) + time_merge(grid, rounds) + time_residual(grid, rounds)
    timings += time_regions(
        "blobs", with_blobs(size, round(168 * share), largest=80, seed=1), 0.5, rounds, slow_peers=True
    )
    specks = with_blobs(size, round(19_000 * share), largest=5, seed=2)
    timings += time_regions("specks", specks, 0.5, rounds, slow_peers=slow_peers)
    timings += time_hysteresis(specks, rounds)
    # scikit-image, scipy and contours take a minute for each look at so many regions: left out.
    noise = np.random.default_rng(3).random((size, size), np.float32)
    timings += time_regions("10 % noise", noise, 0.9, min(rounds, 5), slow_peers=False)
    del specks, noise
    timings += time_whole_way(size, rounds)
    grown = growth(GROWTH[:2] if quick else GROWTH, min(rounds, 5))
    goals = goals_of(timings, grown)
    facts = circumstances(PACKAGES)
    settings = {"image": f"{size}x{size}", "tile_size": 256, "overlap": 64, "batch": BATCH, "rounds": rounds}
    text = markdown("Kernels", settings, facts, timings)
    if missing:
        text += f"\nNot installed here and left out: {', '.join(sorted(missing))}.\n"
    text += f"\nThe whole way by size, flawmap:\n\n{growth_markdown(grown)}\n{goals_markdown(goals)}"
    record = {
        "settings": settings,
        **facts,
        "timings": [asdict(timing) for timing in timings],
        "growth": grown,
        "goals": [asdict(goal) | {"met": goal.met} for goal in goals],
        "not_installed": sorted(missing),
    }
    return text, record, goals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2048x2048 px, few rounds: does it run at all?")
    parser.add_argument("--out", type=Path, help="folder to write kernels.md and kernels.json to")
    arguments = parser.parse_args()
    text, record, _ = run(quick=arguments.quick)
    print(text)
    if arguments.out:
        write_results(arguments.out, "kernels", text, record)


if __name__ == "__main__":
    main()
