"""Cutting, stitching and finding regions beside the usual peers, on one image of 5120x5120 px.

    python -m benchmarks.kernels [--quick] [--out benchmarks/results]

Every contender's answer is checked against flawmap's before anything is timed.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.measure import Timing, circumstances, interleaved, markdown
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.regions import find_regions
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.whole_file import write_text

BATCH = 16
MAX_RUNS = 10_000_000  # the noise is meant to be measured, not refused
PACKAGES = ["flawmap", "numpy", "numba", "opencv-python-headless", "scikit-image", "scipy"]


def time_cut(grid: TileGrid, rounds: int) -> list[Timing]:
    image = np.random.default_rng(0).integers(0, 256, (grid.height, grid.width), np.uint8)
    padded = grid.pad(image)
    ours, theirs = (np.zeros((BATCH, grid.tile_size, grid.tile_size), np.uint8) for _ in range(2))

    def cut() -> None:
        for first in range(0, len(grid), BATCH):
            grid.cut(padded, first, ours)

    cut()
    peers.cut_with_numpy(grid, padded, theirs)
    np.testing.assert_array_equal(ours, theirs)  # the last batches; the tests look at all of them
    contenders = {"flawmap": cut, "numpy loop": lambda: peers.cut_with_numpy(grid, padded, theirs)}
    return interleaved(f"cut {len(grid)} tiles, uint8", contenders, rounds)


def time_merge(grid: TileGrid, rounds: int) -> list[Timing]:
    tiles = np.random.default_rng(0).random((len(grid), grid.tile_size, grid.tile_size), np.float32)
    ours, theirs = (np.zeros((grid.height, grid.width), np.float32) for _ in range(2))
    boxes = grid.owned_boxes.tolist()

    def merge(source: Callable[[int], np.ndarray]) -> None:
        stitcher = Stitcher(grid, ours)
        for first in range(0, len(grid), BATCH):
            stitcher.add(first, source(first))
        stitcher.result()

    def merge_from_memory() -> None:
        merge(lambda first: tiles[first : first + BATCH])

    merge_from_memory()
    peers.merge_with_numpy(boxes, tiles, theirs)
    np.testing.assert_array_equal(ours, theirs)
    contenders = {
        "flawmap": merge_from_memory,
        "numpy loop, same ownership, unchecked": lambda: peers.merge_with_numpy(boxes, tiles, theirs),
        "flawmap, one hot batch": lambda: merge(lambda first: tiles[: min(BATCH, len(grid) - first)]),
        "copy of a finished heatmap (the memory's limit)": lambda: np.copyto(ours, theirs),
    }
    return interleaved(f"merge {len(grid)} tiles, float32", contenders, rounds)


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
    check_regions(found, peers.regions_with_cv2(heatmap, grow, grow))
    contenders: dict[str, Callable[[], np.ndarray]] = {
        "flawmap": lambda: find_regions(heatmap, grow=grow, seed=grow, max_runs=MAX_RUNS),
        "flawmap, reach 3": lambda: find_regions(heatmap, grow=grow, seed=grow, reach=3, max_runs=MAX_RUNS),
        "cv2 labels and stats, numpy scores": lambda: peers.regions_with_cv2(heatmap, grow, grow),
    }
    timings = interleaved(f"regions, {name} ({len(found)})", contenders, rounds)
    if slow_peers:
        check_regions(found, peers.regions_with_skimage(heatmap, grow, grow))
        slow = {"skimage regionprops_table": lambda: peers.regions_with_skimage(heatmap, grow, grow)}
        timings += interleaved(f"regions, {name} ({len(found)})", slow, min(rounds, 3))
    return timings


def check_regions(found: np.ndarray, peer: np.ndarray) -> None:
    """Same regions; those of equal score_max may come in another order."""
    names = ("y0", "x0", "y1", "x1", "area_px", "score_max", "score_mean", "centroid_y", "centroid_x")
    ours = np.stack([found[name].astype(np.float64) for name in names], axis=1)
    ours, peer = (table[np.lexsort(table[:, ::-1].T)] for table in (ours.round(3), peer.round(3)))
    np.testing.assert_allclose(ours, peer, atol=2e-3)


def time_hysteresis(heatmap: np.ndarray, rounds: int, *, slow_peers: bool) -> list[Timing]:
    grow, seed = 0.5, 0.95
    found = find_regions(heatmap, grow=grow, seed=seed)
    assert found["area_px"].sum() == peers.hysteresis_with_cv2(heatmap, grow, seed).sum()
    contenders: dict[str, Callable[[], np.ndarray]] = {
        "flawmap, with all measurements": lambda: find_regions(heatmap, grow=grow, seed=seed),
        "cv2 labels and a table, mask only": lambda: peers.hysteresis_with_cv2(heatmap, grow, seed),
    }
    if slow_peers:
        assert found["area_px"].sum() >= peers.hysteresis_with_skimage(heatmap, grow, seed).sum()
        contenders["skimage, mask only, 4-connected"] = lambda: peers.hysteresis_with_skimage(heatmap, grow, seed)
    return interleaved("hysteresis, specks", contenders, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2048x2048 px, few rounds, without scikit-image")
    parser.add_argument("--out", type=Path, help="folder to write kernels.md and kernels.json to")
    arguments = parser.parse_args()
    size, rounds, slow_peers = (2048, 5, False) if arguments.quick else (5120, 15, True)
    share = (size / 5120) ** 2
    grid = TileGrid(size, size, tile_size=256, overlap=64)
    blobs = with_blobs(size, round(168 * share), largest=80, seed=1)
    specks = with_blobs(size, round(19_000 * share), largest=5, seed=2)
    noise = np.random.default_rng(3).random((size, size), np.float32)

    timings = time_cut(grid, rounds) + time_merge(grid, rounds)
    timings += time_regions("blobs", blobs, 0.5, rounds, slow_peers=slow_peers)
    timings += time_regions("specks", specks, 0.5, rounds, slow_peers=slow_peers)
    # scikit-image takes a minute for each look at so many regions: left out.
    timings += time_regions("10 % noise", noise, 0.9, min(rounds, 5), slow_peers=False)
    timings += time_hysteresis(specks, rounds, slow_peers=slow_peers)

    facts = circumstances(PACKAGES)
    settings = {"image": f"{size}x{size}", "tile_size": 256, "overlap": 64, "batch": BATCH, "rounds": rounds}
    text = markdown("Kernels", settings, facts, timings)
    print(text)
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        write_text(arguments.out / "kernels.md", text)
        record = {"settings": settings, **facts, "timings": [asdict(timing) for timing in timings]}
        write_text(arguments.out / "kernels.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
