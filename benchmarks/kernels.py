"""Cutting, stitching and finding regions beside every usual peer, and the whole way without a network.

    python -m benchmarks.kernels [--quick] [--out benchmarks/results]

Every contender's answer is checked before it is timed; contenders take turns; memory is what a contender holds beyond
its input. Peers of the extra `bench` that are not installed are left out and named. pytorch-toolbelt needs torchvision
and is not measured. `make bench` runs this with `benchmarks.pipeline` and writes one report.
"""

import argparse
import gc
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import region_peers, tile_peers
from benchmarks.measure import Goal, Timing, circumstances, goals_markdown, interleaved, markdown, memory_beyond
from benchmarks.whole_way import Ways
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.regions import find_regions
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.whole_file import write_text

BATCH = tile_peers.BATCH
MAX_RUNS = 10_000_000  # the noise is meant to be measured, not refused
PACKAGES = [
    "flawmap", "numpy", "numba", "opencv-python-headless", "scikit-image", "scipy", "torch",
    "tiler", "patchify", "sahi", "monai", "blended-tiling", "connected-components-3d",
]  # fmt: skip
GROWTH = (2560, 5120, 10240, 20480)
Contenders = dict[str, Callable[[], Any]]

missing: set[str] = set()  # packages that are not installed here


def with_peers(contenders: Contenders, peers: dict[str, Callable[[], Callable[[], Any]]]) -> Contenders:
    """`contenders` and those of `peers`, built where their package is installed."""
    for name, build in peers.items():
        try:
            contenders[name] = build()
        except ImportError as error:
            missing.add(str(error.name))
    return contenders


def exhausted(tiles: Callable[[], Iterable[np.ndarray]]) -> Callable[[], tuple[int, np.ndarray]]:
    """Runs through tiles or batches of them; (how many there were, the second tile)."""

    def run() -> tuple[int, np.ndarray]:
        count, second = 0, np.zeros(0)
        for batch in tiles():
            n = 1 if batch.ndim == 2 else len(batch)
            if count <= 1 < count + n:
                second = np.array(batch if batch.ndim == 2 else batch[1 - count])
            count += n
        return count, second

    return run


def time_cut(grid: TileGrid, rounds: int) -> list[Timing]:
    image = np.random.default_rng(0).integers(0, 256, (grid.height, grid.width), np.uint8)
    out = np.zeros((BATCH, grid.tile_size, grid.tile_size), np.uint8)
    stride = grid.tile_size - grid.overlap

    def check(answer: tuple[int, np.ndarray]) -> None:
        count, second = answer
        assert count == len(grid), f"{count} tiles"
        np.testing.assert_array_equal(second, image[: grid.tile_size, stride : stride + grid.tile_size])

    contenders: Contenders = {
        "flawmap": exhausted(lambda: tile_peers.cut_with_flawmap(grid, image, out)),
        "numpy loop": exhausted(lambda: tile_peers.cut_with_numpy(grid, image, out)),
        "torch unfold, one batch of float32": exhausted(lambda: tile_peers.cut_with_unfold(grid, image)),
    }
    peers: dict[str, tuple[str, Callable[[], Iterable[np.ndarray]]]] = {
        "tiler": ("tiler", lambda: tile_peers.cut_with_tiler(grid, image)),
        "patchify, copied into batches": ("patchify", lambda: tile_peers.cut_with_patchify(grid, image, out)),
        "SAHI slice_image, copied into batches": ("sahi", lambda: tile_peers.cut_with_sahi(grid, image, out)),
        "MONAI SlidingWindowSplitter": ("monai", lambda: tile_peers.cut_with_monai(grid, image)),
        "blended-tiling, one batch of float32": (
            "blended_tiling",
            lambda: tile_peers.cut_with_blended_tiling(grid, image),
        ),
    }
    built = {name: lambda p=package, t=tiles: _imported(p, exhausted(t)) for name, (package, tiles) in peers.items()}
    return interleaved(f"cut {len(grid)} tiles, uint8", with_peers(contenders, built), rounds, check)


def _imported(package: str, run: Callable[[], Any]) -> Callable[[], Any]:
    """`run`, after an ImportError where `package` is not there."""
    __import__(package)
    return run


def time_merge(grid: TileGrid, rounds: int) -> list[Timing]:
    heatmap = np.random.default_rng(0).random((grid.height, grid.width), np.float32)
    tiles = np.zeros((len(grid), grid.tile_size, grid.tile_size), np.float32)
    grid.cut(heatmap, 0, tiles)
    ours, theirs = np.zeros_like(heatmap), np.zeros_like(heatmap)
    boxes = grid.owned_boxes.tolist()

    def merge(source: Callable[[int], np.ndarray]) -> np.ndarray:
        stitcher = Stitcher(grid, ours)
        for first in range(0, len(grid), BATCH):
            stitcher.add(first, source(first))
        return stitcher.result()

    def check(merged: np.ndarray) -> None:
        np.testing.assert_allclose(merged, heatmap, atol=1e-5)

    blend = tile_peers.numpy_blender(grid, theirs)
    contenders: Contenders = {
        "flawmap": lambda: merge(lambda first: tiles[first : first + BATCH]),
        "numpy loop, same ownership, unchecked": lambda: tile_peers.merge_with_numpy(boxes, tiles, theirs),
        "numpy loop, weights divided before": lambda: blend(tiles),
        "numpy loop, plain: sums and counts": lambda: tile_peers.merge_by_counting(grid, tiles),
        "torch fold": tile_peers.fold_merger(grid, heatmap),
        "copy of a finished heatmap (the memory's limit)": lambda: _copied(heatmap, theirs),
    }
    peers: dict[str, Callable[[], Callable[[], Any]]] = {
        "tiler, boxcar": lambda: tile_peers.tiler_merger(grid, heatmap, "boxcar"),
        "tiler, triangle": lambda: tile_peers.tiler_merger(grid, heatmap, "triang"),
        "MONAI AvgMerger": lambda: _imported("monai", tile_peers.monai_merger(grid, tiles)),
        "blended-tiling": lambda: tile_peers.blended_tiling_merger(grid, heatmap),
        "patchify": lambda: tile_peers.patchify_merger(grid, heatmap),
    }
    step = f"merge {len(grid)} tiles, float32"
    timings = interleaved(step, with_peers(contenders, peers), rounds, check)
    hot = {"flawmap, one hot batch": lambda: merge(lambda first: tiles[: min(BATCH, len(grid) - first)])}
    return timings + interleaved(step, hot, rounds)


def _copied(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    np.copyto(target, source)
    return target


def time_residual(grid: TileGrid, rounds: int) -> list[Timing]:
    random = np.random.default_rng(0)
    image, repaired_image = (random.integers(0, 256, (grid.height, grid.width), np.uint8) for _ in range(2))
    tiles, repaired = (np.zeros((len(grid), grid.tile_size, grid.tile_size), np.uint8) for _ in range(2))
    grid.cut(image, 0, tiles)
    grid.cut(repaired_image, 0, repaired)
    expected = np.abs(image.astype(np.float32) - repaired_image)
    ours, theirs = np.zeros_like(expected), np.zeros_like(expected)
    boxes = grid.owned_boxes.tolist()
    blend = tile_peers.numpy_blender(grid, theirs)

    def flawmap(hot: bool = False) -> np.ndarray:
        stitcher = Stitcher(grid, ours)
        for first in range(0, len(grid), BATCH):
            batch = slice(0, min(BATCH, len(grid) - first)) if hot else slice(first, first + BATCH)
            stitcher.add_residual(first, tiles[batch], repaired[batch])
        return stitcher.result()

    def residuals() -> Iterator[np.ndarray]:
        for tile, answer in zip(tiles, repaired, strict=True):
            yield np.abs(tile.astype(np.float32) - answer.astype(np.float32))

    def check(merged: np.ndarray) -> None:
        np.testing.assert_allclose(merged, expected, atol=1e-3)

    contenders: Contenders = {
        "flawmap": flawmap,
        "numpy loop, same ownership, unchecked": lambda: tile_peers.merge_with_numpy(boxes, residuals(), theirs),
        "numpy loop, plain: sums and counts": lambda: tile_peers.merge_by_counting(grid, residuals()),
        "numpy loop, weights divided before": lambda: blend(residuals()),
    }
    step = f"residual + merge {len(grid)} tiles, uint8"
    timings = interleaved(step, contenders, rounds, check)
    return timings + interleaved(step, {"flawmap, one hot batch": lambda: flawmap(hot=True)}, rounds)


def with_blobs(size: int, count: int, largest: int, seed: int) -> np.ndarray:
    """A heatmap of noise below 0.4 with `count` squares of 1 to `largest` px between 0.5 and 1."""
    random = np.random.default_rng(seed)
    heatmap = random.random((size, size), np.float32) * np.float32(0.4)
    for side in random.integers(1, largest + 1, count):
        y, x = random.integers(0, size - side, 2)
        heatmap[y : y + side, x : x + side] = 0.5 + 0.5 * random.random((side, side), np.float32)
    return heatmap


def time_regions(name: str, heatmap: np.ndarray, grow: float, rounds: int, *, slow_peers: bool) -> list[Timing]:
    found = find_regions(heatmap, grow=grow, seed=grow, max_runs=MAX_RUNS)
    expected = as_table(found)

    def check(answer: np.ndarray) -> None:
        """Same regions; those of equal score_max may come in another order."""
        table = as_table(answer) if answer.dtype.names else answer
        ours, theirs = (rows[np.lexsort(rows[:, ::-1].T.round(3))] for rows in (expected, table))
        np.testing.assert_allclose(ours, theirs, atol=2e-3)

    contenders: Contenders = {
        "flawmap": lambda: find_regions(heatmap, grow=grow, seed=grow, max_runs=MAX_RUNS),
        "cv2 labels and stats, numpy scores": lambda: region_peers.regions_with_cv2(heatmap, grow, grow),
    }
    peers = {
        "cc3d labels and stats, numpy scores": lambda: _imported(
            "cc3d", lambda: region_peers.regions_with_cc3d(heatmap, grow, grow)
        )
    }
    if slow_peers:
        contenders["cv2 findContours and crops"] = lambda: region_peers.regions_with_contours(heatmap, grow, grow)
        contenders["skimage regionprops_table"] = lambda: region_peers.regions_with_skimage(heatmap, grow, grow)
        contenders["scipy.ndimage"] = lambda: region_peers.regions_with_scipy(heatmap, grow, grow)
    step = f"regions, {name} ({len(found)})"
    timings = interleaved(step, with_peers(contenders, peers), rounds, check)
    joined = {"flawmap, reach 3": lambda: find_regions(heatmap, grow=grow, seed=grow, reach=3, max_runs=MAX_RUNS)}
    return timings + interleaved(step, joined, rounds)


def as_table(regions: np.ndarray) -> np.ndarray:
    """What peers measure of REGION_DTYPE regions, float64 [k, 9]."""
    names = ("y0", "x0", "y1", "x1", "area_px", "score_max", "score_mean", "centroid_y", "centroid_x")
    return np.stack([regions[name].astype(np.float64) for name in names], axis=1)


def time_hysteresis(heatmap: np.ndarray, rounds: int) -> list[Timing]:
    grow, seed = 0.5, 0.95
    area = int(find_regions(heatmap, grow=grow, seed=seed)["area_px"].sum())

    def check(answer: np.ndarray) -> None:
        found = int(answer["area_px"].sum() if answer.dtype.names else answer.sum())
        assert found == area, f"{found} px, not {area}"

    contenders: Contenders = {
        "flawmap, with all measurements": lambda: find_regions(heatmap, grow=grow, seed=seed),
        "cv2 labels and a table, mask only": lambda: region_peers.hysteresis_with_cv2(heatmap, grow, seed),
        "scipy labels and a table, mask only": lambda: region_peers.hysteresis_with_scipy(heatmap, grow, seed),
    }
    peers = {
        "cc3d labels and a table, mask only": lambda: _imported(
            "cc3d", lambda: region_peers.hysteresis_with_cc3d(heatmap, grow, seed)
        )
    }
    timings = interleaved("hysteresis, specks", with_peers(contenders, peers), rounds, check)
    other = {"skimage, mask only, 4-connected": lambda: region_peers.hysteresis_with_skimage(heatmap, grow, seed)}
    return timings + interleaved("hysteresis, specks", other, rounds)


def time_whole_way(size: int, rounds: int) -> list[Timing]:
    ways = Ways(size)
    expected = np.sort(as_table(ways.flawmap())[:, :5], axis=0)

    def check(answer: np.ndarray) -> None:
        table = as_table(answer) if answer.dtype.names else answer
        np.testing.assert_array_equal(np.sort(table[:, :5], axis=0), expected)  # boxes and areas

    contenders: Contenders = {
        "flawmap": ways.flawmap,
        "hand-tuned numpy + cv2": ways.hand_tuned,
        "anomalib-like: unfold, fold, skimage": ways.anomalib_like,
    }
    peers = {"tiler + skimage": lambda: _imported("tiler", ways.tiler_and_skimage)}
    return interleaved("the whole way without network", with_peers(contenders, peers), rounds, check)


def growth(sizes: Iterable[int], rounds: int) -> list[dict[str, float]]:
    """The whole way by size: milliseconds a megapixel, and memory beyond the input in heatmaps."""
    rows = []
    for size in sizes:
        ways = Ways(size)
        (timing,) = interleaved("growth", {"flawmap": ways.flawmap}, rounds)
        memory = memory_beyond(ways.flawmap)
        row = {"size_px": size, "median_ms": timing.median_ms, "ms_per_megapixel": timing.median_ms / size**2 * 1e6}
        if memory is not None:
            row["memory_in_heatmaps"] = memory / (size**2 * 4 / 2**20)
        rows.append(row)
        del ways
        gc.collect()
    return rows


def goals_of(timings: list[Timing], grown: list[dict[str, float]]) -> list[Goal]:
    """What issue 5 asks of the kernels, as ratios of medians of this run."""

    def median(step: str, contender: str) -> float:
        return next(t.median_ms for t in timings if t.step.startswith(step) and t.contender == contender)

    def ours(step: str) -> float:
        return next(t.median_ms for t in timings if t.step.startswith(step) and t.contender.startswith("flawmap"))

    def fastest_peer(step: str) -> float:
        others = [t for t in timings if t.step.startswith(step) and not t.contender.startswith(("flawmap", "copy"))]
        return min(t.median_ms for t in others)

    whole, noise = "the whole way", "regions, 10 %"
    limit = median("merge", "copy of a finished heatmap (the memory's limit)")
    plain = median("residual", "numpy loop, plain: sums and counts")
    noise_ratio = median(noise, "cv2 labels and stats, numpy scores") / ours(noise)
    anomalib = median(whole, "anomalib-like: unfold, fold, skimage") / ours(whole)
    goals = [
        Goal("merge / reading the tiles and writing the map (one copy)", ours("merge") / limit, 1.7, False),
        Goal("residual + merge: plain numpy loop / flawmap", plain / ours("residual"), 6, True),
        *(
            Goal(f"{step}: fastest peer / flawmap", fastest_peer(step) / ours(step), ratio, True)
            for step, ratio in (("cut", 1), ("regions, blobs", 4), ("regions, specks", 4), ("hysteresis", 1))
        ),
        Goal("regions, 10 % noise: cv2 / flawmap", noise_ratio, 1, True),
        Goal("whole way: hand-tuned / flawmap", median(whole, "hand-tuned numpy + cv2") / ours(whole), 2.3, True),
        Goal("whole way: anomalib-like / flawmap", anomalib, 10, True),
    ]
    if any(t.contender == "tiler + skimage" for t in timings):
        ratio = median(whole, "tiler + skimage") / median(whole, "flawmap")
        goals.append(Goal("whole way: tiler + skimage / flawmap", ratio, 10, True))
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
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out / "kernels.md", text)
        write_text(arguments.out / "kernels.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
