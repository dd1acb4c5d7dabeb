"""TIFF files: read whole or refused, with tifffile and imagecodecs.

Format: Adobe TIFF 6.0; BigTIFF: https://www.awaresystems.be/imaging/tiff/bigtiff.html. tifffile leaves out a tag whose
value lies behind the end of a cut file, fills a missing strip with zeros and stops at a broken link to the next page,
and raises for none of it: the directories and the place of every strip are checked here first.
"""

import io as byte_streams
import logging
import math
import struct
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from flawmap.tiling.image_header import UnreadableError, check_size
from flawmap.tiling.jpeg_file import check_jpeg

# Byte order, version 42 (classic) or 43 (BigTIFF).
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
JPEG = 7
# NONE, LZW, JPEG, ADOBE_DEFLATE, PACKBITS, DEFLATE, LZMA, ZSTD: decoders known to raise on missing data.
COMPRESSIONS = (1, 5, JPEG, 8, 32773, 32946, 34925, 50000)
ALPHA = (1, 2)  # ExtraSamples: associated, unassociated
CUT_OFF = "the file is cut off: its TIFF {} lies behind the end of the file"

# tifffile logs what it finds odd; without a handler of the application Python would print that to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(data: bytes) -> NDArray[Any]:
    """The one picture of a TIFF file: [H, W] or [H, W, 3], in whatever dtype it has (the caller judges that).

    MinIsWhite is inverted, a palette applied, planes interleaved, alpha dropped.

    Errors: UnreadableError for everything else: several pages, a file cut off or damaged, other colour spaces.
    """
    n_pages = count_pages(data)
    if n_pages != 1:
        raise UnreadableError(f"a TIFF with {n_pages} pages; one is needed")
    try:
        with tifffile.TiffFile(byte_streams.BytesIO(data)) as tiff:
            page = tiff.pages[0]
            _check_kind(tiff, page)
            _check_strips(page, data)
            return _colours(page, page.asarray())
    except UnreadableError:
        raise
    except Exception as error:  # on damaged data tifffile and its codecs raise anything, KeyError to DeflateError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableError(f"the TIFF is damaged: {reason}") from error


def count_pages(data: bytes) -> int:
    """Walks the directories and checks that each, with all its values, lies inside the file."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count, entry, link = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    inline = struct.calcsize(link)
    (position,) = _unpack(order + link, data, 8 if big else 4)
    seen: set[int] = set()
    while position:
        if position in seen:
            raise UnreadableError("the TIFF is damaged: its pages are linked in a ring")
        seen.add(position)
        (n_entries,) = _unpack(order + count, data, position)
        position += struct.calcsize("=" + count)
        entry_size = struct.calcsize("=" + entry) + inline
        if position + n_entries * entry_size > len(data):
            raise UnreadableError(CUT_OFF.format("directory"))
        for start in range(position, position + n_entries * entry_size, entry_size):
            tag, kind, n_values = struct.unpack_from(order + entry, data, start)
            n_bytes = TYPE_SIZES.get(kind, 0) * n_values
            (place,) = struct.unpack_from(order + link, data, start + entry_size - inline)
            if n_bytes > inline and place + n_bytes > len(data):
                raise UnreadableError(CUT_OFF.format(f"tag {tag}"))
        (position,) = _unpack(order + link, data, position + n_entries * entry_size)
    return len(seen)


def _unpack(form: str, data: bytes, position: int) -> tuple[int, ...]:
    if position + struct.calcsize(form) > len(data):
        raise UnreadableError(CUT_OFF.format("directory"))
    return struct.unpack_from(form, data, position)


def _check_kind(tiff: tifffile.TiffFile, page: Any) -> None:
    check_size(page.imagewidth, page.imagelength)
    if page.imagedepth != 1:
        raise UnreadableError(f"a TIFF volume of {page.imagedepth} slices; one picture is needed")
    if (tiff.is_imagej or tiff.is_shaped) and math.prod(tiff.series[0].shape) != math.prod(page.shape):
        # ImageJ and tifffile write stacks behind one another with a single directory.
        raise UnreadableError(f"a TIFF stack of shape {tuple(tiff.series[0].shape)}; one picture is needed")
    if page.compression not in COMPRESSIONS:
        raise UnreadableError(f"TIFF compression {_name(page.compression)} is not supported (LZW and deflate are)")
    allowed = (MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, *((YCBCR,) if page.compression == JPEG else ()))
    if page.photometric not in allowed:
        raise UnreadableError(f"TIFF colours of kind {_name(page.photometric)} are not supported (grey and RGB are)")
    if page.dtype is None:
        raise UnreadableError(f"TIFF samples of {page.bitspersample} bits are not supported (8, 16 and 32 bits are)")


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _check_strips(page: Any, data: bytes) -> None:
    """Every strip or tile that the picture needs must have a place inside the file."""
    needed = math.prod(page.chunked)
    if page.is_tiled:
        check_size(page.tilewidth, page.tilelength)
    if len(page.dataoffsets) < needed or len(page.databytecounts) < needed:
        n_listed = min(len(page.dataoffsets), len(page.databytecounts))
        raise UnreadableError(f"the TIFF is damaged: it lists {n_listed} of its {needed} strips or tiles")
    for index, (offset, n_bytes) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if offset + n_bytes > len(data):
            raise UnreadableError(f"the file is cut off: strip or tile {index} of {needed} of the TIFF is incomplete")
        if n_bytes == 0:
            raise UnreadableError(f"the TIFF is damaged: strip or tile {index} of {needed} is empty")
        if page.compression == JPEG:
            check_jpeg(data[offset : offset + n_bytes])


def _colours(page: Any, pixels: NDArray[Any]) -> NDArray[Any]:
    """Samples as stored -> [H, W] or [H, W, 3] as meant."""
    n_samples = page.samplesperpixel
    if n_samples > 1 and page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    n_colours = 3 if page.photometric in (RGB, YCBCR) else 1
    extras = tuple(int(extra) for extra in page.extrasamples)
    if n_samples == n_colours + 1 and len(extras) == 1 and extras[0] in ALPHA:
        pixels = pixels[..., :3] if n_colours == 3 else pixels[..., 0]
    elif n_samples != n_colours:
        meant = "RGB" if n_colours == 3 else "grey"
        raise UnreadableError(
            f"an image with {n_samples} channels, marked as {meant}, is not supported"
            " (1 grey or 3 RGB channels are, with or without alpha)"
        )
    if page.photometric == PALETTE:
        return _apply_palette(pixels, page.colormap)
    if page.photometric == MIN_IS_WHITE:
        return _invert(pixels, page.bitspersample)
    return pixels


def _invert(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """White is the smallest value -> black is. Only where there is a largest value; other dtypes the caller refuses."""
    if pixels.dtype.kind == "f":
        raise UnreadableError(f"a TIFF of {pixels.dtype.name} with white as its smallest value is not supported")
    if pixels.dtype.kind != "u":
        return pixels
    inverted: NDArray[Any] = pixels.dtype.type(2**bits - 1) - pixels
    return inverted


def _apply_palette(indices: NDArray[Any], palette: NDArray[np.uint16] | None) -> NDArray[np.uint8]:
    if palette is None:
        raise UnreadableError("the TIFF is damaged: its palette is missing")
    # 16 bits a colour by the standard; some writers put 8-bit values there, and libtiff tells them apart the same way.
    colours = palette if palette.max() < 256 else palette >> 8
    rgb: NDArray[np.uint8] = colours.astype(np.uint8).T[indices]
    return rgb
