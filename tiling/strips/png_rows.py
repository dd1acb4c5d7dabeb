"""A PNG's picture row by row: inflated and unfiltered here, given its colours by the decoder that reads whole files.

Format: https://www.w3.org/TR/png-3/ (sections 7, 9 and 10). Rows whose filter is undone are packed into a small PNG of
their own, with the header and the palette of the file, so that palettes, 1 to 16 bits and alpha come out as ever.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from flawmap.tiling.image_header import UnreadableError
from flawmap.tiling.images import decode
from flawmap.tiling.png_file import CRITICAL, SIGNATURE, read_header
from flawmap.tiling.png_filters import unfilter
from flawmap.tiling.reading import Stored
from flawmap.tiling.tiff_pages import FileBytes

READ_AT_ONCE = 1 << 20  # bytes of the file
INFLATED_AT_ONCE = 1 << 24  # bytes that it may grow to: a thousand times as many otherwise
INTERLACED_AT = 28  # bytes from the start of the file
CUT_OFF = "the file is cut off: the PNG end marker is missing"


def is_interlaced(data: FileBytes) -> bool:
    """Whether the rows of this PNG come in seven passes, which no reader can give row by row."""
    return data[INTERLACED_AT : INTERLACED_AT + 1] != b"\0"


class PngRows:
    """The rows of a PNG file that is not interlaced, from top to bottom."""

    def __init__(self, data: FileBytes) -> None:
        """UnreadableError for a header that is damaged, or a picture that is too large."""
        self._header = data[len(SIGNATURE) + 8 : len(SIGNATURE) + 8 + 13]
        header, bits = read_header(data[len(SIGNATURE) + 4 : len(SIGNATURE) + 8], self._header)
        self.width, self.height = header.width, header.height
        self._row_bytes = (header.width * bits + 7) // 8
        self._pixel_bytes = max(1, bits // 8)
        self._colours: list[bytes] = []  # chunks that tell what the samples mean
        self._inflated = self._inflate(data)
        self._waiting = b""
        self._above = np.zeros(self._row_bytes, np.uint8)
        self._y = 0

    def read(self, count: int) -> Stored:
        """The next `count` rows, one at least. UnreadableError for what is damaged or missing."""
        rows = self._unfiltered(count)
        plain = np.zeros((count, 1 + self._row_bytes), np.uint8)  # filter 0: as they are
        plain[:, 1:] = rows
        chunks = [
            _chunk(b"IHDR", struct.pack(">II", self.width, count) + self._header[8:]),
            *self._colours,
            _chunk(b"IDAT", zlib.compress(plain.data, 0)),
            _chunk(b"IEND", b""),
        ]
        return decode(SIGNATURE + b"".join(chunks))

    def skip(self, count: int) -> None:
        """Rows that are left out have to be inflated all the same."""
        while count > 0:
            n_rows = min(count, max(1, (1 << 24) // self._row_bytes))
            self._unfiltered(n_rows)
            count -= n_rows

    def _unfiltered(self, count: int) -> np.ndarray:
        """The next `count` rows, uint8 [count, row bytes]; after the last one the file is read to its end."""
        parts, missing = [self._waiting], count * (1 + self._row_bytes) - len(self._waiting)
        while missing > 0:
            part = next(self._inflated, b"")
            if not part:
                raise UnreadableError("the PNG is damaged: its data ends too early")
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        size = count * (1 + self._row_bytes)
        self._waiting = data[size:]
        self._y += count
        if self._y == self.height:
            for _ in self._inflated:  # to the end marker and the last checksum
                pass
        rows = np.frombuffer(data, np.uint8, size).reshape(count, -1)
        pixels = np.empty((count, self._row_bytes), np.uint8)
        if not unfilter(rows, self._above, self._pixel_bytes, pixels):
            raise UnreadableError("the PNG is damaged: a row has a filter that does not exist")
        self._above = pixels[-1].copy()
        return pixels

    def _inflate(self, data: FileBytes) -> Iterator[bytes]:
        """The filtered rows, in parts that are not empty; at the end the file was whole, with all its checksums."""
        inflater = zlib.decompressobj()
        for kind, body in _chunks(data):
            while kind == b"IDAT" and body and not inflater.eof:
                try:
                    part = inflater.decompress(body, INFLATED_AT_ONCE)
                except zlib.error as error:
                    raise UnreadableError(f"the PNG is damaged: {error}") from error
                body = inflater.unconsumed_tail
                if part:
                    yield part
            if kind in (b"PLTE", b"tRNS"):
                self._colours.append(_chunk(kind, body))
        if not inflater.eof:
            raise UnreadableError("the PNG is damaged: its data ends too early")


def _chunks(data: FileBytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, body) of every chunk up to the end marker, a long body in parts, each chunk's checksum compared after it.

    Only chunks that change what is read: pixels, palette, transparency.
    """
    position, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        frame = data[position : position + 8]
        if len(frame) < 8:
            raise UnreadableError(CUT_OFF)
        length, kind = struct.unpack(">I4s", frame)
        end = position + 8 + length
        if end + 4 > len(data):
            raise UnreadableError(CUT_OFF)
        if kind == b"acTL" and length == 8:
            n_pictures = int.from_bytes(data[end - 8 : end - 4], "big")
            if n_pictures > 1:
                raise UnreadableError(f"an animated PNG with {n_pictures} pictures; one is needed")
        if kind in (*CRITICAL, b"tRNS"):
            checksum = zlib.crc32(kind)
            for start in range(position + 8, end, READ_AT_ONCE):
                body = data[start : min(start + READ_AT_ONCE, end)]
                checksum = zlib.crc32(body, checksum)
                yield kind, body
            if checksum != int.from_bytes(data[end : end + 4], "big") and kind in CRITICAL:
                raise UnreadableError(
                    f"the PNG is damaged: wrong checksum of its {kind.decode()} chunk at byte {position}"
                )
        position = end + 4


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
