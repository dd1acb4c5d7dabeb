"""Grids as hypothesis draws them, and images for them."""

import numpy as np
from hypothesis import strategies as st

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.padding import BORDER_TYPES

DTYPES = [np.uint8, np.uint16, np.float32]


@st.composite
def grids(draw: st.DrawFn, largest: int = 40) -> TileGrid:
    multiple = draw(st.sampled_from([1, 1, 2, 4]))
    tile = draw(st.integers(1, 12))
    return TileGrid(
        height=draw(st.integers(1, largest)),
        width=draw(st.integers(1, largest)),
        tile_size=tile * multiple,
        overlap=draw(st.integers(0, tile - 1)) * multiple,
        multiple=multiple,
        border=draw(st.integers(0, 4)) * multiple,
        padding=draw(st.sampled_from(sorted(BORDER_TYPES))),
    )


def random_image(grid: TileGrid, dtype: type, channels: int | None) -> np.ndarray:
    shape = (grid.height, grid.width) if channels is None else (grid.height, grid.width, channels)
    return np.random.default_rng(grid.height * 97 + grid.width).integers(0, 256, shape).astype(dtype)
