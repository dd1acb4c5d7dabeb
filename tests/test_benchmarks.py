"""The benchmark's contenders give the right answer, on images small enough for the suite; nothing is timed here."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import kernels, regions, tiles
from benchmarks.measure import Goal, Timing, interleaved, memory_beyond
from flawmap.tiling.grid import TileGrid

GRID = TileGrid(600, 600, tile_size=128, overlap=32)  # the last tile is not where a whole number of strides ends


def contenders(timings: list[Timing]) -> set[str]:
    return {timing.contender for timing in timings}


def test_cutting_and_merging() -> None:
    """`interleaved` refuses a contender that answers otherwise than flawmap."""
    assert {"flawmap", "numpy loop"} <= contenders(tiles.time_cut(GRID, 1))
    assert {"flawmap", "torch fold", "numpy loop, plain: sums and counts"} <= contenders(tiles.time_merge(GRID, 1))
    assert {"flawmap", "numpy loop, plain: sums and counts"} <= contenders(tiles.time_residual(GRID, 1))


def test_regions_and_hysteresis() -> None:
    heatmap = regions.with_blobs(300, 60, largest=9, seed=0)
    found = contenders(regions.time_regions("blobs", heatmap, 0.5, 1, slow_peers=True))
    assert {"flawmap", "cv2 findContours and crops", "skimage regionprops_table", "scipy.ndimage"} <= found
    assert "cv2 labels and a table, mask only" in contenders(regions.time_hysteresis(heatmap, 1))


def test_the_whole_way() -> None:
    timings = kernels.time_whole_way(640, 1)
    assert {"flawmap", "hand-tuned numpy + cv2", "anomalib-like: unfold, fold, skimage"} <= contenders(timings)
    (row,) = kernels.growth([640], 1)
    assert row["size_px"] == 640 and row["median_ms"] > 0


def test_a_wrong_answer_ends_the_benchmark() -> None:
    def check(answer: int) -> None:
        assert answer == 4, f"{answer}"

    with pytest.raises(AssertionError, match="sum: wrong answers otherwise: 5"):
        interleaved("sum", {"right": lambda: 4, "wrong": lambda: 5}, 3, check)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_memory_is_what_a_contender_holds_at_a_time() -> None:
    def one_after_the_other() -> None:
        for _ in range(3):
            np.ones(2**26, np.uint8)  # 64 MiB, let go at once

    beyond = memory_beyond(one_after_the_other)
    assert beyond is not None and 60 < beyond < 80


def test_goals() -> None:
    assert Goal("faster", 4.1, 4, at_least=True).met and not Goal("faster", 3.9, 4, at_least=True).met
    assert Goal("smaller", 1.0, 1.1, at_least=False).met and not Goal("smaller", 1.2, 1.1, at_least=False).met
