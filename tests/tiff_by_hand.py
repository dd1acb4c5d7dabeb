"""TIFF files made by hand, as the specification has them: nothing of tifffile, which reads them.

A file is its header, then page by page the chunks (strips or tiles), the values too long for their entry, and the
directory.
"""

import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

BYTE, ASCII, SHORT, LONG, RATIONAL, LONG8 = 1, 2, 3, 4, 5, 16
FORMS = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "II", LONG8: "Q"}
GREY, RGB, CFA = 1, 2, 32803
NONE, LZW, DEFLATE, LZMA, ZSTD = 1, 5, 8, 34925, 50000
COMPRESS: dict[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    LZW: imagecodecs.lzw_encode,
    DEFLATE: zlib.compress,
    LZMA: lzma.compress,
    ZSTD: imagecodecs.zstd_encode,
}


@dataclass
class Page:
    """One directory. `tags`: number -> (type, values), in addition to what the pixels give."""

    pixels: NDArray[Any]  # [H, W] or [H, W, C]
    bits: int = 0  # a sample; packed without gaps where they are fewer than the dtype's
    compression: int = NONE
    tile: int = 0  # side in px, a multiple of 16; 0: strips
    rows: int = 0  # of a strip; 0: all
    photometric: int = GREY
    tags: dict[int, tuple[int, Any]] = field(default_factory=dict)


def tiff_by_hand(*pages: Page, big: bool = False, order: str = "<") -> bytes:
    """A whole file, classic or BigTIFF, of either byte order."""
    mark = b"II" if order == "<" else b"MM"
    offset = "Q" if big else "I"
    data = bytearray(mark + struct.pack(order + "HHH" if big else order + "H", *((43, 8, 0) if big else (42,))))
    link = len(data)
    data += bytes(struct.calcsize(offset))
    for page in pages:
        chunks, layout = _chunks(page, order)
        places, lengths = [], []
        for chunk in chunks:
            places.append(len(data))
            lengths.append(len(chunk))
            data += chunk + bytes(len(chunk) % 2)
        which = (324, 325) if page.tile else (273, 279)
        offsets = LONG8 if big else LONG
        tags = _tags(page) | layout | {which[0]: (offsets, places), which[1]: (offsets, lengths)} | page.tags
        entries = b""
        for number in sorted(tags):
            kind, values = tags[number]
            raw = _packed(order, kind, values)
            count = len(raw) // struct.calcsize("=" + FORMS[kind])
            room = struct.calcsize(offset)
            if len(raw) > room:
                place = len(data)
                data += raw + bytes(len(raw) % 2)
                raw = struct.pack(order + offset, place)
            entries += struct.pack(order + "HH" + offset, number, kind, count) + raw.ljust(room, b"\0")
        struct.pack_into(order + offset, data, link, len(data))
        data += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
        link = len(data)
        data += bytes(struct.calcsize(offset))
    return bytes(data)


def packed_bits(samples: NDArray[Any], bits: int) -> bytes:
    """Rows of samples without gaps between them, the highest bit first; each row begins with a byte of its own."""
    rows = samples.reshape(len(samples), -1).astype(np.uint64)
    places = np.arange(bits - 1, -1, -1, dtype=np.uint64)
    single = (rows[..., None] >> places & np.uint64(1)).astype(np.uint8)
    return np.packbits(single.reshape(len(rows), -1), axis=1).tobytes()


def _packed(order: str, kind: int, values: Any) -> bytes:
    if isinstance(values, bytes):
        return values
    listed = list(values) if isinstance(values, (list, tuple)) else [values]
    return struct.pack(f"{order}{len(listed)}{FORMS[kind][0]}", *listed)


def _tags(page: Page) -> dict[int, tuple[int, Any]]:
    height, width = page.pixels.shape[:2]
    samples = 1 if page.pixels.ndim == 2 else page.pixels.shape[2]
    bits = page.bits or 8 * page.pixels.itemsize
    return {
        256: (LONG, width), 257: (LONG, height), 258: (SHORT, [bits] * samples), 259: (SHORT, page.compression),
        262: (SHORT, page.photometric), 277: (SHORT, samples), 284: (SHORT, 1),
    }  # fmt: skip


def _chunks(page: Page, order: str) -> tuple[list[bytes], dict[int, tuple[int, Any]]]:
    """(compressed strips or tiles, the tags that say how large they are)."""
    height, width = page.pixels.shape[:2]
    if page.tile:
        side = page.tile
        filled = np.zeros(
            (-(-height // side) * side, -(-width // side) * side, *page.pixels.shape[2:]), page.pixels.dtype
        )
        filled[:height, :width] = page.pixels
        pieces = [
            filled[y : y + side, x : x + side]
            for y in range(0, height, side)
            for x in range(0, width, side)
        ]  # fmt: skip
        layout: dict[int, tuple[int, Any]] = {322: (SHORT, side), 323: (SHORT, side)}
    else:
        rows = page.rows or height
        pieces = [page.pixels[y : y + rows] for y in range(0, height, rows)]
        layout = {278: (LONG, rows)}
    return [COMPRESS[page.compression](_raw(piece, page, order)) for piece in pieces], layout


def _raw(piece: NDArray[Any], page: Page, order: str) -> bytes:
    if page.bits and page.bits < 8 * piece.itemsize:
        return packed_bits(piece, page.bits)
    return piece.astype(piece.dtype.newbyteorder(order)).tobytes()
