"""PNG files decoded by flawmap: the pixels that OpenCV and Pillow read, or nothing at all."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image
from flawmap.tiling.png_filters import unfilter
from flawmap.tiling.png_pixels import plain_pixels
from tests.image_files import FILES, chunk, interlaced, png, sample, saved


@given(
    seed=st.integers(0, 1000),
    pixel_bytes=st.sampled_from([1, 2, 3, 4, 6, 8]),
    filters=st.lists(st.integers(0, 4), min_size=1, max_size=9),
)
def test_filters_are_undone(seed: int, pixel_bytes: int, filters: list[int]) -> None:
    """Against the encoder's side of section 9.2 of the standard, written byte by byte."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (len(filters) + 1, pixel_bytes * 5)).astype(np.uint8)
    coded = np.zeros((len(filters), 1 + raw.shape[1]), np.uint8)
    for y, kind in enumerate(filters, start=1):
        coded[y - 1, 0] = kind
        for x in range(raw.shape[1]):
            a = int(raw[y, x - pixel_bytes]) if x >= pixel_bytes else 0
            b = int(raw[y - 1, x])
            c = int(raw[y - 1, x - pixel_bytes]) if x >= pixel_bytes else 0
            paeth = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            coded[y - 1, 1 + x] = (int(raw[y, x]) - (0, a, b, (a + b) // 2, paeth)[kind]) % 256
    pixels = np.zeros_like(raw[1:])
    assert unfilter(coded, raw[0].copy(), pixel_bytes, pixels)
    np.testing.assert_array_equal(pixels, raw[1:])
    coded[0, 0] = 5
    assert not unfilter(coded, raw[0].copy(), pixel_bytes, pixels)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([None, 3]),
    dtype=st.sampled_from(["uint8", "uint16"]),
    filters=st.sampled_from([cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_FILTER_PAETH, cv2.IMWRITE_PNG_ALL_FILTERS]),
    level=st.integers(0, 9),
    seed=st.integers(0, 100),
)
def test_pixels_are_those_that_were_written(
    shape: tuple[int, int], channels: int | None, dtype: str, filters: int, level: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, rng.choice([3, 256, np.iinfo(dtype).max + 1]), (*shape, channels or 1)).astype(dtype)
    image = image if channels else image[..., 0]
    options = [cv2.IMWRITE_PNG_FILTER, filters, cv2.IMWRITE_PNG_COMPRESSION, level]
    data = cv2.imencode(".png", image[..., ::-1] if channels else image, options)[1].tobytes()
    pixels = plain_pixels(data)
    assert pixels is not None and pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, image)


def test_a_picture_of_several_data_chunks() -> None:
    image = sample(61, 90)
    data = saved(image, "png")
    begin = data.index(b"IDAT") - 4
    length = int.from_bytes(data[begin : begin + 4], "big")
    body = data[begin + 8 : begin + 8 + length]
    parts = b"".join(chunk(b"IDAT", body[k : k + 100]) for k in range(0, length, 100))
    pixels = plain_pixels(data[:begin] + parts + data[begin + 12 + length :])
    assert pixels is not None
    np.testing.assert_array_equal(pixels, image)


@pytest.mark.parametrize(
    "name", ["palette.png", "alpha.png", "grey alpha.png", "one bit.png", "keyed.png", "passes.png"]
)
def test_what_is_not_plain_is_left_to_opencv(name: str, tmp_path: Path) -> None:
    grey, colour = sample(20, 30), sample(20, 30, 3)
    alpha = np.full((20, 30, 1), 200, np.uint8)
    head, pixels = png(30, 20)[:33], chunk(b"IDAT", zlib.compress(bytes(20 * 31)))
    files = {
        "palette.png": FILES["palette.png"][0],
        "alpha.png": saved(np.concatenate([colour, alpha], axis=2), "png"),
        "grey alpha.png": saved(np.concatenate([grey[..., None], alpha], axis=2), "png"),
        "one bit.png": saved(grey > 100, "png"),
        "keyed.png": head + chunk(b"tRNS", b"\0\0") + pixels + chunk(b"IEND", b""),
        "passes.png": interlaced(grey),
    }
    assert plain_pixels(files[name]) is None
    (tmp_path / name).write_bytes(files[name])
    read_image(tmp_path / name)  # and OpenCV does read it


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_damage_inside_the_pixels_is_never_read_as_pixels(place: int, bit: int) -> None:
    """The checksum of the data itself, with the chunk's own made right again."""
    rows = zlib.compress(np.insert(sample(20, 30), 0, 1, axis=1).tobytes())
    body = bytearray(rows)
    body[place % len(body)] ^= 1 << bit
    data = png(30, 20, chunk(b"IDAT", bytes(body)))
    pixels = plain_pixels(data)
    # A bit of the header that says how hard was compressed changes nothing.
    assert pixels is None or np.array_equal(pixels, plain_pixels(png(30, 20, chunk(b"IDAT", rows))))


@pytest.mark.parametrize(("rows", "message"), [(19, "damaged"), (21, None)])
def test_rows_too_few_and_too_many_are_as_opencv_takes_them(rows: int, message: str | None, tmp_path: Path) -> None:
    data = png(30, 20, chunk(b"IDAT", zlib.compress(bytes(rows * 31))))
    assert plain_pixels(data) is None
    (tmp_path / "a.png").write_bytes(data)
    if message is None:
        assert read_image(tmp_path / "a.png").shape == (20, 30)
    else:
        with pytest.raises(ImageError, match=message):
            read_image(tmp_path / "a.png")


def test_a_filter_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    data = png(30, 20, chunk(b"IDAT", zlib.compress(bytes([7] * 31 * 20))))
    assert plain_pixels(data) is None
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match="damaged"):
        read_image(tmp_path / "a.png")
