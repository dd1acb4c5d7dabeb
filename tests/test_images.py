import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import imageio.v3 as imageio
import numpy as np
import PIL.Image
import pytest
import skimage.io
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import IMAGE_SUFFIXES, describe, read_image, write_image
from tests.image_files import (
    COLOUR,
    DEEP,
    FILES,
    GREY,
    Array,
    chunk,
    in_a_shared_folder,
    names,
    png,
    quantized,
    sample,
    saved,
    tiff,
)

LOSSLESS = [
    ("png", "uint8"), ("png", "uint16"), ("bmp", "uint8"), ("tif", "uint8"), ("tiff", "uint16"), ("TIF", "float32"),
]  # fmt: skip


def finite(dtype: str) -> st.SearchStrategy[Any]:
    if dtype == "float32":
        return st.floats(width=32, allow_nan=False, allow_infinity=False)
    return hnp.from_dtype(np.dtype(dtype))


@st.composite
def images(draw: st.DrawFn, dtype: str, most: int = 40) -> Array:
    shape = (draw(st.integers(1, most)), draw(st.integers(1, most)), *draw(st.sampled_from([(), (3,)])))
    return draw(hnp.arrays(dtype, shape, elements=finite(dtype)))


# What is written comes back


@pytest.mark.parametrize(("suffix", "dtype"), LOSSLESS)
@given(data=st.data())
@in_a_shared_folder
def test_lossless_formats_give_back_every_pixel(tmp_path: Path, suffix: str, dtype: str, data: st.DataObject) -> None:
    image = data.draw(images(dtype, most=20))
    file = tmp_path / f"image.{suffix}"
    write_image(file, image)
    again = read_image(file)
    assert again.dtype == image.dtype and again.flags.c_contiguous
    np.testing.assert_array_equal(again, image)
    # and another library sees the same (imageio makes 16-bit colour PNG 8-bit)
    other = imagecodecs.png_decode(file.read_bytes()) if suffix == "png" else imageio.imread(file)
    np.testing.assert_array_equal(np.squeeze(other), np.squeeze(image))


@pytest.mark.parametrize(("suffix", "dtype"), LOSSLESS)
def test_views_that_are_not_contiguous_are_written_as_they_look(tmp_path: Path, suffix: str, dtype: str) -> None:
    image = sample(20, 31, 3, dtype=dtype)[::-1, ::2]
    write_image(tmp_path / f"a.{suffix}", image)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), image)


@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 3)])
@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_stays_close_and_keeps_the_order_of_colours(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    image = np.broadcast_to(np.linspace(20, 200, 80)[:, None] + [0, 20, 50], (64, 80, 3)).astype(np.uint8)
    image = image if len(shape) == 3 else image[..., 0]
    write_image(tmp_path / f"a{suffix}", image, jpeg_quality=95)
    again = read_image(tmp_path / f"a{suffix}")
    assert again.shape == shape
    assert np.abs(again.astype(int) - image).max() < 12
    write_image(tmp_path / f"b{suffix}", image, jpeg_quality=20)
    assert (tmp_path / f"b{suffix}").stat().st_size < (tmp_path / f"a{suffix}").stat().st_size


def test_the_same_pixels_give_the_same_bytes(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        write_image(tmp_path / f"a{suffix}", COLOUR)
        first = (tmp_path / f"a{suffix}").read_bytes()
        write_image(tmp_path / f"a{suffix}", COLOUR)
        assert (tmp_path / f"a{suffix}").read_bytes() == first


# Files from other libraries


@pytest.mark.parametrize("name", FILES)
def test_files_of_every_kind(tmp_path: Path, name: str) -> None:
    contents, pixels = FILES[name]
    (tmp_path / name).write_bytes(contents)
    image = read_image(tmp_path / name)
    if pixels is None:  # lossy: another decoder may round differently, by a few values
        other = np.asarray(PIL.Image.open(tmp_path / name))
        assert image.shape == other.shape and np.abs(image.astype(int) - other).max() <= 4
    else:
        assert image.dtype == pixels.dtype
        np.testing.assert_array_equal(image, pixels)


@given(image=images("uint8"), suffix=st.sampled_from(["png", "bmp", "tif"]))
@in_a_shared_folder
def test_written_by_pillow(tmp_path: Path, image: Array, suffix: str) -> None:
    PIL.Image.fromarray(image).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), image)


def test_deep_colour_png_written_by_imagecodecs(tmp_path: Path) -> None:
    image = sample(21, 13, 3, dtype="uint16")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(image))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image)


@pytest.mark.parametrize("image", [GREY, COLOUR, DEEP, DEEP.astype(np.float32)], ids=describe)
def test_written_by_scikit_image(tmp_path: Path, image: Array) -> None:
    skimage.io.imsave(tmp_path / "a.tif", image, check_contrast=False)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
@given(data=st.data())
@in_a_shared_folder
def test_alpha_is_dropped(tmp_path: Path, suffix: str, mode: str, data: st.DataObject) -> None:
    shape = (data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20)), len(mode))
    image = data.draw(hnp.arrays("uint8", shape))
    PIL.Image.fromarray(image, mode=mode).save(tmp_path / f"a.{suffix}")
    expected = image[..., 0] if mode == "LA" else image[..., :3]
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), expected)


def test_deep_alpha_is_dropped(tmp_path: Path) -> None:
    image = sample(5, 7, 4, dtype="uint16")
    (tmp_path / "a.tif").write_bytes(tiff(image, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), image[..., :3])
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in image)
    (tmp_path / "a.png").write_bytes(png(7, 5, chunk(b"IDAT", zlib.compress(rows)), depth=16, colour_type=6))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), image[..., :3])


def test_a_transparent_value_changes_no_pixel(tmp_path: Path) -> None:
    PIL.Image.fromarray(GREY).save(tmp_path / "a.png", transparency=int(GREY[3, 3]))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY)
    PIL.Image.fromarray(COLOUR).save(tmp_path / "b.png", transparency=tuple(int(v) for v in COLOUR[3, 3]))
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), COLOUR)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_a_palette_is_applied(tmp_path: Path, suffix: str) -> None:
    picture = quantized(COLOUR)
    picture.save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), np.asarray(picture.convert("RGB")))


def test_a_tiff_palette_of_8_bit_values(tmp_path: Path) -> None:
    palette = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    (tmp_path / "a.tif").write_bytes(tiff(GREY, photometric="palette", colormap=palette))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), palette.T[GREY])


def test_a_bmp_from_top_to_bottom(tmp_path: Path) -> None:
    turned = bytearray(FILES["grey.bmp"][0])
    struct.pack_into("<i", turned, 22, -GREY.shape[0])
    (tmp_path / "a.bmp").write_bytes(turned)
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), GREY[::-1])


@pytest.mark.parametrize("suffix", ["png", "bmp"])
def test_one_bit_becomes_black_and_white(tmp_path: Path, suffix: str) -> None:
    PIL.Image.fromarray(GREY > 100).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), np.where(GREY > 100, 255, 0))


@given(dtype=st.sampled_from(["uint8", "uint16"]), data=st.data())
@in_a_shared_folder
def test_white_as_the_smallest_value_is_turned_round(tmp_path: Path, dtype: str, data: st.DataObject) -> None:
    image = data.draw(hnp.arrays(dtype, (6, 9)))
    (tmp_path / "a.tif").write_bytes(tiff(image, photometric="miniswhite"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.iinfo(dtype).max - image)


def test_an_orientation_tag_is_not_applied(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    flat = np.zeros((16, 48), np.uint8)
    for name in ("a.jpg", "a.png", "a.tif"):
        PIL.Image.fromarray(flat).save(tmp_path / name, exif=exif)
        assert read_image(tmp_path / name).shape == (16, 48)


def test_the_contents_decide_not_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.bmp").write_bytes(saved(COLOUR, "png"))
    np.testing.assert_array_equal(read_image(tmp_path / "a.bmp"), COLOUR)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    for name in ("grey.png", "grey.bmp", "plain.tif", "lzw.tif"):
        (tmp_path / name).write_bytes(FILES[name][0] + b"camera serial 0815")
        np.testing.assert_array_equal(read_image(tmp_path / name), np.asarray(FILES[name][1]))
    (tmp_path / "a.jpg").write_bytes(FILES["grey.jpg"][0] + b"camera serial 0815")
    assert read_image(tmp_path / "a.jpg").shape == GREY.shape


# What cannot be written


@pytest.mark.parametrize(
    ("name", "image", "reason"),
    [
        ("a.gif", GREY, r"cannot be written as `\.gif` \(one of \.png, \.bmp, \.jpg, \.jpeg, \.tif, \.tiff\)"),
        ("a", GREY, r"cannot be written as `` \(one of"),
        ("a.jpg", DEEP, r"JPEG cannot hold mono uint16 \(uint8\)"),
        ("a.bmp", DEEP, r"BMP cannot hold mono uint16 \(uint8\)"),
        ("a.png", np.zeros((3, 4, 3), np.float32), r"PNG cannot hold RGB float32 \(uint8, uint16\)"),
        ("a.tif", np.zeros((3, 4)), r"TIFF cannot hold mono float64 \(uint8, uint16, float32\)"),
        ("a.tif", np.zeros((3, 4), bool), r"TIFF cannot hold mono bool"),
        (
            "a.png",
            np.zeros((3, 4, 4), np.uint8),
            r"shape \(3, 4, 4\) is not an image \[H, W\] or \[H, W, 3\]",
        ),
        ("a.png", np.zeros((0, 4), np.uint8), r"an array of shape \(0, 4\) is not an image"),
        ("a.png", np.zeros(4, np.uint8), r"an array of shape \(4,\) is not an image"),
        ("a.jpg", np.zeros((2, 70000), np.uint8), r"70000x2 px cannot be encoded as `\.jpg`"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path: Path, name: str, image: Array, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        write_image(tmp_path / name, image)
    assert names(tmp_path) == []


@pytest.mark.parametrize("quality", [-1, 101])
def test_the_range_of_the_quality(tmp_path: Path, quality: int) -> None:
    with pytest.raises(UsageError, match=rf"`jpeg_quality` \(={quality}\) must be from 0 to 100"):
        write_image(tmp_path / "a.jpg", GREY, jpeg_quality=quality)


def test_a_failed_write_keeps_the_old_image(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", GREY)
    with pytest.raises(ImageError, match="cannot hold"):
        write_image(tmp_path / "a.png", GREY.astype(np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY)
    with pytest.raises(FileNotFoundError, match=r"gone/a\.png"):
        write_image(tmp_path / "gone" / "a.png", GREY)


def test_describe() -> None:
    assert [describe(image) for image in (GREY, COLOUR, DEEP)] == ["mono uint8", "RGB uint8", "mono uint16"]
    assert describe(np.zeros((2, 2, 3), np.float32)) == "RGB float32"
