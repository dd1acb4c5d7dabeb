from concurrent.futures import ThreadPoolExecutor
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.stitch import Stitcher
from tests import naive_tiling
from tests.grids import DTYPES, grids, random_image

GRID = TileGrid(20, 30, tile_size=8, overlap=4, multiple=2, border=2)  # 5 x 8 tiles


@settings(deadline=None)  # compiles at its first call
@given(grids(), st.sampled_from(DTYPES), st.sampled_from([None, 1, 3]), st.integers(1, 9), st.randoms())
def test_stitching_what_was_cut_gives_the_image(
    grid: TileGrid, dtype: type, channels: int | None, batch: int, random: Random
) -> None:
    image = random_image(grid, dtype, channels)
    tiles = naive_tiling.cut(grid, grid.pad(image))
    stitcher = Stitcher(grid, dtype=dtype, channels=channels)
    firsts = list(range(0, len(grid), batch))
    random.shuffle(firsts)
    for first in firsts:
        stitcher.add(first, tiles[first : first + batch])
    result = stitcher.result()
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, image)


@settings(deadline=None)
@given(grids(), st.sampled_from(DTYPES), st.sampled_from([None, 1, 3]), st.integers(1, 9))
def test_residuals_are_those_of_the_whole_image(grid: TileGrid, dtype: type, channels: int | None, batch: int) -> None:
    image = random_image(grid, dtype, channels)
    expected = np.random.default_rng(1).integers(0, 256, image.shape).astype(dtype)
    tiles, repaired = (naive_tiling.cut(grid, grid.pad(picture)) for picture in (image, expected))
    stitcher = Stitcher(grid)
    for first in range(0, len(grid), batch):
        stitcher.add_residual(first, tiles[first : first + batch], repaired[first : first + batch])
    residual = np.abs(image.astype(np.float64) - expected)
    np.testing.assert_array_equal(stitcher.result(), residual if channels is None else residual.max(axis=2))


@pytest.mark.parametrize(("channels", "channel"), [(1, 0), (3, 0), (3, 2)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_residual_that_is_no_number_is_named(channels: int, channel: int, bad: float) -> None:
    tiles = np.zeros((len(GRID), 8, 8, channels), np.float32)
    repaired = tiles.copy()
    box = GRID.owned(9)
    repaired[9, box.tile.y0, box.tile.x1 - 1, channel] = bad
    number = "nan" if np.isnan(bad) else r"-?inf"
    message = rf"tile 9 is {number} at pixel \(y={box.image.y0}, x={box.image.x1 - 1}\) of the image"
    with pytest.raises(ValueError, match=message):
        Stitcher(GRID).add_residual(0, tiles, repaired)


def test_misuse_of_residuals_is_refused() -> None:
    tiles = np.zeros((1, 8, 8), np.float32)
    with pytest.raises(ValueError, match="residuals make a heatmap: float32, without channels"):
        Stitcher(GRID, dtype=np.uint8).add_residual(0, tiles, tiles)
    with pytest.raises(ValueError, match=r"`tiles` \(\(1, 8, 8\) float64\) must be n tiles of \(8, 8\) uint8, uint16"):
        Stitcher(GRID).add_residual(0, tiles.astype(np.float64), tiles)
    with pytest.raises(ValueError, match=r"`reconstructions` \(\(1, 8, 8\) uint8\) must be like `tiles`"):
        Stitcher(GRID).add_residual(0, tiles, tiles.astype(np.uint8))
    stitcher = Stitcher(GRID)
    stitcher.add_residual(0, tiles, tiles)
    with pytest.raises(ValueError, match="tile 0 was added twice"):
        stitcher.add(0, tiles)


@settings(deadline=None, max_examples=30)
@given(grids(largest=20))
def test_every_pixel_comes_from_its_deepest_tile(grid: TileGrid) -> None:
    depths = np.stack([naive_tiling.depth(grid, index) for index in range(len(grid))]).astype(np.float32)
    stitcher = Stitcher(grid)
    for index in range(len(grid)):
        y, x = grid.tile_start(index)
        stitcher.add(index, depths[index : index + 1, y : y + grid.tile_size, x : x + grid.tile_size])
    np.testing.assert_array_equal(stitcher.result(), naive_tiling.to_image_plane(grid, depths.max(axis=0)))


def test_one_buffer_serves_image_after_image() -> None:
    buffer = np.full((20, 30), np.nan, np.float32)
    for value in (1.0, 2.0):
        stitcher = Stitcher(GRID, buffer)
        stitcher.add(0, np.full((len(GRID), 8, 8), value, np.float32))
        assert stitcher.result() is buffer
        assert (buffer == value).all()


def test_tiles_may_come_from_several_threads() -> None:
    grid = TileGrid(300, 400, tile_size=32, overlap=8)
    image = random_image(grid, np.float32, None)
    tiles = naive_tiling.cut(grid, grid.pad(image))
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            stitcher = Stitcher(grid)
            list(pool.map(lambda k, to=stitcher: to.add(k, tiles[k : k + 1]), range(len(grid))))
            np.testing.assert_array_equal(stitcher.result(), image)


def test_of_many_threads_with_the_same_tile_one_is_let_through() -> None:
    stitcher = Stitcher(GRID)

    def added(_: int) -> bool:
        try:
            stitcher.add(5, np.zeros((1, 8, 8), np.float32))
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(added, range(64))) == 1


def test_a_missing_tile_is_named_with_its_first_pixel() -> None:
    stitcher = Stitcher(GRID, np.zeros((20, 30), np.float32))
    stitcher.add(0, np.zeros((9, 8, 8), np.float32))
    stitcher.add(10, np.zeros((30, 8, 8), np.float32))
    box = GRID.owned(9).image
    message = rf"pixel \(y={box.y0}, x={box.x0}\) of the image is covered by no tile: tile 9 was not added \(1 of 40"
    with pytest.raises(ValueError, match=message):
        stitcher.result()


def test_a_tile_that_owns_nothing_may_be_missing() -> None:
    grid = TileGrid(4, 4, tile_size=4, overlap=0, border=8)
    stitcher = Stitcher(grid)
    stitcher.add(12, np.ones((1, 4, 4), np.float32))
    assert (stitcher.result() == 1).all()


def test_a_tile_added_twice_is_refused() -> None:
    stitcher = Stitcher(GRID)
    stitcher.add(3, np.zeros((2, 8, 8), np.float32))
    with pytest.raises(ValueError, match="tile 4 was added twice"):
        stitcher.add(4, np.zeros((2, 8, 8), np.float32))
    stitcher.add(5, np.zeros((1, 8, 8), np.float32))  # the refused call took nothing with it


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 19), st.integers(0, 29), st.sampled_from([np.nan, np.inf, -np.inf]), st.sampled_from([None, 3]))
def test_a_score_that_is_no_number_is_named_in_the_image_plane(
    y: int, x: int, value: float, channels: int | None
) -> None:
    image = random_image(GRID, np.float32, channels)
    tiles = naive_tiling.cut(GRID, GRID.pad(image))
    for index in range(len(GRID)):
        in_tile, in_image = GRID.owned(index)
        if in_image.y0 <= y < in_image.y1 and in_image.x0 <= x < in_image.x1:
            owner = index
            tiles[index, y - in_image.y0 + in_tile.y0, x - in_image.x0 + in_tile.x0] = value
    stitcher = Stitcher(GRID, channels=channels)
    message = rf"tile {owner} is {value} at pixel \(y={y}, x={x}\) of the image; it must be a finite number"
    with pytest.raises(ValueError, match=message):
        stitcher.add(0, tiles)
    with pytest.raises(ValueError, match="is covered by no tile"):
        stitcher.result()


def test_what_a_tile_does_not_own_is_not_looked_at() -> None:
    tiles = np.full((len(GRID), 8, 8), np.nan, np.float32)
    for index in range(len(GRID)):
        box = GRID.owned(index).tile
        tiles[index, box.y0 : box.y1, box.x0 : box.x1] = index
    stitcher = Stitcher(GRID)
    stitcher.add(0, tiles)
    assert np.isfinite(stitcher.result()).all()


def test_tiles_may_be_a_view_with_gaps() -> None:
    image = random_image(GRID, np.uint16, None)
    tiles = np.repeat(naive_tiling.cut(GRID, GRID.pad(image)), 2, axis=2)[:, :, ::2]
    assert not tiles.flags.c_contiguous
    stitcher = Stitcher(GRID, dtype=np.uint16)
    stitcher.add(0, tiles)
    np.testing.assert_array_equal(stitcher.result(), image)


def test_misuse_is_refused() -> None:
    stitcher = Stitcher(GRID)
    with pytest.raises(ValueError, match=r"`tiles` \(\(1, 8, 9\) float32\) must be n tiles of \(8, 8\) float32"):
        stitcher.add(0, np.zeros((1, 8, 9), np.float32))
    with pytest.raises(ValueError, match=r"`tiles` \(\(1, 8, 8\) float64\) must be n tiles of \(8, 8\) float32"):
        stitcher.add(0, np.zeros((1, 8, 8)))
    with pytest.raises(ValueError, match=r"tiles 39\.\.40 must be in 0\.\.39, the tiles of this grid"):
        stitcher.add(39, np.zeros((2, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"tiles -1\.\.0 must be in 0"):
        stitcher.add(-1, np.zeros((2, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"`dtype` \(=float64\) must be uint8, uint16 or float32"):
        Stitcher(GRID, dtype=np.float64)
    wrong: list[np.ndarray] = [np.zeros((20, 31), np.float32), np.zeros((20, 30)), np.zeros((30, 20), np.float32).T]
    for out in wrong:
        with pytest.raises(ValueError, match=r"`out` .* must be a C-contiguous array of \(20, 30\) float32"):
            Stitcher(GRID, out)
