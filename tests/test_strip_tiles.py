"""Bands of an image are cut, padded and stitched as the whole image is."""

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.padding import BORDER_TYPES
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.strips.grid_band import GridBand, bands_of
from flawmap.tiling.strips.padded_rows import PaddedRows
from flawmap.tiling.strips.row_file import RowFile


class ArrayRows:
    """The rows of an array."""

    def __init__(self, image: NDArray[Any]) -> None:
        self.height, self.width = image.shape[:2]
        self.channels = 1 if image.ndim == 2 else image.shape[2]
        self.dtype = image.dtype
        self._left = image

    def read(self, count: int) -> NDArray[Any]:
        rows, self._left = self._left[:count], self._left[count:]
        return rows

    def skip(self, count: int) -> None:
        assert count <= len(self._left)
        self._left = self._left[count:]


@st.composite
def grids(draw: st.DrawFn) -> TileGrid:
    multiple = draw(st.sampled_from([1, 4]))
    tile = draw(st.integers(2, 12)) * multiple
    overlap = draw(st.integers(0, tile // multiple - 1)) * multiple
    border = draw(st.integers(0, 12)) * multiple
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 60))
    padding = draw(st.sampled_from(sorted(BORDER_TYPES)))
    return TileGrid(height, width, tile, overlap, multiple=multiple, border=border, padding=padding)


def drawn(grid: TileGrid, channels: int, dtype: str, seed: int = 0) -> NDArray[Any]:
    shape = (grid.height, grid.width) if channels == 1 else (grid.height, grid.width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(dtype)


@settings(max_examples=200)
@given(
    grid=grids(),
    most_pixels=st.integers(1, 20_000),
    kind=st.sampled_from([(1, "uint8"), (3, "uint8"), (1, "uint16"), (3, "float32")]),
)
def test_bands_are_cut_and_stitched_as_the_whole(grid: TileGrid, most_pixels: int, kind: tuple[int, str]) -> None:
    channels, dtype = kind
    image = drawn(grid, channels, dtype)
    padded = grid.pad(image)
    rows = PaddedRows(ArrayRows(image), grid)
    bands = list(bands_of(grid, most_pixels))
    end = 0
    for band in bands:
        first = band.first_row * grid.columns
        part = rows.read(band.padded_y0, band.padded_y1)
        np.testing.assert_array_equal(part, padded[band.padded_y0 : band.padded_y1])
        assert len(part) * grid.padded_width <= most_pixels or band.end_row == band.first_row + 1
        tiles = np.zeros((3, grid.tile_size, grid.tile_size, *image.shape[2:]), dtype)
        whole = np.zeros_like(tiles)
        stitched = Stitcher(band, dtype=dtype, channels=None if channels == 1 else channels)
        for k in range(0, len(band), 3):
            n = band.cut(part, k, tiles)
            assert n == min(3, len(band) - k)
            grid.cut(padded, first + k, whole)
            np.testing.assert_array_equal(tiles[:n], whole[:n])
            stitched.add(k, tiles[:n])
            assert band.owned(k) == grid.owned(first + k)
        assert band.y0 == end
        np.testing.assert_array_equal(stitched.result(), image[band.y0 : band.y1])
        end = band.y1
    assert end == grid.height


@settings(max_examples=200)
@given(grid=grids(), steps=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 90)), max_size=8))
def test_padded_rows_are_those_of_the_padded_image(grid: TileGrid, steps: list[tuple[int, int]]) -> None:
    """Also where rows overlap, or are left out."""
    image = drawn(grid, 1, "uint8")
    padded = grid.pad(image)
    rows = PaddedRows(ArrayRows(image), grid)
    begin = 0
    for count, further in [*steps, (grid.padded_height, 0)]:
        end = min(begin + count, grid.padded_height)
        if begin < end:
            np.testing.assert_array_equal(rows.read(begin, end), padded[begin:end])
        begin = min(begin + further, grid.padded_height)


def test_rows_do_not_come_twice() -> None:
    grid = TileGrid(100, 10, 8, 0)
    rows = PaddedRows(ArrayRows(drawn(grid, 1, "uint8")), grid)
    rows.read(50, 60)
    with pytest.raises(ValueError, match=re.escape("`y0` (=20) must not be above what was read before")):
        rows.read(20, 30)
    with pytest.raises(ValueError, match=re.escape("`rows` (100, 10) must be as large as the grid's image (90, 10)")):
        PaddedRows(ArrayRows(drawn(grid, 1, "uint8")), TileGrid(90, 10, 8, 0))


def test_misuse_of_a_band_is_refused() -> None:
    grid = TileGrid(100, 30, 16, 4)
    with pytest.raises(ValueError, match=re.escape("rows of tiles 3..2 must be some of the grid's 0..7")):
        GridBand(grid, 3, 3)
    band = GridBand(grid, 1, 3)
    with pytest.raises(IndexError, match=re.escape(f"`index` (={len(band)})")):
        band.owned(len(band))
    tiles = np.zeros((1, 16, 16), np.uint8)
    padded = grid.pad(drawn(grid, 1, "uint8"))
    with pytest.raises(ValueError, match="must be rows of a padded image"):
        band.cut(padded, 0, tiles)
    rows = padded[band.padded_y0 : band.padded_y1]
    with pytest.raises(IndexError, match=re.escape("`first` (=-1)")):
        band.cut(rows, -1, tiles)
    with pytest.raises(ValueError, match="must hold tiles of"):
        band.cut(rows, 0, np.zeros((1, 8, 8), np.uint8))


def test_a_score_that_is_no_number_is_named_in_the_image() -> None:
    grid = TileGrid(100, 30, 16, 4)
    band = GridBand(grid, 3, 5)
    tiles = np.zeros((len(band), 16, 16), np.float32)
    y, x = band.owned(0).tile.y0 + 1, 2
    tiles[0, y, x] = np.nan
    with pytest.raises(ValueError, match=re.escape(f"(y={band.y0 + 1}, x=2) of the image")):
        Stitcher(band).add(0, tiles)


@given(data=st.data(), seed=st.integers(0, 1000), kind=st.sampled_from([(1, "uint8"), (3, "uint16"), (1, "float32")]))
def test_a_file_of_rows_gives_back_its_boxes(data: st.DataObject, seed: int, kind: tuple[int, str]) -> None:
    image = drawn(TileGrid(data.draw(st.integers(1, 40)), data.draw(st.integers(1, 30)), 8, 0), *kind, seed=seed)
    height = image.shape[0]
    with tempfile.TemporaryDirectory() as folder, RowFile(Path(folder), image.shape, image.dtype) as file:
        assert (file.shape, file.dtype, file.ndim) == (image.shape, image.dtype, image.ndim)
        for y in range(0, height, 7):
            file.append(image[y : y + 7])
        edges = st.one_of(st.none(), st.integers(-5, 45))
        box = np.s_[data.draw(edges) : data.draw(edges), data.draw(edges) : data.draw(edges)]
        np.testing.assert_array_equal(file[box], image[box])
        np.testing.assert_array_equal(file[:, :], image)


def test_misuse_of_a_file_of_rows(tmp_path: Path) -> None:
    with RowFile(tmp_path, (10, 4), np.uint8) as file:
        file.append(np.zeros((3, 4), np.uint8))
        with pytest.raises(ValueError, match=re.escape("rows 2..5 are not all there")):
            file[2:6, :]
        with pytest.raises(ValueError, match=re.escape("`rows` ((3, 4) uint16) must be (4,) uint8 each")):
            file.append(np.zeros((3, 4), np.uint16))
