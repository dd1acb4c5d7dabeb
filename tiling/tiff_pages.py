"""The directories of a TIFF file: which of them are pictures, and whether all of them are there.

Format: Adobe TIFF 6.0; BigTIFF: https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import os
import struct
from typing import BinaryIO

from flawmap.tiling.image_header import UnreadableError

# Byte order, version 42 (classic) or 43 (BigTIFF).
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
NEW_SUBFILE_TYPE = 254  # tag
NO_PICTURE = 1 | 4  # of its bits: a smaller copy of another page, another's transparency
CUT_OFF = "the file is cut off: its TIFF {} lies behind the end of the file"


class FileBytes:
    """The bytes of an open file, of which only those are read that are asked for: `len` and slices as of bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._length = os.fstat(stream.fileno()).st_size

    def __len__(self) -> int:
        return self._length

    def rewound(self) -> BinaryIO:
        """The stream itself, at its begin."""
        self._stream.seek(0)
        return self._stream

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._length)
        self._stream.seek(start)
        return self._stream.read(max(0, stop - start))


def find_pages(data: bytes | FileBytes) -> list[int]:
    """Which of the file's directories are pictures, and not smaller copies or masks of others; counted from 0.

    Walks all of them and checks that each, with all its values, lies inside the file.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count, entry, link = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    inline = struct.calcsize(link)
    (position,) = _unpack(order + link, data, 8 if big else 4)
    seen: dict[int, int] = {}  # position of a directory: its NewSubfileType
    while position:
        if position in seen:
            raise UnreadableError("the TIFF is damaged: its pages are linked in a ring")
        seen[position] = 0
        at = position
        (n_entries,) = _unpack(order + count, data, position)
        position += struct.calcsize("=" + count)
        entry_size = struct.calcsize("=" + entry) + inline
        end = position + n_entries * entry_size
        if end > len(data):
            raise UnreadableError(CUT_OFF.format("directory"))
        directory = data[position:end]
        for start in range(0, len(directory), entry_size):
            tag, kind, n_values = struct.unpack_from(order + entry, directory, start)
            n_bytes = TYPE_SIZES.get(kind, 0) * n_values
            value = start + entry_size - inline
            (place,) = struct.unpack_from(order + link, directory, value)
            if n_bytes > inline and place + n_bytes > len(data):
                raise UnreadableError(CUT_OFF.format(f"tag {tag}"))
            if tag == NEW_SUBFILE_TYPE and n_bytes == 4:
                (seen[at],) = struct.unpack_from(order + "I", directory, value)
        (position,) = _unpack(order + link, data, end)
    pictures = [index for index, kind in enumerate(seen.values()) if not kind & NO_PICTURE]
    return pictures or list(range(len(seen)))


def _unpack(form: str, data: bytes | FileBytes, position: int) -> tuple[int, ...]:
    size = struct.calcsize(form)
    if position + size > len(data):
        raise UnreadableError(CUT_OFF.format("directory"))
    return struct.unpack(form, data[position : position + size])
