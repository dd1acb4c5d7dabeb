"""What cameras and their software write: every kind of file here was made by another library than the one that reads.

TIFF is read by tifffile: these come from Pillow, OpenCV, imagecodecs or were made by hand. PNG, BMP and JPEG are read
by OpenCV: these come from Pillow and imagecodecs.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import PIL.features
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import describe, read_image, read_picture
from flawmap.tiling.reading import Bayer, Reading
from tests import tiff_by_hand
from tests.image_files import COLOUR, DEEP, GREY, Array, in_a_shared_folder, saved
from tests.raw_pages import PATTERNS, mosaic, raw_page
from tests.tiff_by_hand import CFA, DEFLATE, LZMA, LZW, RGB, SHORT, ZSTD, Page

TEN, TWELVE = DEEP >> 6, DEEP >> 4  # as 10- and 12-bit cameras fill 16 bits
ALPHA = 255 - GREY


def by_pillow(image: Array, **options: Any) -> bytes:
    return saved(image, "tiff", **options)


def by_opencv(image: Array, suffix: str = ".tif", *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image, options)
    assert done
    return bytes(data)


def by_hand(image: Array, big: bool = False, order: str = "<", **options: Any) -> bytes:
    return tiff_by_hand.tiff_by_hand(Page(image, **options), big=big, order=order)


BY_LZW, BY_PACKBITS = (cv2.IMWRITE_TIFF_COMPRESSION, 5), (cv2.IMWRITE_TIFF_COMPRESSION, 32773)

# Who wrote it, what is in it, what must come back.
LOSSLESS: dict[str, tuple[bytes, Array]] = {
    "mono 8, Pillow": (by_pillow(GREY), GREY),
    "mono 16, Pillow": (by_pillow(DEEP), DEEP),
    "mono 16, OpenCV": (by_opencv(DEEP), DEEP),
    "mono 16, other byte order, by hand": (by_hand(DEEP, order=">"), DEEP),
    "mono 10 in 16, OpenCV": (by_opencv(TEN), TEN),
    "mono 12 in 16, Pillow": (by_pillow(TWELVE), TWELVE),
    "mono 12 packed, by hand": (by_hand(TWELVE, bits=12), TWELVE),
    "mono 10 packed, strips, by hand": (by_hand(TEN, bits=10, rows=5), TEN),
    "mono 14 packed, by hand": (by_hand(DEEP >> 2, bits=14), DEEP >> 2),
    "RGB, Pillow": (by_pillow(COLOUR), COLOUR),
    "RGB, OpenCV": (by_opencv(COLOUR), COLOUR),
    "RGB 16, OpenCV": (by_opencv(COLOUR.astype(np.uint16) * 257), COLOUR.astype(np.uint16) * 257),
    "RGBA, Pillow": (by_pillow(np.dstack([COLOUR, ALPHA])), COLOUR),
    "grey and alpha, Pillow": (saved(np.dstack([GREY, ALPHA]), "tiff"), GREY),
    "LZW, Pillow": (by_pillow(COLOUR, compression="tiff_lzw"), COLOUR),
    "LZW with predictor, OpenCV": (by_opencv(DEEP, ".tif", *BY_LZW, cv2.IMWRITE_TIFF_PREDICTOR, 2), DEEP),
    "LZW tiles, by hand": (by_hand(GREY, compression=LZW, tile=16), GREY),
    "deflate, Pillow": (by_pillow(GREY, compression="tiff_adobe_deflate"), GREY),
    "old deflate, Pillow": (by_pillow(GREY, compression="tiff_deflate"), GREY),
    "deflate tiles, by hand": (by_hand(COLOUR, photometric=RGB, compression=DEFLATE, tile=16), COLOUR),
    "zstd, by hand": (by_hand(DEEP, compression=ZSTD, rows=8), DEEP),
    "LZMA, by hand": (by_hand(DEEP, compression=LZMA, rows=20), DEEP),
    "packbits, Pillow": (by_pillow(GREY, compression="packbits"), GREY),
    "packbits, OpenCV": (by_opencv(COLOUR, ".tif", *BY_PACKBITS), COLOUR),
    "tiles of 16 bits, by hand": (by_hand(DEEP, tile=32), DEEP),
    "BigTIFF, Pillow": (by_pillow(DEEP, big_tiff=True), DEEP),
    "BigTIFF tiles, by hand": (by_hand(GREY, big=True, order=">", tile=16), GREY),
    "PNG mono 16, imagecodecs": (imagecodecs.png_encode(DEEP), DEEP),
    "PNG RGBA, Pillow": (saved(np.dstack([COLOUR, ALPHA]), "png"), COLOUR),
    "PNG grey and alpha, Pillow": (saved(np.dstack([GREY, ALPHA]), "png"), GREY),
    "PNG RGBA 16, imagecodecs": (
        imagecodecs.png_encode(np.dstack([COLOUR, ALPHA]).astype(np.uint16) * 257), COLOUR.astype(np.uint16) * 257
    ),
    "BMP mono, Pillow": (saved(GREY, "bmp"), GREY),
    "BMP RGB, imagecodecs": (imagecodecs.bmp_encode(COLOUR), COLOUR),
}  # fmt: skip
LOSSY: dict[str, tuple[bytes, Array]] = {
    "JPEG mono, imagecodecs": (imagecodecs.jpeg8_encode(GREY, level=95), GREY),
    "JPEG RGB, Pillow": (saved(COLOUR, "jpeg", quality=95), COLOUR),
    "JPEG in TIFF, Pillow": (by_pillow(COLOUR, compression="jpeg", quality=95), COLOUR),
    "JPEG mono in TIFF, Pillow": (by_pillow(GREY, compression="jpeg", quality=95), GREY),
}


@pytest.mark.parametrize("case", LOSSLESS)
def test_every_pixel_comes_back(tmp_path: Path, case: str) -> None:
    contents, expected = LOSSLESS[case]
    (tmp_path / "a.tif").write_bytes(contents)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == expected.dtype and image.flags.c_contiguous
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("case", LOSSY)
def test_lossy_files_come_back_as_their_writer_sees_them(tmp_path: Path, case: str) -> None:
    contents, original = LOSSY[case]
    (tmp_path / "a.jpg").write_bytes(contents)
    image = read_image(tmp_path / "a.jpg")
    seen = np.asarray(PIL.Image.open(BytesIO(contents)))
    assert image.shape == original.shape
    assert np.abs(image.astype(int) - seen).max() <= 4


@pytest.mark.skipif(not PIL.features.check("libtiff"), reason="Pillow without libtiff")
def test_zstd_written_by_pillow(tmp_path: Path) -> None:
    PIL.Image.fromarray(GREY).save(tmp_path / "a.tif", compression="zstd")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), GREY)


# Bits that count


@pytest.mark.parametrize(
    ("page", "bits"),
    [
        (Page(TWELVE, bits=12), 12),
        (Page(TEN, bits=10), 10),
        (Page(TWELVE, tags={281: (SHORT, 4095)}), 12),
        (Page(TEN, tags={341: (SHORT, 1023)}), 10),
        (Page(TEN, tags={341: (SHORT, 1023), 281: (SHORT, 4095)}), 10),
        (Page(TEN, tags={281: (SHORT, int(TEN.max()))}), None),  # the picture's own largest value is no full scale
        (Page(TWELVE, tags={281: (SHORT, 65535)}), None),  # the container's says nothing
        (Page(TWELVE), None),
        (Page(GREY, tags={281: (SHORT, 255)}), None),
    ],
)
def test_bits_are_taken_from_tags_and_never_guessed(tmp_path: Path, page: Page, bits: int | None) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_by_hand.tiff_by_hand(page))
    picture = read_picture(tmp_path / "a.tif")
    assert picture.bits == bits
    np.testing.assert_array_equal(picture.pixels, page.pixels)


@pytest.mark.parametrize(
    ("page", "bits", "reason"),
    [
        (Page(TEN, bits=10), 12, r"pixels of 10 bits, 12 bits are expected"),
        (Page(TEN, tags={281: (SHORT, 1023)}), 12, r"pixels of 10 bits, 12 bits are expected"),
        (Page(GREY), 12, r"pixels of 8 bits, 12 bits are expected"),
        (Page(DEEP), 12, rf"a value of {DEEP.max()}, 12 bits hold 4095 at most"),
        (Page(DEEP, tags={281: (SHORT, 1023)}), None, rf"a value of {DEEP.max()}, 10 bits hold 1023 at most"),
    ],
)
def test_other_bits_than_expected(tmp_path: Path, page: Page, bits: int | None, reason: str) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_by_hand.tiff_by_hand(page))
    with pytest.raises(ImageError, match=rf"a\.tif: {reason}$"):
        read_image(tmp_path / "a.tif", Reading(bits=bits))


def test_floats_have_no_bits(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(by_opencv(DEEP.astype(np.float32)))
    with pytest.raises(ImageError, match=r"pixels of type float32, pixels of 12 bits are expected"):
        read_image(tmp_path / "a.tif", Reading(bits=12))


@pytest.mark.parametrize("tags", [{}, {281: (SHORT, 4095)}])
def test_white_as_the_smallest_of_12_bits(tmp_path: Path, tags: dict[int, Any]) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_by_hand.tiff_by_hand(Page(TWELVE, photometric=0, tags=tags)))
    reading = Reading() if tags else Reading(bits=12)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", reading), 4095 - TWELVE)


# Raw pictures


def smooth(height: int, width: int, dtype: str) -> Array:
    """Colours that change by the same amount from pixel to pixel, which interpolation gives back exactly."""
    y, x = np.indices((height, width))
    return np.stack([2 * x + 40, 2 * y + 60, 100 + x + y], axis=-1).astype(dtype)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@given(height=st.integers(6, 30), width=st.integers(6, 30), by_tag=st.booleans())
@in_a_shared_folder
def test_colours_of_a_raw_picture(
    tmp_path: Path, pattern: Bayer, dtype: str, height: int, width: int, by_tag: bool
) -> None:
    image = smooth(height, width, dtype)
    raw = mosaic(image, pattern)
    if by_tag:
        contents, reading = tiff_by_hand.tiff_by_hand(raw_page(raw, PATTERNS[pattern])), Reading()
    else:
        contents, reading = imagecodecs.png_encode(raw), Reading(bayer=pattern)
    (tmp_path / "a.tif").write_bytes(contents)
    found = read_image(tmp_path / "a.tif", reading)
    assert found.shape == image.shape and found.dtype == image.dtype and found.flags.c_contiguous
    inside = np.s_[2:-2, 2:-2]  # at the border there is one neighbour less to take a colour from
    assert np.abs(found[inside].astype(int) - image[inside]).max() <= 1


def test_a_raw_picture_of_12_bits(tmp_path: Path) -> None:
    raw = mosaic(smooth(20, 24, "uint16") * 15, "grbg")
    (tmp_path / "a.tif").write_bytes(tiff_by_hand.tiff_by_hand(raw_page(raw, PATTERNS["grbg"], bits=12)))
    picture = read_picture(tmp_path / "a.tif")
    assert (describe(picture.pixels), picture.bits) == ("RGB uint16", 12)


@pytest.mark.parametrize(
    ("contents", "bayer", "reason"),
    [
        (by_hand(GREY, photometric=CFA), None, r"a raw picture whose Bayer pattern the file does not say: set `ima"),
        (
            tiff_by_hand.tiff_by_hand(raw_page(GREY, b"\1\0\2\1")), "rggb",
            r"its Bayer pattern is grbg, `image\.bayer` is rggb",
        ),
        (
            tiff_by_hand.tiff_by_hand(raw_page(GREY, b"\0\1\2\1")), None,
            r"a colour filter of 2x2 px with the pattern \[0, 1, 2, 1\] is not supported \(Bayer patterns of red 0, ",
        ),
        (
            tiff_by_hand.tiff_by_hand(raw_page(GREY, bytes(range(3)) * 12, (6, 6))), "rggb",
            r"a colour filter of 6x6 px with the pattern \[0, 1, 2",
        ),
        (saved(COLOUR, "png"), "rggb", r"`image\.bayer` \(=rggb\) needs mono pictures of 8 or 16 bits, this one is"),
        (by_opencv(GREY.astype(np.float32)), "rggb", r"needs mono pictures of 8 or 16 bits, this one is mono float32"),
        (saved(GREY[:2], "png"), "bggr", r"a raw picture of 41x2 px is too small: both sides must be at least 3 px"),
    ],
)  # fmt: skip
def test_what_cannot_be_raw(tmp_path: Path, contents: bytes, bayer: Bayer | None, reason: str) -> None:
    (tmp_path / "a.tif").write_bytes(contents)
    with pytest.raises(ImageError, match=reason):
        read_image(tmp_path / "a.tif", Reading(bayer=bayer))


def test_a_setting_says_the_pattern_where_the_tag_does_not(tmp_path: Path) -> None:
    raw = mosaic(smooth(9, 12, "uint8"), "gbrg")
    (tmp_path / "tagged.tif").write_bytes(tiff_by_hand.tiff_by_hand(raw_page(raw, PATTERNS["gbrg"])))
    (tmp_path / "untagged.tif").write_bytes(tiff_by_hand.tiff_by_hand(raw_page(raw, None)))
    np.testing.assert_array_equal(
        read_image(tmp_path / "untagged.tif", Reading(bayer="gbrg")),
        read_image(tmp_path / "tagged.tif", Reading(bayer="gbrg")),
    )


@given(raw=hnp.arrays("uint8", (7, 8)))
@in_a_shared_folder
def test_a_raw_picture_keeps_what_the_sensor_saw(tmp_path: Path, raw: Array) -> None:
    (tmp_path / "a.tif").write_bytes(by_hand(raw))
    found = read_image(tmp_path / "a.tif", Reading(bayer="rggb"))
    for place, colour in enumerate((0, 1, 1, 2)):
        y, x = place // 2, place % 2
        inside = np.s_[y + 2 : -2 : 2, x + 2 : -2 : 2]
        np.testing.assert_array_equal(found[..., colour][inside], raw[inside])
