"""Reading good images: padded as inspection pads, alike, within a memory budget; and their statistics."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.look_map import LookMap, WhereToLook
from flawmap.tiling.padding import Padding
from flawmap.tiling.reading import Reading
from flawmap.training.config import ImageSettings
from flawmap.training.counting import count
from flawmap.training.good_images import (
    GoodImages,
    Normalisation,
    measure_normalisation,
    read_good_images,
)
from flawmap.training.scoring import raw_tile
from tests.products import draw_good, good_images, write_good
from tests.tiff_by_hand import Page, tiff_by_hand

READING: dict[str, Any] = {"tile_size": 64, "multiple": 4, "border": 16, "padding": "replicate"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_are_read_and_padded_as_inspection_pads_them(tmp_path: Path, channels: int, dtype: str) -> None:
    paths = write_good(tmp_path, 6, side=70, channels=channels, dtype=dtype)
    told: list[tuple[int, int]] = []
    images = read_good_images(paths, cache_gib=1, report=lambda done, total: told.append((done, total)), **READING)
    assert images.paths == paths
    assert (images.channels, images.dtype, images.left_out) == (channels, np.dtype(dtype), 0)
    grid = TileGrid(70, 70, 64, 0, multiple=4, border=16, padding="replicate")
    for path, padded in zip(paths, images.padded, strict=True):
        np.testing.assert_array_equal(padded, grid.pad(read_image(path)))
    assert told[-1] == (6, 6)


def test_an_image_smaller_than_a_tile_becomes_a_tile(tmp_path: Path) -> None:
    write_image(tmp_path / "small.png", draw_good(9, 50))
    images = read_good_images([tmp_path / "small.png"], cache_gib=1, **(READING | {"tile_size": 128, "multiple": 8}))
    assert images.padded[0].shape == (128, 128)


def test_what_does_not_fit_the_memory_is_left_out_and_counted(tmp_path: Path) -> None:
    paths = write_good(tmp_path, 10, side=64)
    images = read_good_images(paths, cache_gib=5 * 96 * 96 / 2**30, **READING)
    assert 5 <= len(images.padded) < 10
    assert images.left_out == 10 - len(images.padded)
    assert images.paths == paths[: len(images.padded)]


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"dtype": "uint16"}, "is mono uint8, .*is mono uint16"),
        ({"channels": 3}, "is mono uint8, .*is RGB uint8"),
    ],
)
def test_images_that_differ(tmp_path: Path, other: dict[str, object], words: str) -> None:
    paths = write_good(tmp_path, 5, side=64)
    write_image(paths[3], draw_good(64, 64, **other))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=rf"good images differ: .*000\.tif {words}; .*one channel count and bit depth"):
        read_good_images(paths, cache_gib=1, **READING)


def test_an_unreadable_image_is_not_skipped(tmp_path: Path) -> None:
    paths = write_good(tmp_path, 3, side=64)
    paths[1].write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"001\.tif"):
        read_good_images(paths, cache_gib=1, **READING)


@given(mean=st.floats(-100, 60000), std=st.floats(0.01, 9000), dtype=st.sampled_from(["uint8", "uint16", "float32"]))
def test_normalisation_is_mean_and_std(mean: float, std: float, dtype: str) -> None:
    pixels = draw_good(8, 8, dtype=dtype)
    expected = (pixels.astype(np.float64) - mean) / std
    found = Normalisation((mean,), (std,)).apply(pixels)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3 * (1 + abs(mean) / std * 1e-3))


def test_normalisation_keeps_channels_apart() -> None:
    pixels = np.stack([np.full((4, 5), v, np.uint8) for v in (10, 20, 30)], axis=-1)
    found = Normalisation((10.0, 10.0, 10.0), (1.0, 2.0, 4.0)).apply(pixels)
    np.testing.assert_array_equal(found[0, 0], np.float32([0, 5, 5]))


@pytest.mark.parametrize("channels", [1, 3])
def test_measured_normalisation_gives_zero_mean_and_unit_variance(channels: int) -> None:
    images = good_images(4, channels=channels, dtype="uint16")
    normalisation = measure_normalisation(images)
    assert len(normalisation.mean) == len(normalisation.std) == channels
    values = np.concatenate([normalisation.apply(image).reshape(-1, channels) for image in images.padded])
    np.testing.assert_allclose(values.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(values.std(axis=0), 1, atol=1e-3)


def test_a_blank_product_is_not_divided_by_zero() -> None:
    blank = GoodImages([Path("a")], [np.full((64, 64), 77, np.uint8)], 0, 0, [(64, 64)])
    assert measure_normalisation(blank) == Normalisation((77.0,), (1.0,))


@pytest.mark.parametrize(
    ("dtype", "largest", "full_scale"),
    [("uint8", 40, 255), ("uint16", 900, 1023), ("uint16", 4000, 4095), ("uint16", 65535, 65535),
     ("uint16", 0, 255), ("uint16", 300, 1023), ("float32", 0.7, 1.0), ("float32", 3.5, 3.5)],
)  # fmt: skip
def test_full_scale_is_the_cameras(dtype: str, largest: float, full_scale: float) -> None:
    image = np.zeros((4, 4), dtype)
    image[2, 2] = largest
    images = GoodImages([Path("a")], [image], 0, 0, [image.shape[:2]])
    assert images.full_scale == full_scale


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_full_scale_is_what_the_files_say(tmp_path: Path, bits: int) -> None:
    paths = [tmp_path / f"{number}.tif" for number in range(3)]
    for path in paths:  # so dark that nothing would be known from the values
        path.write_bytes(tiff_by_hand(Page(draw_good(64, 64).astype(np.uint16) >> 2, bits=bits)))
    images = read_good_images(paths, cache_gib=1, **READING)
    assert (images.bits, images.full_scale) == (bits, 2**bits - 1)
    for path in paths:
        path.write_bytes(tiff_by_hand(Page(draw_good(64, 64).astype(np.uint16) >> 2)))
    assert read_good_images(paths, cache_gib=1, **READING).bits is None
    said = read_good_images(paths, cache_gib=1, reading=Reading(bits=bits), **READING)
    assert (said.bits, said.full_scale) == (bits, 2**bits - 1)


def test_images_that_differ_in_bits(tmp_path: Path) -> None:
    good = draw_good(64, 64).astype(np.uint16)
    paths = [tmp_path / f"{number}.tif" for number in range(3)]
    for path, page in zip(paths, (Page(good, bits=12), Page(good), Page(good, bits=10)), strict=True):
        path.write_bytes(tiff_by_hand(page))
    with pytest.raises(
        UsageError, match=r"good images differ: .*0\.tif is of 12 bits, .*2\.tif is of 10 bits; a bundle"
    ):
        read_good_images(paths, cache_gib=1, **READING)
    assert read_good_images(paths[:2], cache_gib=1, **READING).bits == 12
    paths[2].write_bytes(tiff_by_hand(Page(good * 256)))
    with pytest.raises(
        UsageError, match=r"0\.tif is of 12 bits, another holds values of \d{5}; `image\.bits` says how"
    ):
        read_good_images(paths, cache_gib=1, **READING)


@given(
    y=st.integers(0, 80),
    x=st.integers(0, 90),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    look=st.booleans(),
)
def test_a_tile_counts_where_its_picture_is(y: int, x: int, height: int, width: int, look: bool) -> None:
    images = good_images(1, side=70, border=16)
    inside = np.pad(np.ones((70, 70), np.uint8), 16)
    assert images.padded[0].shape >= inside.shape
    inside = np.pad(inside, [(0, a - b) for a, b in zip(images.padded[0].shape, inside.shape, strict=True)])
    if look:
        drawn = np.ones((70, 70), np.uint8)
        drawn[20:50, :30] = 0
        images = count(images, images, WhereToLook(LookMap(drawn)), ImageSettings())[0]
        inside[16:86, 16:86] = drawn
    y, x = min(y, inside.shape[0] - height), min(x, inside.shape[1] - width)
    expected = inside[y : y + height, x : x + width]
    tile = raw_tile(images, 0, y, x, height, width)
    np.testing.assert_array_equal(tile.pixels, images.padded[0][y : y + height, x : x + width])
    np.testing.assert_array_equal(np.ones((height, width)) if tile.look is None else tile.look, expected)


@pytest.mark.parametrize("padding", ["reflect", "replicate"])
def test_normalisation_is_of_the_pictures_alone(padding: Padding) -> None:
    bare = measure_normalisation(good_images(3, side=64, border=0))
    assert measure_normalisation(good_images(3, side=64, border=32, padding=padding)) == bare


def test_of_a_window_that_counts_what_it_holds_of_the_picture() -> None:
    """900 rows and 16 px around them, in two windows: the first 200 rows of the padded picture and the last 200."""
    padded = [np.zeros((200, 102), np.uint8)] * 2
    images = GoodImages([Path("a")] * 2, list(padded), 16, 0, [(900, 70)] * 2, tops=[0, 732], in_windows=True)
    assert [images.picture_box(index) for index in (0, 1)] == [(16, 16, 200, 86), (0, 16, 184, 86)]
