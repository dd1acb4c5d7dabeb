"""Tiles fitted to what counts: all of it is answered for once, by tiles that see as much around it as in a grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.fitted_grid import FittedGrid
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.stitch import Stitcher
from tests.look_maps import looks


@st.composite
def fitted(draw: st.DrawFn) -> FittedGrid:
    multiple = draw(st.sampled_from([1, 1, 2, 4]))
    tile = draw(st.integers(1, 12))
    height, width = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    return FittedGrid(
        height,
        width,
        tile * multiple,
        draw(st.integers(0, tile - 1)) * multiple,
        multiple=multiple,
        border=draw(st.integers(0, 4)) * multiple,
        look=draw(looks(height, width)),
    )


@given(fitted())
def test_what_counts_is_owned_once(grid: FittedGrid) -> None:
    owners = np.zeros(grid.look.shape, int)
    for index in range(len(grid)):
        box = grid.owned(index).image
        assert 0 <= box.y0 < box.y1 <= grid.height and 0 <= box.x0 < box.x1 <= grid.width
        assert grid.look[box.y0 : box.y1, box.x0 : box.x1].any()  # no tile for nothing
        owners[box.y0 : box.y1, box.x0 : box.x1] += 1
    assert (owners[grid.look > 0] == 1).all()
    assert owners.max() <= 1


@given(fitted())
def test_tiles_start_at_multiples_inside_the_padded_image(grid: FittedGrid) -> None:
    starts = np.array([grid.tile_start(index) for index in range(len(grid))])
    assert (starts % grid.multiple == 0).all() and (starts >= 0).all()
    assert (starts + grid.tile_size <= (grid.padded_height, grid.padded_width)).all()


@given(fitted())
def test_owned_pixels_lie_as_deep_as_in_a_grid(grid: FittedGrid) -> None:
    """At least half the overlap from every edge of a tile that is no edge of the padded image."""
    for index in range(len(grid)):
        tile, image = grid.owned(index)
        for start, first, end, padded, in_image in zip(
            grid.tile_start(index),
            (tile.y0, tile.x0),
            (tile.y1, tile.x1),
            (grid.padded_height, grid.padded_width),
            (image.y0, image.x0),
            strict=True,
        ):
            assert start + first - grid.border == in_image
            assert first >= grid.overlap // 2 or start == 0
            assert grid.tile_size - end >= grid.overlap - grid.overlap // 2 or start + grid.tile_size == padded


@settings(deadline=None)
@given(fitted())
def test_stitched_tiles_are_the_image_where_it_counts(grid: FittedGrid) -> None:
    image = np.random.default_rng(0).random((grid.height, grid.width)).astype(np.float32)
    stitcher = Stitcher(grid, np.zeros_like(image))
    tiles = np.empty((3, grid.tile_size, grid.tile_size), np.float32)
    for first in range(0, len(grid), 3):
        stitcher.add(first, tiles[: grid.cut(image, first, tiles)])
    counted = grid.look > 0
    np.testing.assert_array_equal(stitcher.result()[counted], image[counted])


def test_where_nothing_counts_there_is_no_tile() -> None:
    assert len(FittedGrid(30, 40, 16, 4, look=np.zeros((30, 40), np.uint8))) == 0


def test_a_quarter_in_the_middle_takes_a_quarter_of_the_tiles() -> None:
    look = np.zeros((5120, 5120), np.uint8)
    look[1280:3840, 1280:3840] = 1
    size = 1064  # three times its inside are 2560 px and a little
    fit = FittedGrid(5120, 5120, size, 200, multiple=8, border=48, look=look)
    assert len(fit) == 9
    assert len(TileGrid(5120, 5120, size, 200, multiple=8, border=48)) == 36
    assert str(fit) == "5120x5120 px, what counts of it in 9 tiles of 1064 px, overlap 200 px"


def test_a_look_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`look` \(30, 41\) must be as large as the image \(30, 40\)"):
        FittedGrid(30, 40, 16, 4, look=np.zeros((30, 41), np.uint8))
