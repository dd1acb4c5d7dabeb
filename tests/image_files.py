"""Image files for the tests: one of every kind that can be read, made by libraries other than the one that reads it."""

import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import tifffile
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

Array = NDArray[Any]

in_a_shared_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=50
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that other users can look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextmanager
def another_user() -> Iterator[None]:
    """Root may read and write everywhere, so as root the block runs as nobody."""
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)
    try:
        yield
    finally:
        os.seteuid(user)


def sample(*shape: int, dtype: str = "uint8", seed: int = 0) -> Array:
    """Neighbours alike, so that every compression has something to do, and noise, so that no two rows are the same."""
    random = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, int(np.prod(shape))).reshape(shape)
    image: Array = (ramp + random.integers(0, 50, shape)) * (257 if dtype == "uint16" else 1)
    return image.astype(dtype)


def saved(image: Array, form: str, **options: Any) -> bytes:
    """The file as Pillow writes it."""
    stream = BytesIO()
    PIL.Image.fromarray(image).save(stream, form, **options)
    return stream.getvalue()


def tiff(image: Array, **options: Any) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, image, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour_type: int = 0) -> bytes:
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + b"".join(chunks) + chunk(b"IEND", b"")


def quantized(image: Array) -> Any:
    return PIL.Image.fromarray(image).quantize(40)


def saved_palette(image: Array) -> bytes:
    stream = BytesIO()
    quantized(image).save(stream, "png")
    return stream.getvalue()


GREY, COLOUR, DEEP = sample(37, 41), sample(37, 41, 3, seed=1), sample(37, 41, dtype="uint16")

# One file of every kind, with the pixels it must give (None: whatever the whole file gives).
FILES: dict[str, tuple[bytes, Array | None]] = {
    "grey.png": (saved(GREY, "png"), GREY),
    "colour.png": (saved(COLOUR, "png"), COLOUR),
    "deep.png": (saved(DEEP, "png"), DEEP),
    "palette.png": (saved_palette(COLOUR), np.asarray(quantized(COLOUR).convert("RGB"))),
    "grey.bmp": (saved(GREY, "bmp"), GREY),
    "colour.bmp": (saved(COLOUR, "bmp"), COLOUR),
    "grey.jpg": (saved(GREY, "jpeg"), None),
    "colour.jpg": (saved(COLOUR, "jpeg"), None),
    "progressive.jpg": (saved(COLOUR, "jpeg", progressive=True), None),
    "restarts.jpg": (saved(COLOUR, "jpeg", restart_marker_rows=1), None),
    "comment.jpg": (saved(COLOUR, "jpeg", comment=b"\xff\xd9 an end marker in a comment"), None),
    "plain.tif": (tiff(GREY, rowsperstrip=8), GREY),
    "lzw.tif": (tiff(COLOUR, compression="lzw", rowsperstrip=8, predictor=True), COLOUR),
    "deflate.tif": (tiff(DEEP, compression="zlib", rowsperstrip=8, predictor=True), DEEP),
    "packbits.tif": (tiff(GREY, compression="packbits", rowsperstrip=8), GREY),
    "zstd.tif": (tiff(GREY, compression="zstd", rowsperstrip=8), GREY),
    "tiled.tif": (tiff(COLOUR, tile=(16, 16)), COLOUR),
    "tiled-lzw.tif": (tiff(DEEP, tile=(16, 16), compression="lzw"), DEEP),
    "big.tif": (tiff(GREY, bigtiff=True, compression="zlib"), GREY),
    "other-order.tif": (tiff(DEEP, byteorder=">"), DEEP),
    "planes.tif": (tiff(np.moveaxis(COLOUR, -1, 0).copy(), photometric="rgb", planarconfig="separate"), COLOUR),
    "float.tif": (tiff(DEEP.astype(np.float32), compression="zlib", predictor=3), DEEP.astype(np.float32)),
    "double.tif": (tiff(DEEP.astype(np.float64)), DEEP.astype(np.float32)),
    "jpeg.tif": (saved(COLOUR, "tiff", compression="jpeg"), None),
    "directory-last.tif": (saved(COLOUR, "tiff", compression="tiff_lzw"), COLOUR),
    "directory-last-deflate.tif": (saved(GREY, "tiff", compression="tiff_adobe_deflate"), GREY),
}  # fmt: skip
PNG_FILES = [name for name in FILES if name.endswith(".png")]


def interlaced(image: NDArray[np.uint8]) -> bytes:
    """By the seven passes of the standard, which no library at hand writes."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [image[y::step_y, x::step_x] for y, x, step_y, step_x in passes]
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part))
    size = b"".join(n.to_bytes(4, "big") for n in (image.shape[1], image.shape[0]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\0\0\0\1") + chunk(b"IDAT", body) + chunk(b"IEND", b"")
