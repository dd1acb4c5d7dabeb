"""Cutting and merging beside every usual peer: what takes pixels from images to tiles and back."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from benchmarks import tile_peers
from benchmarks.contenders import Contenders, imported, with_peers
from benchmarks.measure import Timing, interleaved
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.stitch import Stitcher

BATCH = tile_peers.BATCH


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
    built = {name: lambda p=package, t=tiles: imported(p, exhausted(t)) for name, (package, tiles) in peers.items()}
    return interleaved(f"cut {len(grid)} tiles, uint8", with_peers(contenders, built), rounds, check)


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
        "MONAI AvgMerger": lambda: imported("monai", tile_peers.monai_merger(grid, tiles)),
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
