"""Files read row by row give the pixels, and the errors, that reading them as a whole gives."""

import tempfile
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image
from flawmap.tiling.pages import page_path
from flawmap.tiling.reading import AS_THEY_ARE, Reading
from flawmap.tiling.strips.open_rows import open_rows, picture_size, strip_size
from tests.image_files import FILES, chunk, interlaced, sample, saved, tiff

TALL, WIDE = sample(203, 37), sample(61, 90, 3, seed=1)
DEEP = sample(203, 37, dtype="uint16")
BAYER = Reading(bayer="grbg")
LIGHTS = np.stack([sample(90, 33, seed=seed) for seed in range(3)])


def bmp(image: NDArray[Any]) -> bytes:
    """As OpenCV writes it; Pillow's is in FILES."""
    return bytes(cv2.imencode(".bmp", image[..., ::-1] if image.ndim == 3 else image)[1])


def top_down(data: bytes) -> bytes:
    """The same BMP with its first row on top, which some cameras write."""
    offset = int.from_bytes(data[10:14], "little")
    height = int.from_bytes(data[22:26], "little")
    row = (len(data) - offset) // height
    rows = [data[offset + y * row : offset + (y + 1) * row] for y in range(height)][::-1]
    return data[:22] + (-height).to_bytes(4, "little", signed=True) + data[26:offset] + b"".join(rows)


def one_chunk(image: NDArray[Any]) -> bytes:
    """A PNG all of whose data lies in one chunk, inflated a thousandfold."""
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in image), 9)
    size = b"".join(n.to_bytes(4, "big") for n in (image.shape[1], image.shape[0]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\0\0\0\0") + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def stack() -> bytes:
    stream = BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for light in LIGHTS:
            writer.write(light, photometric="minisblack", contiguous=False, rowsperstrip=7)
    return stream.getvalue()


MORE: dict[str, tuple[bytes, Reading]] = {
    "one-strip.tif": (tiff(TALL), AS_THEY_ARE),
    "strips-of-one.tif": (tiff(TALL, rowsperstrip=1), AS_THEY_ARE),
    "predictor.tif": (tiff(DEEP, compression="zlib", rowsperstrip=10, predictor=True), AS_THEY_ARE),
    "tiles.tif": (tiff(WIDE, tile=(16, 32), compression="zstd"), AS_THEY_ARE),
    "tiled-planes.tif": (
        tiff(np.moveaxis(WIDE, 2, 0).copy(), tile=(32, 16), photometric="rgb", planarconfig="separate"),
        AS_THEY_ARE,
    ),
    "planes.tif": (
        tiff(np.moveaxis(WIDE, 2, 0).copy(), photometric="rgb", planarconfig="separate", rowsperstrip=9),
        AS_THEY_ARE,
    ),
    "big-other-order.tif": (tiff(DEEP, bigtiff=True, byteorder=">", rowsperstrip=50), AS_THEY_ARE),
    "white-is-zero.tif": (tiff(TALL, photometric="miniswhite", rowsperstrip=8), AS_THEY_ARE),
    "jpeg-strips.tif": (tiff(WIDE, compression="jpeg", rowsperstrip=16, photometric="rgb"), AS_THEY_ARE),
    "pillow.tif": (saved(WIDE, "tiff", compression="tiff_lzw"), AS_THEY_ARE),
    "raw.tif": (tiff(DEEP, rowsperstrip=5), BAYER),
    "raw-odd.png": (saved(TALL[:57], "png"), Reading(bayer="rggb")),
    "bits.tif": (tiff(DEEP % 4096, rowsperstrip=5), Reading(bits=12)),
    "lights.tif": (stack(), Reading(pages="channels")),
    "opencv-grey.bmp": (bmp(TALL), AS_THEY_ARE),
    "opencv-colour.bmp": (bmp(WIDE), AS_THEY_ARE),
    "top-down.bmp": (top_down(bmp(WIDE)), AS_THEY_ARE),
    "opencv.png": (bytes(cv2.imencode(".png", WIDE)[1]), AS_THEY_ARE),
    "alpha.png": (saved(np.dstack([WIDE, WIDE[..., 0]]), "png"), AS_THEY_ARE),
    "deep-colour.png": (bytes(cv2.imencode(".png", WIDE.astype(np.uint16) * 257)[1]), AS_THEY_ARE),
    "grey-alpha.png": (saved(np.dstack([TALL, TALL]), "png"), AS_THEY_ARE),
    "two-colours.png": (saved(TALL > 100, "png"), AS_THEY_ARE),
    "blank.png": (one_chunk(np.zeros((3000, 900), np.uint8)), AS_THEY_ARE),
}
ALL = {name: (data, AS_THEY_ARE) for name, (data, _) in FILES.items()} | MORE


def rows_of(path: Path, reading: Reading, counts: list[int]) -> NDArray[Any]:
    with open_rows(path, reading) as rows:
        assert (rows.height, rows.width) == picture_size(path)
        parts = [rows.read(0), *(rows.read(count) for count in counts), rows.read(rows.height)]
        assert rows.read(5).shape[0] == 0
        image = np.concatenate(parts)
        assert rows.dtype == image.dtype and rows.channels == (1 if image.ndim == 2 else image.shape[2])
        assert all(part.flags.c_contiguous and part.dtype.isnative for part in parts)
        return image


@pytest.fixture(scope="module")
def folder() -> Any:
    with tempfile.TemporaryDirectory() as name:
        for file, (data, _) in ALL.items():
            (Path(name) / file).write_bytes(data)
        yield Path(name)


@pytest.mark.parametrize("name", ALL)
def test_rows_are_those_of_the_whole_picture(folder: Path, name: str) -> None:
    reading = ALL[name][1]
    expected = read_image(folder / name, reading)
    for counts in ([], [1] * len(expected), [7, 30, 1, 2, 12]):
        np.testing.assert_array_equal(rows_of(folder / name, reading, counts), expected)


@settings(max_examples=60)
@given(name=st.sampled_from(sorted(ALL)), steps=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 60)), max_size=6))
def test_rows_may_be_left_out(folder: Path, name: str, steps: list[tuple[int, int]]) -> None:
    reading = ALL[name][1]
    expected = read_image(folder / name, reading)
    y = 0
    with open_rows(folder / name, reading) as rows:
        for skipped, count in steps:
            if y + skipped > len(expected):
                break
            rows.skip(skipped)
            y += skipped
            np.testing.assert_array_equal(rows.read(count), expected[y : y + count])
            y += count


def test_a_page_of_several(tmp_path: Path) -> None:
    (tmp_path / "stack.tif").write_bytes(stack())
    reading = Reading(pages="pictures")
    for page, light in enumerate(LIGHTS, start=1):
        np.testing.assert_array_equal(rows_of(page_path(tmp_path / "stack.tif", page), reading, [11]), light)


@pytest.mark.parametrize("name", [name for name in ALL if name.endswith(("png", "bmp", "tif"))])
@settings(max_examples=12)
@given(share=st.floats(0, 0.999))
@example(share=0.002)  # within the header
def test_a_file_cut_off_is_an_error(folder: Path, name: str, share: float) -> None:
    data, reading = ALL[name]
    cut = folder / f"cut-{name}"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError) as whole:
        read_image(cut, reading)
    with pytest.raises(ImageError) as found:
        rows_of(cut, reading, [50])
    assert found.value.path == whole.value.path == cut


@pytest.mark.parametrize("name", [name for name in ALL if name.endswith("png") and name != "blank.png"])
@settings(max_examples=12)
@given(at=st.integers(0, 10**6), value=st.integers(1, 255))
def test_a_changed_byte_of_a_png_is_an_error_or_changes_nothing(folder: Path, name: str, at: int, value: int) -> None:
    data = bytearray(ALL[name][0])
    data[at % len(data)] ^= value
    path = folder / f"changed-{name}"
    path.write_bytes(data)
    try:
        expected = read_image(path, ALL[name][1])
    except ImageError:
        with pytest.raises(ImageError):
            rows_of(path, ALL[name][1], [])
    else:
        np.testing.assert_array_equal(rows_of(path, ALL[name][1], []), expected)


def test_what_cannot_be_read_in_rows_is_read_whole_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "passes.png": interlaced(TALL),
        "grey.jpg": FILES["grey.jpg"][0],
        "one.tif": tiff(TALL, compression="lzw", rowsperstrip=203),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with open_rows(tmp_path / name) as rows:
            assert rows.whole == (name != "one.tif")
            np.testing.assert_array_equal(rows.read(1000), read_image(tmp_path / name))
    np.testing.assert_array_equal(read_image(tmp_path / "passes.png"), TALL)
    monkeypatch.setattr("flawmap.tiling.strips.whole_limit.WHOLE_BYTES", 1000)
    for name, what in {
        "passes.png": "the file and all pixels of an interlaced PNG",
        "grey.jpg": "the file and all pixels of a JPEG",
        "one.tif": "TIFF strips of 203 rows",
    }.items():
        with (
            pytest.raises(ImageError, match=rf"{what} take 0 MiB, and cannot be decoded in parts: at most 0 MiB"),
            open_rows(tmp_path / name),
        ):
            pass


def test_what_a_caller_raises_is_his(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(TALL))
    with pytest.raises(ValueError, match=r"^mine$"), open_rows(tmp_path / "a.tif"):
        raise ValueError("mine")


def test_values_that_are_no_numbers_are_named_where_they_are(tmp_path: Path) -> None:
    image = np.zeros((100, 20), np.float32)
    image[70, 3] = np.nan
    (tmp_path / "a.tif").write_bytes(tiff(image))
    with open_rows(tmp_path / "a.tif") as rows:
        rows.read(60)
        with pytest.raises(ImageError, match="1 values are NaN or infinite, the first at x=3, y=70"):
            rows.read(30)


@pytest.mark.parametrize("name", ["missing.tif", "empty.png", "text.bmp", "."])
def test_what_is_no_picture(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.bmp").write_bytes(b"no picture at all, and long enough for a header")
    assert picture_size(tmp_path / name) is None
    assert strip_size(tmp_path / name) is None
    with pytest.raises(ImageError) as whole:
        read_image(tmp_path / name)
    with pytest.raises(ImageError) as found, open_rows(tmp_path / name):
        pass
    assert str(found.value) == str(whole.value)


def test_a_strip_is_known_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grey.png", "grey.bmp", "grey.jpg", "comment.jpg", "lzw.tif", "big.tif"):
        (tmp_path / name).write_bytes(FILES[name][0])
        assert picture_size(tmp_path / name) == (37, 41)
        assert strip_size(tmp_path / name) is None
    monkeypatch.setattr("flawmap.tiling.strips.open_rows.STRIP_PIXELS", 37 * 41 - 1)
    assert strip_size(tmp_path / "grey.png") == (37, 41)
    monkeypatch.setattr("flawmap.tiling.strips.open_rows.STRIP_PIXELS", 37 * 41)
    assert strip_size(tmp_path / "grey.png") is None


def test_pillow_agrees(tmp_path: Path) -> None:
    """Filters as they are chosen by another writer, read by neither OpenCV nor flawmap."""
    path = tmp_path / "a.png"
    path.write_bytes(saved(WIDE, "png", optimize=True))
    np.testing.assert_array_equal(rows_of(path, AS_THEY_ARE, [13]), np.asarray(PIL.Image.open(path)))
