"""Tiles of a whole picture and of its heat: together they are the picture, and no peak of the heat is lost."""

import errno
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as PillowImage

from flawmap.inspect.report import deep_zoom
from flawmap.inspect.report.deep_zoom import HEAT_TILE, Pyramid, write_deep_zoom
from flawmap.inspect.report.display import window_of
from flawmap.inspect.report.heat_scale import INFERNO, HeatScale
from flawmap.inspect.run.layout import ZOOM_TILE
from flawmap.tiling.images import read_image
from flawmap.tiling.strips.row_file import RowFile

SCALE = HeatScale(6.0, 9.0)
FIRST_SEEN = 3 + 3 * 0.15 / 0.35  # the score at which heat begins to show, from the scale's anchors 3 and 6


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> int:
    """Many tiles without many pixels."""
    monkeypatch.setattr(deep_zoom, "TILE_PX", 64)
    return 64


def write(folder: Path, image: NDArray, heatmap: NDArray[np.float32]) -> Path:
    with ThreadPoolExecutor(2) as pool:
        write_deep_zoom(folder, "a b", image, heatmap, window_of(image), SCALE, pool)
    return folder / "zoom" / "a b"


def surface(*shape: int, dtype: type = np.uint8) -> NDArray:
    """Smooth, so that JPEG keeps it to a few levels."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    level = 120 + 60 * np.sin(y / 23) + 50 * np.cos(x / 31)
    image = level if len(shape) == 2 else np.stack([level, 255 - level, level / 2], axis=2)
    return (image * (16 if dtype == np.uint16 else 1)).astype(dtype)


@given(st.integers(1, 100_000), st.integers(1, 100_000))
def test_levels_halve_until_one_tile_is_left(height: int, width: int) -> None:
    pyramid = Pyramid(height, width)
    assert pyramid.size(pyramid.n_levels - 1) == (height, width)
    assert max(pyramid.size(0)) <= deep_zoom.TILE_PX
    if pyramid.n_levels > 1:
        assert max(pyramid.size(1)) > deep_zoom.TILE_PX
    for level in range(1, pyramid.n_levels):
        assert pyramid.size(level - 1) == tuple(-(-side // 2) for side in pyramid.size(level))


def test_columns_reach_into_their_neighbours(small_tiles: int) -> None:
    pyramid = Pyramid(10, 200)
    assert [px for _, px in pyramid.columns(2, 1)] == [slice(0, 65), slice(63, 129), slice(127, 193), slice(191, 200)]
    assert [px for _, px in pyramid.columns(1, 0)] == [slice(0, 64), slice(64, 100)]


@pytest.mark.parametrize("shape", [(200, 150), (129, 64, 3), (1, 300), (64, 64)])
def test_tiles_put_together_are_the_picture(tmp_path: Path, small_tiles: int, shape: tuple[int, ...]) -> None:
    image = surface(*shape)
    folder = write(tmp_path, image, np.zeros(shape[:2], np.float32))
    pyramid = Pyramid(*shape[:2])
    for level in range(pyramid.n_levels):
        high, wide = pyramid.size(level)
        whole = np.full((high, wide, *shape[2:]), np.nan, np.float32)
        for row, y in enumerate(range(0, high, 64)):
            for column, x in enumerate(range(0, wide, 64)):
                tile = read_image(folder / f"picture-{level}-{column}-{row}.jpg")
                top, left = max(0, y - 1), max(0, x - 1)
                assert tile.shape[:2] == (min(high, y + 65) - top, min(wide, x + 65) - left)
                whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        step = 1 << (pyramid.n_levels - 1 - level)
        rows, columns = (np.arange(0, side, step) for side in shape[:2])
        sums = np.add.reduceat(np.add.reduceat(image.astype(np.float64), rows, axis=0), columns, axis=1)
        n_pixels = np.diff([*rows, shape[0]])[:, None] * np.diff([*columns, shape[1]])
        expected = sums / n_pixels.reshape(n_pixels.shape + (1,) * (image.ndim - 2))
        assert np.abs(whole - expected).mean() < 4, level
    assert all(ZOOM_TILE.fullmatch(path.name) for path in folder.iterdir())
    assert not any(HEAT_TILE.fullmatch(path.name) for path in folder.iterdir())  # nothing to be seen


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_images_are_shown_in_their_window(tmp_path: Path, dtype: type) -> None:
    image = surface(90, 80, dtype=dtype)
    tile = read_image(write(tmp_path, image, np.zeros((90, 80), np.float32)) / "picture-0-0-0.jpg")
    assert tile.shape == (90, 80) and tile.min() < 40 and tile.max() > 215


def test_what_is_not_looked_at_is_dimmed(tmp_path: Path) -> None:
    image, heatmap = np.full((80, 120), 150, np.uint8), np.full((80, 120), -np.inf, np.float32)
    look = np.zeros((80, 120), np.uint8)
    look[:, :48] = 1
    with ThreadPoolExecutor(2) as pool:
        write_deep_zoom(tmp_path, "a", image, heatmap, window_of(image), SCALE, pool, look)
    tile = read_image(tmp_path / "zoom" / "a" / "picture-0-0-0.jpg")
    assert abs(tile[:, :40].mean() - 150) < 2 and abs(tile[:, 56:].mean() - 50) < 2
    assert (image == 150).all() and not list((tmp_path / "zoom" / "a").glob("heat-*"))


def heat_of(folder: Path, level: int, column: int, row: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """(RGB, opacity) of a heat tile, as a browser reads it."""
    pixels = np.asarray(PillowImage.open(folder / f"heat-{level}-{column}-{row}.png").convert("RGBA"))
    return pixels[..., :3], pixels[..., 3]


def test_heat_has_the_colours_of_the_scale(tmp_path: Path) -> None:
    scores = np.array([[0.0, FIRST_SEEN - 0.01, FIRST_SEEN + 0.05, 5.0, 6.0, 9.0, 18.0, 99.0]], np.float32)
    colours, opacity = heat_of(write(tmp_path, surface(1, 8), scores), 0, 0, 0)
    assert (opacity[0, :2] == 0).all() and (opacity[0, 4:] >= 254).all()
    assert 0 < opacity[0, 2] < opacity[0, 3] < 255
    np.testing.assert_array_equal(colours[0, 2:], SCALE.colours(scores[0, 2:]))
    np.testing.assert_array_equal(colours[0, 4:], INFERNO[[89, 178, 255, 255]])


@settings(max_examples=15)
@given(
    st.integers(1, 200), st.integers(1, 200), st.lists(st.tuples(st.integers(0, 199), st.integers(0, 199)), max_size=6)
)
def test_no_peak_is_lost_on_any_level(height: int, width: int, peaks: list[tuple[int, int]]) -> None:
    heatmap = np.zeros((height, width), np.float32)
    for y, x in peaks:
        heatmap[y % height, x % width] = 20.0
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(deep_zoom, "TILE_PX", 64)
        tiles = write(Path(folder), np.zeros((height, width), np.uint8), heatmap)
        pyramid = Pyramid(height, width)
        seen: dict[int, set[tuple[int, int]]] = {level: set() for level in range(pyramid.n_levels)}
        for path in tiles.glob("heat-*.png"):
            level, column, row = map(int, HEAT_TILE.fullmatch(path.name)[1].split("-"))  # type: ignore[index]
            colours, opacity = heat_of(tiles, level, column, row)
            high, wide = pyramid.size(level)
            assert opacity.shape == (min(64, high - 64 * row), min(64, wide - 64 * column))
            seen[level] |= {(row * 64 + y, column * 64 + x) for y, x in np.argwhere(opacity > 0).tolist()}
            assert (colours[opacity > 0] == INFERNO[255]).all()
        for level, places in seen.items():
            step = 1 << (pyramid.n_levels - 1 - level)
            assert places == {(y % height // step, x % width // step) for y, x in peaks}


def test_an_image_on_the_disk_gives_the_same_tiles(tmp_path: Path, small_tiles: int) -> None:
    image, heatmap = surface(200, 150), np.zeros((200, 150), np.float32)
    heatmap[150:160, 20:90] = 9.0
    expected = write(tmp_path / "memory", image, heatmap)
    with RowFile(tmp_path, image.shape, image.dtype) as on_disk, RowFile(tmp_path, heatmap.shape, np.float32) as scores:
        on_disk.append(image)
        scores.append(heatmap)
        found = write(tmp_path / "disk", on_disk, scores)
        assert {path.name: path.read_bytes() for path in found.iterdir()} == {
            path.name: path.read_bytes() for path in expected.iterdir()
        }


def test_cold_tiles_are_not_written(tmp_path: Path, small_tiles: int) -> None:
    heatmap = np.zeros((200, 200), np.float32)
    heatmap[70, 150] = 12.0
    folder = write(tmp_path, surface(200, 200), heatmap)
    heat = sorted(path.name for path in folder.iterdir() if HEAT_TILE.fullmatch(path.name))
    assert heat == ["heat-0-0-0.png", "heat-1-1-0.png", "heat-2-2-1.png"]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(deep_zoom, "write_image", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, surface(50, 50), np.zeros((50, 50), np.float32))
