"""TIFF files: read whole or refused, with tifffile and imagecodecs.

tifffile leaves out a tag whose value lies behind the end of a cut file, fills a missing strip with zeros and stops at a
broken link to the next page, and raises for none of it: the directories and the place of every strip are checked first.
"""

import io as byte_streams
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from flawmap.tiling.image_header import UnreadableError, check_size
from flawmap.tiling.jpeg_file import check_jpeg
from flawmap.tiling.reading import Bayer, Reading, Stored
from flawmap.tiling.tiff_pages import SIGNATURES, FileBytes, find_pages

__all__ = ["SIGNATURES", "as_meant", "damage_named", "open_pages", "read_tiff"]

MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, YCBCR, CFA = 0, 1, 2, 3, 6, 32803
MAX_SAMPLE_VALUE, S_MAX_SAMPLE_VALUE, CFA_REPEAT, CFA_PATTERN = 281, 341, 33421, 33422  # tags
JPEG = 7
# NONE, LZW, JPEG, ADOBE_DEFLATE, PACKBITS, DEFLATE, LZMA, ZSTD: decoders known to raise on missing data.
COMPRESSIONS = (1, 5, JPEG, 8, 32773, 32946, 34925, 50000)
ALPHA = (1, 2)  # ExtraSamples: associated, unassociated

# tifffile logs what it finds odd; without a handler of the application Python would print that to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(data: bytes | FileBytes, reading: Reading, page: int | None = None) -> Stored:
    """A picture of a TIFF file: [H, W] or [H, W, C], in whatever dtype it has (the caller judges that).

    `page`, counted from 1, of the file's pages where these are pictures of their own. MinIsWhite is inverted, a palette
    applied, planes interleaved, alpha dropped; a raw picture stays one.

    Errors: UnreadableError for everything else: another number of pages, a file cut off or damaged, other colour
    spaces.
    """
    with damage_named(), open_pages(data, reading, page) as pages:
        return as_meant(pages, [one.asarray() for one in pages], reading)


@contextmanager
def open_pages(data: bytes | FileBytes, reading: Reading, page: int | None = None) -> Iterator[list[Any]]:
    """The tifffile pages that make up the picture of `read_tiff`, checked but not read: one, or one for each light."""
    chosen = _chosen(find_pages(data), reading, page)
    with tifffile.TiffFile(byte_streams.BytesIO(data) if isinstance(data, bytes) else data.rewound()) as tiff:
        _check_stack(tiff)
        pages = [tiff.pages[k] for k in chosen]
        for number, one in enumerate(pages, start=1):
            if reading.pages == "channels":
                _check_light(one, number)
            _check_kind(one)
            _check_strips(one, data)
        yield pages


@contextmanager
def damage_named() -> Iterator[None]:
    """On damaged data tifffile and its codecs raise anything, KeyError to DeflateError: an UnreadableError of it."""
    try:
        yield
    except UnreadableError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableError(f"the TIFF is damaged: {reason}") from error


def as_meant(pages: Sequence[Any], samples: Sequence[NDArray[Any]], reading: Reading) -> Stored:
    """What `samples`, as tifffile reads them from all rows of `pages` or from the same few of each, mean."""
    stored = [_as_meant(one, part, reading) for one, part in zip(pages, samples, strict=True)]
    return _as_channels(stored, reading.n_pages) if reading.pages == "channels" else stored[0]


def _chosen(directories: Sequence[int], reading: Reading, page: int | None) -> Sequence[int]:
    """The directories that make up the picture asked for."""
    count = len(directories)
    if page is not None:
        if reading.pages != "pictures":
            raise UnreadableError(f"page {page} was asked for, but `image.pages` is {reading.pages}")
        if page > count:
            raise UnreadableError(f"no page {page}: the TIFF has {count} page{'' if count == 1 else 's'}")
        return directories[page - 1 : page]
    if count == 1 or (count and reading.pages == "channels"):
        return directories
    if count and reading.pages == "pictures":
        raise UnreadableError(f"a TIFF with {count} pages: say which one, such as `#1` behind its name")
    said = " (`image.pages`: pictures or channels would take them all)" if count else ""
    raise UnreadableError(f"a TIFF with {count} pages; one is needed{said}")


def _as_meant(page: Any, samples: NDArray[Any], reading: Reading) -> Stored:
    bits = _bits(page)
    raw = page.photometric == CFA
    pixels = _colours(page, samples, bits or reading.bits, as_channels=reading.pages == "channels")
    return Stored(pixels, bits, _bayer(page) if raw else None, raw)


def _check_light(page: Any, number: int) -> None:
    """Of a stack, each page of which shows the same in another light."""
    if page.photometric not in (MIN_IS_WHITE, MIN_IS_BLACK):
        what = {RGB: "RGB", CFA: "raw"}.get(page.photometric, f"of kind {_name(page.photometric)}")
        raise UnreadableError(f"page {number} is {what}; `image.pages` (=channels) needs grey pages")


def _as_channels(lights: Sequence[Stored], expected_pages: int | None) -> Stored:
    """One picture of all pages, [H, W, C]; of a single page its samples, where it has several."""
    first = lights[0]
    if len(lights) == 1 and first.pixels.ndim == 3:
        count, what = first.pixels.shape[2], "samples a pixel"
    else:
        count, what = len(lights), "pages" if len(lights) > 1 else "page"
    if expected_pages is not None and count != expected_pages:
        raise UnreadableError(f"a TIFF with {count} {what}, {expected_pages} are expected (`image.pages` is channels)")
    if count == 1:
        raise UnreadableError("a TIFF with 1 page; `image.pages` (=channels) needs 2 or more")
    if len(lights) == 1:
        return first
    for number, light in enumerate(lights, start=1):
        kind, expected = (_page_kind(each) for each in (light, first))
        if kind != expected:
            raise UnreadableError(f"page {number} is {kind}, page 1 is {expected}; the pages of a stack must be alike")
    return Stored(np.dstack([light.pixels for light in lights]), first.bits)


def _page_kind(stored: Stored) -> str:
    height, width, *samples = stored.pixels.shape
    channels = f", {samples[0]} channels" if samples else ""
    bits = f" of {stored.bits} bits" if stored.bits is not None else ""
    return f"{width}x{height} px{channels}, {stored.pixels.dtype.name}{bits}"


def _check_stack(tiff: tifffile.TiffFile) -> None:
    """ImageJ and tifffile write stacks behind one another with a single directory: no telling what else is in there."""
    if not (tiff.is_imagej or tiff.is_shaped) or len(tiff.pages) != 1:
        return
    shape = tuple(tiff.series[0].shape)
    if math.prod(shape) != math.prod(tiff.pages[0].shape):
        raise UnreadableError(f"a TIFF stack of shape {shape}; one picture is needed, or a directory for each")


def _check_kind(page: Any) -> None:
    check_size(page.imagewidth, page.imagelength)
    if page.imagedepth != 1:
        raise UnreadableError(f"a TIFF volume of {page.imagedepth} slices; one picture is needed")
    if page.compression not in COMPRESSIONS:
        raise UnreadableError(f"TIFF compression {_name(page.compression)} is not supported (LZW and deflate are)")
    allowed = (MIN_IS_WHITE, MIN_IS_BLACK, RGB, PALETTE, CFA, *((YCBCR,) if page.compression == JPEG else ()))
    if page.photometric not in allowed:
        raise UnreadableError(f"TIFF colours of kind {_name(page.photometric)} are not supported (grey and RGB are)")
    if page.dtype is None:
        raise UnreadableError(f"TIFF samples of {page.bitspersample} bits are not supported (8, 16 and 32 bits are)")


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _check_strips(page: Any, data: bytes | FileBytes) -> None:
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


def _colours(page: Any, pixels: NDArray[Any], bits: int | None, *, as_channels: bool) -> NDArray[Any]:
    """Samples as stored -> [H, W] or [H, W, 3] as meant; [H, W, C] of any number of grey samples `as_channels`."""
    n_samples = page.samplesperpixel
    if n_samples > 1 and page.planarconfig == 2:
        pixels = np.moveaxis(pixels, 0, -1)
    n_colours = 3 if page.photometric in (RGB, YCBCR) else 1
    extras = tuple(int(extra) for extra in page.extrasamples)
    if n_samples == n_colours + 1 and len(extras) == 1 and extras[0] in ALPHA:
        pixels = pixels[..., :3] if n_colours == 3 else pixels[..., 0]
    elif as_channels and page.photometric in (MIN_IS_BLACK, MIN_IS_WHITE) and not set(extras) & set(ALPHA):
        pass
    elif n_samples != n_colours:
        meant = "RGB" if n_colours == 3 else "grey"
        raise UnreadableError(
            f"an image with {n_samples} channels, marked as {meant}, is not supported"
            " (1 grey or 3 RGB channels are, with or without alpha)"
        )
    if page.photometric == PALETTE:
        return _apply_palette(pixels, page.colormap)
    if page.photometric == MIN_IS_WHITE:
        return _invert(pixels, bits if bits and pixels.dtype == np.uint16 else page.bitspersample)
    return pixels


def _bits(page: Any) -> int | None:
    """Significant bits of 16-bit samples, where the file says that they are fewer than 16.

    By their packing (10 or 12 bits a sample), or by a largest value that is a full scale. Some writers put there the
    largest value of the very picture, or that of the container for any camera: neither says anything.
    """
    if page.dtype != np.uint16:
        return None
    if page.bitspersample < 16:
        return int(page.bitspersample)
    for tag in (S_MAX_SAMPLE_VALUE, MAX_SAMPLE_VALUE):
        if tag in page.tags:
            largest = int(np.max(page.tags[tag].value))
            bits = largest.bit_length()
            if 8 <= bits < 16 and largest == 2**bits - 1:
                return bits
    return None


def _bayer(page: Any) -> Bayer | None:
    """The pattern of a picture behind a colour filter, by the tags of TIFF/EP; None where they are missing."""
    if CFA_PATTERN not in page.tags:
        return None
    codes = bytes(np.ravel(np.frombuffer(_as_bytes(page.tags[CFA_PATTERN].value), np.uint8)))
    rows, columns = page.tags[CFA_REPEAT].value if CFA_REPEAT in page.tags else (2, 2)
    patterns: dict[bytes, Bayer] = {
        b"\0\1\1\2": "rggb",
        b"\2\1\1\0": "bggr",
        b"\1\0\2\1": "grbg",
        b"\1\2\0\1": "gbrg",
    }
    if (rows, columns) != (2, 2) or codes not in patterns:
        raise UnreadableError(
            f"a colour filter of {rows}x{columns} px with the pattern {list(codes)[:36]} is not supported "
            "(Bayer patterns of red 0, green 1 and blue 2 are)"
        )
    return patterns[codes]


def _as_bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else bytes(np.atleast_1d(value).astype(np.uint8))


def _invert(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """White is the smallest value -> black is. Only where there is a largest value; other dtypes the caller refuses."""
    if pixels.dtype.kind == "f":
        raise UnreadableError(f"a TIFF of {pixels.dtype.name} with white as its smallest value is not supported")
    if pixels.dtype.kind != "u":
        return pixels
    top = pixels.dtype.type(2**bits - 1)
    if pixels.size and pixels.max() > top:
        raise UnreadableError(f"a value of {pixels.max()}, {bits} bits hold {top} at most")
    inverted: NDArray[Any] = top - pixels
    return inverted


def _apply_palette(indices: NDArray[Any], palette: NDArray[np.uint16] | None) -> NDArray[np.uint8]:
    if palette is None:
        raise UnreadableError("the TIFF is damaged: its palette is missing")
    # 16 bits a colour by the standard; some writers put 8-bit values there, and libtiff tells them apart the same way.
    colours = palette if palette.max() < 256 else palette >> 8
    rgb: NDArray[np.uint8] = colours.astype(np.uint8).T[indices]
    return rgb
