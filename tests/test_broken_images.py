import os
import struct
import time
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import list_images, read_image, write_image
from tests.image_files import (
    COLOUR,
    FILES,
    GREY,
    PNG_FILES,
    another_user,
    chunk,
    in_a_shared_folder,
    names,
    open_folder,
    png,
    sample,
    saved,
    tiff,
)

# Files that are cut off or damaged


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@in_a_shared_folder
def test_a_cut_file_is_an_error_or_the_whole_image(tmp_path: Path, name: str, data: st.DataObject) -> None:
    contents = FILES[name][0]
    (tmp_path / name).write_bytes(contents)
    whole = read_image(tmp_path / name)
    ends = st.integers(1, min(40, len(contents) - 1))  # the first and last bytes are where the formats differ
    cut = data.draw(st.integers(0, len(contents) - 1) | ends | ends.map(lambda n: len(contents) - n), label="cut")
    (tmp_path / name).write_bytes(contents[:cut])
    try:
        image = read_image(tmp_path / name)
    except ImageError as error:
        assert "\n" not in error.reason and error.reason
    else:
        np.testing.assert_array_equal(image, whole)


@pytest.mark.parametrize("name", ["grey.png", "palette.png", "lzw.tif", "colour.bmp", "colour.jpg"])
def test_no_place_to_cut_gives_half_a_picture(tmp_path: Path, name: str) -> None:
    contents = FILES[name][0]
    for cut in range(0, len(contents), 23):
        (tmp_path / name).write_bytes(contents[:cut])
        with pytest.raises(ImageError, match=r"cut off|empty file|not an image|damaged"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("name", PNG_FILES)
@given(data=st.data())
@in_a_shared_folder
def test_a_changed_byte_in_a_png_is_an_error_or_changes_nothing(tmp_path: Path, name: str, data: st.DataObject) -> None:
    contents = bytearray(FILES[name][0])
    place = data.draw(st.integers(0, len(contents) - 1), label="place")
    contents[place] ^= data.draw(st.integers(1, 255), label="change")
    (tmp_path / name).write_bytes(contents)
    try:
        image = read_image(tmp_path / name)
    except ImageError as error:
        assert "\n" not in error.reason and error.reason
    else:
        np.testing.assert_array_equal(image, np.asarray(FILES[name][1]))


@pytest.mark.parametrize("name", ["deflate.tif", "big.tif", "float.tif", "directory-last-deflate.tif"])
@given(data=st.data())
@in_a_shared_folder
def test_a_hole_in_a_deflate_tiff_never_passes(tmp_path: Path, name: str, data: st.DataObject) -> None:
    """Zeros where a block was never written, as a broken copy leaves them: deflate has a checksum (LZW has none)."""
    contents = FILES[name][0]
    with tifffile.TiffFile(BytesIO(contents)) as whole:
        page: Any = whole.pages[0]
        strip = data.draw(st.sampled_from(range(len(page.dataoffsets))))
        start, length = page.dataoffsets[strip], page.databytecounts[strip]
    hole = length // 2
    broken = contents[: start + hole] + bytes(length - hole) + contents[start + length :]
    (tmp_path / name).write_bytes(broken)
    with pytest.raises(ImageError, match="the TIFF is damaged: "):
        read_image(tmp_path / name)


@given(junk=st.binary(min_size=1, max_size=300), start=st.sampled_from([b"", *(c[:60] for c, _ in FILES.values())]))
@in_a_shared_folder
def test_junk_is_an_image_error_and_nothing_else(tmp_path: Path, junk: bytes, start: bytes) -> None:
    (tmp_path / "a.png").write_bytes(start + junk)
    with pytest.raises(ImageError, match=r"a\.png: "):
        read_image(tmp_path / "a.png")


def overwritten(contents: bytes, place: int, form: str, *values: int) -> bytes:
    changed = bytearray(contents)
    struct.pack_into(form, changed, place, *values)
    return bytes(changed)


def tiff_tag(contents: bytes, tag: int, value: int) -> bytes:
    """A classic little-endian TIFF with the one-value tag set to another value."""
    directory = struct.unpack_from("<I", contents, 4)[0]
    for entry in range(struct.unpack_from("<H", contents, directory)[0]):
        place = directory + 2 + 12 * entry
        if struct.unpack_from("<H", contents, place)[0] == tag:
            return overwritten(contents, place + 8, "<I", value)
    raise AssertionError(f"no tag {tag}")


def tiff_ring() -> bytes:
    contents = FILES["plain.tif"][0]
    directory = struct.unpack_from("<I", contents, 4)[0]
    n_entries = struct.unpack_from("<H", contents, directory)[0]
    return overwritten(contents, directory + 2 + 12 * n_entries, "<I", directory)


def stack(count: int, **options: Any) -> bytes:
    return tiff(np.stack([GREY] * count), photometric="minisblack", **options)


def one_directory() -> bytes:
    """Four pictures behind one directory, as ImageJ writes very large stacks."""
    stream = BytesIO()
    with tifffile.TiffWriter(stream, imagej=True) as writer:
        writer.write(np.stack([GREY] * 4), photometric="minisblack", metadata={"axes": "ZYX"}, truncate=True)
    return stream.getvalue()


def ink() -> bytes:
    stream = BytesIO()
    PIL.Image.fromarray(COLOUR).convert("CMYK").save(stream, "jpeg")
    return stream.getvalue()


def apng() -> bytes:
    first, second = PIL.Image.fromarray(GREY), PIL.Image.fromarray(255 - GREY)
    stream = BytesIO()
    first.save(stream, "png", save_all=True, append_images=[second])
    return stream.getvalue()


def nan_at(*places: tuple[int, int], value: float = np.nan) -> bytes:
    image = np.zeros((5, 6), np.float32)
    for place in places:
        image[place] = value
    return tiff(image)


PNG, JPG, BMP, TIF = (FILES[name][0] for name in ("grey.png", "colour.jpg", "grey.bmp", "plain.tif"))
SOF = JPG.index(b"\xff\xc0")

# What is in the file, and what the operator is told.
BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"empty file \(0 bytes\)"),
    "text": (b"hello", r"not an image \(starts with b'hello'\)"),
    "gif": (saved(GREY, "gif"), r"not an image \(starts with b'GIF8"),
    "png end": (PNG[:-12], r"the file is cut off: the PNG end marker is missing"),
    "png data": (PNG[:200], r"the file is cut off: the PNG end marker is missing"),
    "png checksum": (overwritten(PNG, 60, "B", PNG[60] ^ 1), r"the PNG is damaged: wrong checksum of its IDAT chunk"),
    "png start": (PNG[:8] + PNG[33:], r"the PNG is damaged: it does not begin with its IHDR chunk"),
    "png kind": (png(5, 5, colour_type=5), r"the PNG is damaged: no colour type 5 with 8 bits exists"),
    "png rows": (png(9, 9, chunk(b"IDAT", zlib.compress(bytes(80)))), r"the PNG is damaged: it cannot be decoded"),
    "png bomb": (png(100000, 100000), r"100000x100000 px is too large: an image may have at most 1073741824 pixels"),
    "png long": (png(2**21, 1), r"2097152x1 px is too large: no side may be longer than 1048576 px"),
    "png nothing": (png(0, 7), r"the file says it holds 0x7 px; both must be at least 1"),
    "png promise": (
        png(30000, 30000, chunk(b"IDAT", zlib.compress(bytes(1000)))),
        r"the PNG is damaged: \d+ bytes of data cannot hold 30000x30000 px",
    ),
    "png film": (apng(), r"an animated PNG with 2 pictures; one is needed"),
    "jpeg end": (JPG[:-2], r"the file is cut off: the JPEG end marker is missing"),
    "jpeg half": (JPG[: len(JPG) // 2], r"the file is cut off: the JPEG end marker is missing"),
    "jpeg zeros": (JPG[:-300] + bytes(300), r"the file is cut off: the JPEG end marker is missing"),
    "jpeg table": (JPG[:22], r"the file is cut off: the JPEG end marker is missing"),
    "jpeg nothing": (b"\xff\xd8\xff\xd9", r"the JPEG is damaged: it ends before its picture begins"),
    "jpeg gap": (JPG[:2] + b"\xff\xe0\0\x02??" + JPG[2:], r"the JPEG is damaged: no marker at byte 6"),
    "jpeg length": (JPG[:2] + b"\xff\xe0\0\x01" + JPG[2:], r"the JPEG is damaged: a segment of 1 bytes at byte 4"),
    "jpeg promise": (
        overwritten(JPG, SOF + 5, ">HH", 30000, 30000),
        r"the JPEG is damaged: \d+ bytes of data cannot hold 30000x30000 px",
    ),
    "jpeg bomb": (overwritten(JPG, SOF + 5, ">HH", 60000, 50000), r"50000x60000 px is too large"),
    "jpeg 12 bit": (overwritten(JPG, SOF + 4, "B", 12), r"a JPEG with 3 channels of 12 bits is not supported"),
    "jpeg ink": (ink(), r"a JPEG with 4 channels of 8 bits is not supported \(1 or 3 channels of 8 bits are\)"),
    "bmp header": (BMP[:30], r"the file is cut off: its BMP header is not complete"),
    "bmp data": (BMP[:-1], rf"the file is cut off: {len(BMP) - 1} of the {len(BMP)} bytes of the BMP are there"),
    "bmp run-length": (overwritten(BMP, 30, "<I", 1), r"a compressed BMP \(method 1\) is not supported"),
    "bmp depth": (overwritten(BMP, 28, "<H", 7), r"the BMP is damaged: no picture has 7 bits per pixel"),
    "bmp offset": (overwritten(BMP, 10, "<I", 0), r"the BMP is damaged: its pixels cannot begin at byte 0, inside the"),
    "bmp bomb": (overwritten(BMP, 18, "<ii", 10**5, -(10**5)), r"100000x100000 px is too large"),
    "tiff start": (TIF[:6], r"the file is cut off: its TIFF directory lies behind the end of the file"),
    "tiff directory": (FILES["directory-last.tif"][0][:-40], r"the file is cut off: its TIFF (directory|tag)"),
    "tiff data": (TIF[:-1], r"the file is cut off: strip or tile 4 of 5 of the TIFF is incomplete"),
    "tiff ring": (tiff_ring(), r"the TIFF is damaged: its pages are linked in a ring"),
    "tiff empty strips": (tiff_tag(tiff(GREY), 279, 0), r"the TIFF is damaged: strip or tile 0 of 1 is empty"),
    "tiff few strips": (tiff_tag(tiff(GREY), 278, 5), r"the TIFF is damaged: it lists 1 of its 8 strips or tiles"),
    "tiff bomb": (tiff_tag(tiff(GREY), 256, 2**20), r"strips or tiles|cut off|damaged"),
    "tiff large": (tiff_tag(tiff_tag(TIF, 256, 10**5), 257, 10**5), r"100000x100000 px is too large"),
    "tiff no pages": (b"II*\0\0\0\0\0", r"a TIFF with 0 pages; one is needed"),
    "tiff pages": (stack(3), r"a TIFF with 3 pages; one is needed"),
    "tiff stack": (one_directory(), r"a TIFF stack of shape \(4, 37, 41\); one picture is needed"),
    "tiff colours": (tiff(np.dstack([COLOUR, GREY]), photometric="separated"), r"TIFF colours of kind SEPARATED are"),
    "tiff codec": (tiff(GREY, compression="jpegxl"), r"TIFF compression JPEGXL is not supported"),
    "tiff 2 channels": (
        tiff(COLOUR[..., :2], photometric="minisblack", planarconfig="contig"),
        r"an image with 2 channels, marked as grey, is not supported \(1 grey or 3 RGB channels are, with or",
    ),
    "tiff 5 channels": (
        tiff(sample(9, 9, 5), photometric="minisblack", planarconfig="contig"),
        r"an image with 5 channels, marked as grey, is not supported",
    ),
    "tiff infrared": (
        tiff(sample(9, 9, 4), photometric="rgb", extrasamples=["unspecified"]),
        r"an image with 4 channels, marked as RGB, is not supported",
    ),
    "tiff white float": (tiff(np.ones((4, 4), np.float32), photometric="miniswhite"), r"a TIFF of float32 with"),
    "nan": (nan_at((2, 5)), r"1 values are NaN or infinite, the first at x=5, y=2"),
    "inf": (nan_at((3, 1), (4, 0), value=-np.inf), r"2 values are NaN or infinite, the first at x=1, y=3"),
    "too large for float32": (tiff(np.full((2, 2), 1e300)), r"4 values are NaN or infinite, the first at x=0, y=0"),
    **{
        f"tiff {dtype}": (
            tiff(np.zeros((4, 5), dtype)),
            rf"pixels of type {dtype} are not supported \(uint8, uint16, float32 and float64 are\)",
        )
        for dtype in ("bool", "int8", "int16", "uint32", "int32", "uint64", "float16", "complex64")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_the_reason_says_what_is_wrong(tmp_path: Path, case: str) -> None:
    contents, reason = BROKEN[case]
    (tmp_path / "shot.png").write_bytes(contents)
    with pytest.raises(ImageError, match=rf"/shot\.png: {reason}") as caught:
        read_image(tmp_path / "shot.png")
    assert caught.value.path == tmp_path / "shot.png" and "\n" not in str(caught.value)


def test_a_false_header_costs_no_time(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(30000, 30000, chunk(b"IDAT", zlib.compress(bytes(30001 * 30)))))
    start = time.perf_counter()
    with pytest.raises(ImageError, match="cannot hold 30000x30000 px"):
        read_image(tmp_path / "bomb.png")
    assert time.perf_counter() - start < 0.5


def test_the_flattest_image_is_no_false_header(tmp_path: Path) -> None:
    """Nothing compresses better than one colour: the rule against false headers must let it pass."""
    flat = np.zeros((2000, 3000), np.uint8)
    (tmp_path / "a.png").write_bytes(saved(flat, "png", compress_level=9))
    (tmp_path / "b.png").write_bytes(saved(flat > 0, "png", compress_level=9))
    (tmp_path / "c.jpg").write_bytes(saved(flat, "jpeg", optimize=True, progressive=True))
    for name in names(tmp_path):
        np.testing.assert_array_equal(read_image(tmp_path / name), flat)


def test_a_line_camera_image_is_not_too_large(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(8192, 60000))
    with pytest.raises(ImageError, match="0 bytes of data cannot hold 8192x60000 px"):  # and not: too large
        read_image(tmp_path / "a.png")


def test_broken_files_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number, (contents, _) in enumerate(BROKEN.values()):
        (tmp_path / str(number)).write_bytes(contents)
        with pytest.raises(ImageError, match=r"."):
            read_image(tmp_path / str(number))
    printed = capfd.readouterr()
    # libpng alone writes past every logger, and only where all checksums are right and the data is still wrong.
    assert [line for line in printed.err.splitlines() if not line.startswith("libpng")] == [] and printed.out == ""


# Places that hold no image


def test_no_permission_to_read() -> None:
    with open_folder() as folder:
        (folder / "a.png").write_bytes(PNG)
        (folder / "a.png").chmod(0)
        with another_user(), pytest.raises(ImageError, match=r"/a\.png: no permission to read$"):
            read_image(folder / "a.png")


def test_what_is_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to("gone.png")
    (tmp_path / "ring.png").symlink_to("ring.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, reason in {
        "folder.png": "a folder, not an image file",
        "link.png": "a link to a missing file",
        "missing.png": "no such file",
        "pipe.png": "not a regular file",
        "ring.png": "cannot be read: Too many levels of symbolic links",
        "folder.png/x.png": "no such file",
        "x" * 256: "cannot be read: File name too long",
    }.items():
        with pytest.raises(ImageError, match=rf"{name}: {reason}$"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["b" * 251 + ".png", "ö" * 125 + ".png", "検査 ①.tif", "a b.bmp", os.fsdecode(b"\xff.jpg")]
)
def test_unusual_names(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, GREY)
    assert read_image(tmp_path / name).shape == GREY.shape
    assert list_images(tmp_path) == [tmp_path / name]


def test_a_link_to_an_image_is_an_image(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(PNG)
    (tmp_path / "link.png").symlink_to("target")
    np.testing.assert_array_equal(read_image(tmp_path / "link.png"), GREY)
