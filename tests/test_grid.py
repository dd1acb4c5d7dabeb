from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.errors import UsageError
from flawmap.tiling.grid import Box, TileGrid
from tests import naive_tiling
from tests.grids import DTYPES, grids, random_image


@given(grids())
def test_owned_boxes_partition_the_image(grid: TileGrid) -> None:
    owners = np.zeros((grid.height, grid.width), int)
    for index in range(len(grid)):
        box = grid.owned(index).image
        assert 0 <= box.y0 <= box.y1 <= grid.height
        assert 0 <= box.x0 <= box.x1 <= grid.width
        owners[box.y0 : box.y1, box.x0 : box.x1] += 1
    assert (owners == 1).all()


@given(grids())
def test_owned_box_is_the_same_pixels_in_both_planes(grid: TileGrid) -> None:
    for index in range(len(grid)):
        start_y, start_x = grid.tile_start(index)
        tile, image = grid.owned(index)
        assert (tile.y1 - tile.y0, tile.x1 - tile.x0) == (image.y1 - image.y0, image.x1 - image.x0)
        assert 0 <= tile.y0 <= tile.y1 <= grid.tile_size
        assert 0 <= tile.x0 <= tile.x1 <= grid.tile_size
        if image.y0 < image.y1:
            assert start_y + tile.y0 - grid.border == image.y0
        if image.x0 < image.x1:
            assert start_x + tile.x0 - grid.border == image.x0


@settings(max_examples=30)
@given(grids(largest=20))
def test_every_pixel_is_owned_by_the_tile_in_which_it_lies_deepest(grid: TileGrid) -> None:
    depths = [naive_tiling.to_image_plane(grid, naive_tiling.depth(grid, index)) for index in range(len(grid))]
    deepest = np.max(depths, axis=0)
    for index in range(len(grid)):
        box = grid.owned(index).image
        own = np.s_[box.y0 : box.y1, box.x0 : box.x1]
        np.testing.assert_array_equal(depths[index][own], deepest[own])


@given(grids())
def test_tiles_start_at_multiples_and_cover_the_padded_image_with_the_overlap(grid: TileGrid) -> None:
    starts = [grid.tile_start(index) for index in range(len(grid))]
    assert starts == sorted(set(starts))
    for axis, length in enumerate((grid.padded_height, grid.padded_width)):
        along = sorted({start[axis] for start in starts})
        assert along[0] == 0
        assert along[-1] == length - grid.tile_size  # flush
        assert all(start % grid.multiple == 0 for start in along)
        assert all(0 < b - a <= grid.tile_size - grid.overlap for a, b in pairwise(along))


@given(grids())
def test_padded_size_is_the_smallest_that_is_allowed(grid: TileGrid) -> None:
    for padded, length in ((grid.padded_height, grid.height), (grid.padded_width, grid.width)):
        assert padded % grid.multiple == 0
        assert padded >= max(grid.tile_size, length + 2 * grid.border)
        assert padded == grid.tile_size or padded - grid.multiple < length + 2 * grid.border


@given(grids(), st.sampled_from(DTYPES), st.sampled_from([None, 1, 3]))
def test_pad_shows_what_numpy_shows(grid: TileGrid, dtype: type, channels: int | None) -> None:
    image = random_image(grid, dtype, channels)
    after_y = grid.padded_height - grid.height - grid.border
    after_x = grid.padded_width - grid.width - grid.border
    around = [(grid.border, after_y), (grid.border, after_x), (0, 0)][: image.ndim]
    padded = grid.pad(image)
    assert padded.dtype == dtype
    assert padded.flags.c_contiguous
    np.testing.assert_array_equal(padded, np.pad(image, around, mode=naive_tiling.NUMPY_MODES[grid.padding]))


def test_pad_of_one_row_repeats_it() -> None:
    padded = TileGrid(1, 3, tile_size=8, overlap=0, multiple=4, border=4).pad(np.array([[1, 2, 3]], np.uint8))
    assert padded.shape == (12, 12)
    assert (padded == [1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2]).all()


def test_pad_returns_the_image_itself_where_nothing_is_to_be_added() -> None:
    image = np.zeros((8, 12), np.uint8)
    assert TileGrid(8, 12, tile_size=4, overlap=2).pad(image) is image


def test_pad_takes_a_view_with_gaps() -> None:
    image = np.arange(200, dtype=np.uint16).reshape(10, 20)[::2, ::-2]
    for grid in (TileGrid(5, 10, tile_size=5, overlap=1), TileGrid(5, 10, tile_size=6, overlap=2, border=2)):
        around = (
            (grid.border, grid.padded_height - 5 - grid.border),
            (grid.border, grid.padded_width - 10 - grid.border),
        )
        np.testing.assert_array_equal(grid.pad(image), np.pad(image, around, mode="reflect"))


@settings(deadline=None)  # compiles at its first call
@given(grids(), st.sampled_from(DTYPES), st.sampled_from([None, 1, 3]), st.integers(1, 7))
def test_cut_gives_the_tiles_in_batches(grid: TileGrid, dtype: type, channels: int | None, batch: int) -> None:
    """Padded on the way or before."""
    image = random_image(grid, dtype, channels)
    padded = grid.pad(image)
    expected = naive_tiling.cut(grid, padded)
    out = np.empty((batch, *expected.shape[1:]), dtype)
    for source in (image, padded):
        for first in range(0, len(grid), batch):
            out[:] = 77
            count = grid.cut(source, first, out)
            assert count == min(batch, len(grid) - first)
            np.testing.assert_array_equal(out[:count], expected[first : first + count])
            assert (out[count:] == 77).all()


def test_the_number_line_of_the_module() -> None:
    grid = TileGrid(14, 14, tile_size=8, overlap=4, border=2)
    assert grid.padded_width == 18
    assert [grid.tile_start(index)[1] for index in range(grid.columns)] == [0, 4, 8, 10]
    boxes = [grid.owned(index).image for index in range(grid.columns)]
    assert [(box.x0 + 2, box.x1 + 2) for box in boxes] == [(2, 6), (6, 10), (10, 13), (13, 16)]


def test_a_tile_all_in_the_padding_owns_nothing() -> None:
    grid = TileGrid(4, 4, tile_size=4, overlap=0, border=8)
    assert grid.owned(0).image == Box(0, 0, 0, 0)
    middle = grid.rows // 2 * grid.columns + grid.columns // 2
    assert grid.owned(middle).image == Box(0, 0, 4, 4)


def test_counts_and_names() -> None:
    grid = TileGrid(5120, 2048, tile_size=256, overlap=64)
    assert (grid.rows, grid.columns, len(grid)) == (27, 11, 297)
    assert str(grid) == "2048x5120 px in 11x27 tiles of 256 px, overlap 64 px"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, r"`height` \(=0\) must be at least 1"),
        ({"width": -3}, r"`width` \(=-3\) must be at least 1"),
        ({"tile_size": 0}, r"`tile_size` \(=0\) must be at least 1"),
        ({"multiple": 0}, r"`multiple` \(=0\) must be at least 1"),
        ({"overlap": -1}, r"`overlap` \(=-1\) must not be negative"),
        ({"border": -8}, r"`border` \(=-8\) must not be negative"),
        ({"overlap": 256}, r"`overlap` \(=256\) must be smaller than `tile_size` \(=256\)"),
        ({"tile_size": 260}, r"`tile_size` \(=260\) must be a multiple of `multiple` \(=8\)"),
        ({"overlap": 63}, r"`overlap` \(=63\) must be a multiple of `multiple` \(=8\)"),
        ({"border": 4}, r"`border` \(=4\) must be a multiple of `multiple` \(=8\), the stride of the network"),
    ],
)
def test_impossible_geometry_says_which_rule_it_breaks(changes: dict[str, int], message: str) -> None:
    geometry = {"height": 512, "width": 512, "tile_size": 256, "overlap": 64, "multiple": 8, "border": 8}
    with pytest.raises(UsageError, match=message):
        TileGrid(**(geometry | changes))


def test_misuse_is_refused() -> None:
    grid = TileGrid(10, 10, tile_size=4, overlap=2)
    padded = np.zeros((10, 10), np.uint8)
    with pytest.raises(IndexError, match=r"`index` \(=16\) must be in 0\.\.15, the tiles of this grid"):
        grid.owned(16)
    with pytest.raises(IndexError, match=r"`index` \(=-1\) must be in 0\.\.15"):
        grid.tile_start(-1)
    with pytest.raises(IndexError, match=r"`index` \(=16\)"):
        grid.cut(padded, 16, np.empty((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"`image` \(9, 10\) must be as large as the grid's image \(10, 10\)"):
        grid.pad(np.zeros((9, 10), np.uint8))
    with pytest.raises(
        ValueError, match=r"`image` \(9, 10\) must be an image \(10, 10\), or a padded one \(10, 10\), with"
    ):
        grid.cut(np.zeros((9, 10), np.uint8), 0, np.empty((1, 4, 4), np.uint8))
    with pytest.raises(ValueError, match=r"`out` \(\(1, 4, 5\) uint8\) must hold tiles of \(4, 4\) uint8"):
        grid.cut(padded, 0, np.empty((1, 4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"`out` \(\(1, 4, 4\) float32\) must hold tiles of \(4, 4\) uint8"):
        grid.cut(padded, 0, np.empty((1, 4, 4), np.float32))
    with pytest.raises(ValueError, match="the image and `out` must be C-contiguous"):
        grid.cut(padded.T, 0, np.empty((1, 4, 4), np.uint8).T.reshape(1, 4, 4)[:, :, ::-1])
