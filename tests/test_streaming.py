"""Rows copied past the cache: the same bytes as numpy's, wherever they begin, and not one beside them."""

import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from flawmap.tiling.compiled import compiled
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.streaming import LINE_BYTES, settle, stream_row


@compiled
def copy_box(source: np.ndarray, source_x: int, target: np.ndarray, target_x: int, width: int) -> None:
    for y in range(len(source)):
        row = np.uintp(y)
        stream_row(source, row, np.uintp(source_x), target, row, np.uintp(target_x), np.uintp(width))
    settle()


def at_offset(values: np.ndarray, offset: int) -> np.ndarray:
    """A copy of `values` that begins `offset` bytes behind a multiple of a line's."""
    room = np.zeros(values.nbytes + 2 * LINE_BYTES, np.uint8)
    begin = -room.ctypes.data % LINE_BYTES + offset
    copy = room[begin : begin + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[:] = values
    return copy


@settings(deadline=None)  # compiles at its first call
@given(st.sampled_from([np.uint8, np.float32]), st.integers(1, 300), st.data())
def test_rows_are_copied_and_nothing_beside_them(dtype: type, width: int, data: st.DataObject) -> None:
    random = np.random.default_rng(width)
    source_x, target_x, beyond = (data.draw(st.integers(0, 70)) for _ in range(3))
    source_offset, target_offset = (data.draw(st.integers(0, 15)) * 4 for _ in range(2))
    source = at_offset(random.integers(0, 256, (3, source_x + width)).astype(dtype), source_offset)
    target = at_offset(random.integers(0, 256, (3, target_x + width + beyond)).astype(dtype), target_offset)
    expected = target.copy()
    expected[:, target_x : target_x + width] = source[:, source_x:]
    copy_box(source, source_x, target, target_x, width)
    np.testing.assert_array_equal(target, expected)


def test_a_target_between_two_values_is_written_all_the_same() -> None:
    """No line of it can go past the cache."""
    room = np.zeros(3 * 200 * 4 + 1, np.uint8)
    target = room[1:].view(np.float32).reshape(3, 200)
    source = np.random.default_rng(0).random((3, 200), np.float32)
    copy_box(source, 0, target, 0, 200)
    np.testing.assert_array_equal(target, source)


def test_a_heatmap_at_any_address_is_stitched() -> None:
    grid = TileGrid(70, 150, tile_size=64, overlap=16)
    image = np.random.default_rng(1).random((70, 150), np.float32)
    tiles = np.zeros((len(grid), 64, 64), np.float32)
    grid.cut(image, 0, tiles)
    for offset in range(0, LINE_BYTES, 4):
        stitcher = Stitcher(grid, at_offset(np.zeros_like(image), offset))
        stitcher.add(0, tiles)
        np.testing.assert_array_equal(stitcher.result(), image)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instructions are named as x86 has them")
def test_lines_do_go_past_the_cache() -> None:
    """If they did not, all would be right and slow, and nothing else would tell."""
    kernel = njit(copy_box.py_func)  # type: ignore[attr-defined]  # by numba; one from the disk keeps no assembly
    rows = np.zeros((1, 64), np.float32)
    kernel(rows, 0, rows.copy(), 0, 64)
    (assembly,) = kernel.inspect_asm().values()
    assert "movnt" in assembly
