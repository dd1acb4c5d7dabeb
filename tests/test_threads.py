"""Kernels in threads: the same answers as in one, wherever the rows are parted."""

import multiprocessing
import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flawmap.tiling import threads
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.regions import find_regions
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.threads import in_threads
from tests import naive_tiling
from tests.grids import DTYPES, grids, random_image

property_in_threads = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest work is parted, into up to ten parts."""
    monkeypatch.setattr(threads, "BYTES_A_PART", 1)
    monkeypatch.setattr(threads, "PARTS_A_CORE", 2)
    monkeypatch.setattr(threads, "CORES", 5)


def test_every_part_runs_once_and_results_keep_their_order(many_threads: None) -> None:
    idents: set[int] = set()
    barrier = threading.Barrier(min(2, 1 + threads._pool()._max_workers), timeout=10)

    def kernel(part: int, parts: int) -> tuple[int, int]:
        if part < 2:
            barrier.wait()  # two of them at the same time
        idents.add(threading.get_ident())
        return part, parts

    assert in_threads(kernel, 100) == [(part, 10) for part in range(10)]
    assert len(idents) >= 2
    assert in_threads(kernel, 3) == [(0, 3), (1, 3), (2, 3)]


def test_little_work_stays_in_the_callers_thread() -> None:
    assert in_threads(lambda part, parts: (part, parts, threading.get_ident()), 2 * threads.BYTES_A_PART - 1) == [
        (0, 1, threading.get_ident())
    ]


def test_the_caller_waits_for_no_thread_that_has_not_begun(many_threads: None) -> None:
    """All threads of the pool are held up by something else: the caller does everything."""
    released = threading.Event()
    pool = threads._pool()
    held = [pool.submit(released.wait, 30) for _ in range(pool._max_workers)]
    try:
        found = in_threads(lambda part, parts: (part, threading.get_ident()), 100)
    finally:
        released.set()
    assert found == [(part, threading.get_ident()) for part in range(10)]
    assert all(other.result(30) for other in held)


def test_an_error_in_any_part_comes_out_when_all_have_stopped(many_threads: None) -> None:
    working: list[int] = []

    def kernel(part: int, parts: int) -> None:
        working.append(part)
        if part == 3:
            working.pop()
            raise ValueError("part 3")
        time.sleep(0.01)
        working.pop()

    with pytest.raises(ValueError, match="part 3"):
        in_threads(kernel, 100)
    assert working == []
    assert in_threads(lambda part, parts: part, 4) == [0, 1, 2, 3]  # the next work is done as if nothing had been


def test_an_error_that_looks_like_the_end_of_the_work_is_one(many_threads: None) -> None:
    def kernel(part: int, parts: int) -> None:
        raise IndexError("out of a row")

    with pytest.raises(IndexError, match="out of a row"):
        in_threads(kernel, 100)


@property_in_threads
@given(grids(), st.sampled_from(DTYPES), st.sampled_from([None, 3]), st.integers(1, 4))
def test_cutting_and_stitching(
    many_threads: None, grid: TileGrid, dtype: type, channels: int | None, batch: int
) -> None:
    image = random_image(grid, dtype, channels)
    tiles = np.zeros((batch, grid.tile_size, grid.tile_size, *image.shape[2:]), dtype)
    expected = naive_tiling.cut(grid, grid.pad(image))
    stitcher = Stitcher(grid, dtype=dtype, channels=channels)
    for first in range(0, len(grid), batch):
        n = grid.cut(image, first, tiles)
        np.testing.assert_array_equal(tiles[:n], expected[first : first + n])
        stitcher.add(first, tiles[:n])
    np.testing.assert_array_equal(stitcher.result(), image)


def test_the_first_score_that_is_no_number_is_named(many_threads: None) -> None:
    grid = TileGrid(20, 30, tile_size=8, overlap=4)
    tiles = np.zeros((len(grid), 8, 8), np.float32)
    tiles[7, 2:6, 3] = np.nan
    box = grid.owned(7)
    y, x = box.image.y0 + 2 - box.tile.y0, box.image.x0 + 3 - box.tile.x0
    with pytest.raises(ValueError, match=rf"tile 7 is nan at pixel \(y={y}, x={x}\) of the image"):
        Stitcher(grid).add(0, tiles)


@property_in_threads
@given(
    shape=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    levels=st.integers(2, 4),
    seed=st.integers(0, 1000),
    reach=st.integers(1, 3),
)
def test_regions(many_threads: None, shape: tuple[int, int], levels: int, seed: int, reach: int) -> None:
    heatmap = np.random.default_rng(seed).integers(0, levels, shape).astype(np.float32)
    found = find_regions(heatmap, grow=1, seed=levels - 1, reach=reach)
    np.testing.assert_array_equal(found, naive_tiling.find_regions(heatmap, 1, levels - 1, reach))


def _sum_in_threads(send: "multiprocessing.connection.Connection") -> None:
    send.send(sum(in_threads(lambda part, parts: part, 100)))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
def test_a_forked_process_has_threads_of_its_own(many_threads: None) -> None:
    """As torch's loaders are: the parent's pool would hand work to threads that the child does not have."""
    assert in_threads(lambda part, parts: part, 100) == list(range(10))
    receive, send = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_sum_in_threads, args=(send,))
    child.start()
    try:
        assert receive.poll(30) and receive.recv() == 45
    finally:
        child.kill()
        child.join()
