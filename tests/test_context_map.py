"""The context of an aligned product: what the reference shows at a tile's place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.transform import AffineTransform, warp

from flawmap.tiling.context_map import SPREAD_STEPS, ContextMap
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.padding import BORDER_TYPES


def smooth(height: int, width: int, channels: int, dtype: str, seed: int) -> NDArray[np.generic]:
    """A slowly varying image [H, W] or [H, W, C]: interpolation of any kind agrees on it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [
        np.sin(y / rng.uniform(9, 20) + rng.uniform(0, 6)) + np.cos(x / rng.uniform(9, 20) + rng.uniform(0, 6))
        for _ in range(channels)
    ]
    full = {"uint8": 255, "uint16": 65535, "float32": 1.0}[dtype]
    image = ((np.stack(waves, axis=2) / 4 + 0.5) * full).astype(dtype)
    return image[..., 0] if channels == 1 else image


def matrix(angle: float, dx: float, dy: float) -> NDArray[np.float64]:
    a = np.deg2rad(angle)
    return np.array([[np.cos(a), -np.sin(a), dx], [np.sin(a), np.cos(a), dy]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_the_context_holds_the_image_and_its_spread(dtype: str, channels: int) -> None:
    image = smooth(20, 30, channels, dtype, 0)
    spread = np.full((20, 30), 2.3, np.float32)
    reference = ContextMap.of(image, spread)
    assert reference.pixels.shape == (20, 30, channels + 1) and reference.pixels.dtype == image.dtype
    np.testing.assert_array_equal(reference.image, image)
    steps = 1.0 if dtype == "float32" else SPREAD_STEPS
    np.testing.assert_allclose(reference.pixels[..., -1] / steps, 2.3, atol=0.5 / SPREAD_STEPS)


def test_a_spread_beyond_what_the_code_holds_is_the_largest_it_holds() -> None:
    reference = ContextMap.of(np.zeros((4, 4), np.uint8), np.full((4, 4), 1000, np.float32))
    assert (reference.pixels[..., -1] == 255).all()


@settings(max_examples=20)
@given(
    angle=st.floats(-2, 2),
    dx=st.floats(-9, 9),
    dy=st.floats(-9, 9),
    channels=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 99),
)
def test_an_image_sees_the_reference_where_the_matrix_says(
    angle: float, dx: float, dy: float, channels: int, seed: int
) -> None:
    reference = ContextMap.of(smooth(70, 90, channels, "float32", seed), np.ones((70, 90), np.float32))
    m = matrix(angle, dx, dy)
    seen = reference.seen_by(m)
    expected = warp(reference.pixels, AffineTransform(np.vstack([m, [0, 0, 1]])), order=1, preserve_range=True)
    inside = np.s_[16:-16, 16:-16]  # beyond the reference the two reflect at other places
    np.testing.assert_allclose(seen[inside], expected[inside], atol=0.01)


@settings(max_examples=40)
@given(data=st.data(), angle=st.floats(-1, 1), dx=st.floats(-5, 5), dy=st.floats(-5, 5), seed=st.integers(0, 99))
def test_a_tile_shows_what_the_whole_padded_context_shows(
    data: st.DataObject, angle: float, dx: float, dy: float, seed: int
) -> None:
    height, width = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    reference = ContextMap.of(smooth(height, width, 1, "float32", seed), np.ones((height, width), np.float32))
    border, padding = data.draw(st.sampled_from([0, 8, 24])), data.draw(st.sampled_from(sorted(BORDER_TYPES)))
    grid = TileGrid(height, width, 32, 0, multiple=8, border=border, padding=padding)
    m = matrix(angle, dx, dy)
    padded = grid.pad(reference.seen_by(m))
    y = data.draw(st.integers(0, grid.padded_height - 32))
    x = data.draw(st.integers(0, grid.padded_width - 32))
    tile = reference.tile(m, border, padding, y, x, 32, 32)
    assert tile.shape == (32, 32, 2)
    # OpenCV rounds places to 1/32 px, from another corner here than there.
    np.testing.assert_allclose(tile, padded[y : y + 32, x : x + 32], atol=0.02)
