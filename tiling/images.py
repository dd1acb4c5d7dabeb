"""Images in and out: PNG, BMP, JPEG and TIFF to numpy arrays and back, whole or not at all.

An image is an array [H, W] (mono), [H, W, 3] (RGB order) or [H, W, C] (one picture in the light of C lamps) of uint8,
uint16 or float32. The file's first bytes decide how it is read; its suffix decides how it is written.
"""

import io as byte_streams
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from flawmap.tiling import bmp_file, jpeg_file, png_file, tiff_file
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.image_header import UnreadableError
from flawmap.tiling.image_listing import IMAGE_SUFFIXES, list_images
from flawmap.tiling.pages import split_page
from flawmap.tiling.png_pixels import plain_pixels
from flawmap.tiling.reading import AS_THEY_ARE, Reading, Stored, demosaiced, significant_bits
from flawmap.tiling.tiff_pages import FileBytes
from flawmap.tiling.whole_file import write_whole

__all__ = ["IMAGE_SUFFIXES", "describe", "list_images", "read_image", "read_picture", "write_image"]

Image = NDArray[Any]

# What a format can hold: name, dtypes.
FORMATS = {
    ".png": ("PNG", ("uint8", "uint16")),
    ".bmp": ("BMP", ("uint8",)),
    ".jpg": ("JPEG", ("uint8",)),
    ".jpeg": ("JPEG", ("uint8",)),
    ".tif": ("TIFF", ("uint8", "uint16", "float32")),
    ".tiff": ("TIFF", ("uint8", "uint16", "float32")),
}

# A broken file becomes an ImageError; OpenCV's own lines about it on stderr would only tear a progress bar.
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class Picture(NamedTuple):
    """An image, and how many of the bits of its uint16 pixels count: None where nobody says."""

    pixels: Image
    bits: int | None


def read_image(path: Path, reading: Reading = AS_THEY_ARE) -> Image:
    """Reads one picture as [H, W] or [H, W, C], uint8, uint16 or float32 (float64 is converted), C-contiguous.

    C is 3 (RGB), or the number of pages that `reading` takes for channels. `path`: a file, or a page of one (see
    `flawmap.tiling.pages`). Pixels come as stored: an orientation tag is not applied, alpha is dropped, MinIsWhite is
    inverted, a raw picture whose Bayer pattern is known becomes RGB.

    Errors: ImageError with a one-line reason for whatever is wrong: no such file, no permission, not an image, cut off,
    damaged, too large, pages, bits or a Bayer pattern other than `reading` says, NaN, unsupported dtype or channels. A
    half-decoded picture never comes back, with one limit: only PNG and deflate have checksums, so changed bytes inside
    the pixels of others may pass.
    """
    return read_picture(path, reading).pixels


def read_picture(path: Path, reading: Reading = AS_THEY_ARE) -> Picture:
    """`read_image`, with the significant bits."""
    path = Path(path)
    try:
        stored = _read_stored(path, reading)
        bits = significant_bits(stored, reading.bits)
        return Picture(supported(demosaiced(stored, reading.bayer)), bits)
    except UnreadableError as error:
        raise ImageError(path, str(error)) from error
    except MemoryError as error:
        raise ImageError(path, "not enough memory for this image") from error


def _read_stored(path: Path, reading: Reading) -> Stored:
    file, page = split_page(path)
    with problems_of(path, file), opened(file) as stream:
        if page is not None:  # of a long stack, not the rest of it
            data = FileBytes(stream)
            if data[:4] in tiff_file.SIGNATURES:
                return tiff_file.read_tiff(data, reading, page)
            raise UnreadableError(f"not a TIFF (starts with {data[:8]!r}): it has no page {page}")
        contents = stream.read()
    if not contents:
        raise UnreadableError("empty file (0 bytes)")
    if contents[:4] in tiff_file.SIGNATURES:
        return tiff_file.read_tiff(contents, reading)
    stored = decode(contents)
    if reading.pages == "channels":
        raise UnreadableError("not a TIFF: `image.pages` (=channels) needs TIFF files of 2 pages or more")
    return stored


def write_image(path: Path, image: Image, *, jpeg_quality: int = 90) -> None:
    """Writes [H, W] or [H, W, 3] (RGB) in the format of the suffix; the file is there whole or not at all.

    PNG holds uint8 and uint16; BMP and JPEG (quality 0 to 100) uint8; TIFF (deflate) also float32.

    Errors: ImageError for a suffix, shape or dtype that cannot be written, UsageError for the quality, OSError from the
    file system.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ImageError(path, f"cannot be written as `{path.suffix}` (one of {', '.join(IMAGE_SUFFIXES)})")
    if not 0 <= jpeg_quality <= 100:
        raise UsageError(f"`jpeg_quality` (={jpeg_quality}) must be from 0 to 100")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or image.size == 0:
        raise ImageError(path, f"an array of shape {image.shape} is not an image [H, W] or [H, W, 3]")
    name, dtypes = FORMATS[suffix]
    if image.dtype.name not in dtypes:
        raise ImageError(path, f"{name} cannot hold {describe(image)} ({', '.join(dtypes)})")
    pixels = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    data = _encode_tiff(pixels) if name == "TIFF" else _encode(path, pixels, jpeg_quality)
    with write_whole(path) as temporary:
        temporary.write_bytes(data)


def describe(image: Image) -> str:
    """How messages name an image's kind: "mono uint8", "RGB uint16", "4-channel uint8"."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    name = {1: "mono", 3: "RGB"}.get(channels, f"{channels}-channel")
    return f"{name} {image.dtype.name}"


@contextmanager
def problems_of(path: Path, file: Path) -> Iterator[None]:
    """What the system says against reading `file`, as an ImageError about `path`."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(path, "a link to a missing file" if file.is_symlink() else "no such file") from error
    except PermissionError as error:
        raise ImageError(path, "no permission to read") from error
    except OSError as error:
        raise ImageError(path, f"cannot be read: {error.strerror}") from error


def opened(file: Path) -> BinaryIO:
    """The file, to be read. UnreadableError where it is no regular file, OSError of the system."""
    mode = file.stat().st_mode
    if stat.S_ISDIR(mode):
        raise UnreadableError("a folder, not an image file")
    if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
        raise UnreadableError("not a regular file")
    return file.open("rb")


def decode(data: bytes) -> Stored:
    """PNG, JPEG or BMP: checked for completeness, then decoded, most by OpenCV. UnreadableError for what is wrong."""
    mono: bool | None = None  # a BMP is what OpenCV makes of its palette
    if data.startswith(png_file.SIGNATURE):
        name, header = "PNG", png_file.check_png(data)
        mono = header.mono
        pixels = plain_pixels(data)
        if pixels is not None:
            return Stored(pixels)
    elif data.startswith(jpeg_file.SIGNATURE):
        name, header = "JPEG", jpeg_file.check_jpeg(data)
        mono = header.mono
    elif data.startswith(bmp_file.SIGNATURE):
        name = "BMP"
        bmp_file.check_bmp(data)
    else:
        raise UnreadableError(f"not an image (starts with {data[:8]!r})")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise UnreadableError(f"the {name} cannot be decoded: {error.err}") from error
    if image is None:
        raise UnreadableError(f"the {name} is damaged: it cannot be decoded")
    if image.ndim == 2:
        return Stored(image)
    if mono:  # grey and alpha come back as four channels, the first three alike
        return Stored(image[..., 0])
    return Stored(cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGB))


def supported(image: Image, *, top: int = 0) -> Image:
    """`image` in a dtype that flawmap works with, C-contiguous; row 0 is row `top` of the picture.

    Errors: UnreadableError for another dtype, and for NaN or infinity.
    """
    if image.dtype == np.float64:
        with np.errstate(over="ignore"):  # becomes infinite, which is refused below
            image = image.astype(np.float32)
    if image.dtype.name not in ("uint8", "uint16", "float32"):
        raise UnreadableError(
            f"pixels of type {image.dtype.name} are not supported (uint8, uint16, float32 and float64 are)"
        )
    if image.dtype.kind == "f":
        finite = np.isfinite(image)
        if not finite.all():
            y, x = np.argwhere(~finite)[0][:2]
            n_bad = finite.size - int(np.count_nonzero(finite))
            raise UnreadableError(f"{n_bad} values are NaN or infinite, the first at x={x}, y={y + top}")
    return np.ascontiguousarray(image, image.dtype.newbyteorder("="))


def _encode(path: Path, pixels: Image, jpeg_quality: int) -> bytes:
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    suffix = path.suffix.lower()
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(suffix, bgr, options)
    except cv2.error as error:
        raise ImageError(path, f"cannot be encoded: {error.err}") from error
    if not done:
        raise ImageError(path, f"{pixels.shape[1]}x{pixels.shape[0]} px cannot be encoded as `{suffix}`")
    return data.tobytes()


def _encode_tiff(pixels: Image) -> bytes:
    stream = byte_streams.BytesIO()
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    # Without metadata and software the same pixels give the same bytes.
    tifffile.imwrite(stream, pixels, photometric=photometric, compression="zlib", metadata=None, software=False)
    return stream.getvalue()
