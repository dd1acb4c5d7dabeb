"""Opens an image file to be read in rows, and says which pictures are large enough to need it.

    TIFF            strips or tiles as they come, compressed or not, also BigTIFF, Bayer raw and stacks of lights
    BMP, PNG        row by row
    JPEG, PNG in seven passes (interlaced)    decoded as a whole, where that leaves room for the rest

All give the very pixels that `read_image` gives.
"""

import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tifffile

from flawmap.tiling import bmp_file, jpeg_file, png_file, tiff_file
from flawmap.tiling.errors import ImageError
from flawmap.tiling.image_header import UnreadableError
from flawmap.tiling.images import decode, opened, problems_of
from flawmap.tiling.pages import split_page
from flawmap.tiling.reading import AS_THEY_ARE, Reading
from flawmap.tiling.strips.bmp_rows import BmpRows
from flawmap.tiling.strips.picture_rows import ArrayRows, PictureRows, StoredRows
from flawmap.tiling.strips.png_rows import PngRows, is_interlaced
from flawmap.tiling.strips.tiff_rows import TiffRows
from flawmap.tiling.strips.whole_limit import check_whole
from flawmap.tiling.tiff_pages import FileBytes, find_pages

# A picture of more pixels is a strip. While one is scored, the next is decoded and the one before drawn, which takes 13
# bytes a pixel, 23 of RGB: beside the network no more than 2 GiB.
STRIP_PIXELS = 1 << 26
WHOLE_PIXELS = 1 << 28  # of a picture that somebody needs as a whole, whatever memory that takes


def strip_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of a picture so large that it is to be read in rows; None of others, as far as headers tell."""
    size = picture_size(path)
    return size if size is not None and size[0] * size[1] > STRIP_PIXELS else None


def picture_size(path: Path) -> tuple[int, int] | None:
    """(height, width) of the picture at `path`; None where the file does not tell: whoever reads it says why."""
    file, page = split_page(path)
    try:
        with opened(file) as stream:
            data = FileBytes(stream)
            start = data[:32]
            if start.startswith(png_file.SIGNATURE):
                width, height = struct.unpack(">II", start[16:24])
            elif start.startswith(bmp_file.SIGNATURE):
                width, height = bmp_file.check_bmp(data)
            elif start.startswith(jpeg_file.SIGNATURE):
                header = jpeg_file.frame_header(data)
                width, height = header.width, header.height
            elif start[:4] in tiff_file.SIGNATURES:
                index = find_pages(data)[(page or 1) - 1]
                with tifffile.TiffFile(data.rewound()) as tiff:
                    one: Any = tiff.pages[index]
                    width, height = one.imagewidth, one.imagelength
            else:
                return None
        return int(height), int(width)
    except Exception:  # on a damaged file tifffile raises anything
        return None


@contextmanager
def open_rows(path: Path, reading: Reading = AS_THEY_ARE) -> Iterator[PictureRows]:
    """The rows of the picture at `path`, to be read while the `with` block lasts.

    Errors: ImageError as of `read_image`, at once or when the rows that it is about are read, and for a picture that
    would have to be decoded as a whole and is too large for it.
    """
    path = Path(path)
    file, page = split_page(path)
    with ExitStack() as stack:
        try:
            with problems_of(path, file):
                data = FileBytes(stack.enter_context(opened(file)))
                stored, whole = _stored_rows(data, reading, page, stack)
        except UnreadableError as error:
            raise ImageError(path, str(error)) from error
        except MemoryError as error:
            raise ImageError(path, "not enough memory for this image") from error
        yield PictureRows(path, stored, reading, whole=whole)


def _stored_rows(data: FileBytes, reading: Reading, page: int | None, stack: ExitStack) -> tuple[StoredRows, bool]:
    """(rows as the file stores them, whether it had to be decoded as a whole); what is open is closed by `stack`."""
    start = data[:32]
    if not start:
        raise UnreadableError("empty file (0 bytes)")
    if start[:4] in tiff_file.SIGNATURES:
        with tiff_file.damage_named():
            return TiffRows(stack.enter_context(tiff_file.open_pages(data, reading, page)), reading), False
    if page is not None:
        raise UnreadableError(f"not a TIFF (starts with {start[:8]!r}): it has no page {page}")
    if reading.pages == "channels":
        raise UnreadableError("not a TIFF: `image.pages` (=channels) needs TIFF files of 2 pages or more")
    if start.startswith(bmp_file.SIGNATURE):
        return BmpRows(data), False
    if start.startswith(png_file.SIGNATURE) and not is_interlaced(data):
        return PngRows(data), False
    return _whole(data, start), True


def _whole(data: FileBytes, start: bytes) -> ArrayRows:
    """A picture that can only be decoded as a whole."""
    if start.startswith(png_file.SIGNATURE):
        header, bits = png_file.read_header(start[12:16], data[16:29])
        name, bytes_a_pixel = "an interlaced PNG", (bits + 7) // 8
    elif start.startswith(jpeg_file.SIGNATURE):
        header = jpeg_file.frame_header(data)
        name, bytes_a_pixel = "a JPEG", 1 if header.mono else 3
    else:
        raise UnreadableError(f"not an image (starts with {start[:8]!r})")
    check_whole(header.width * header.height * bytes_a_pixel + len(data), f"the file and all pixels of {name}")
    return ArrayRows(decode(data[:]))
