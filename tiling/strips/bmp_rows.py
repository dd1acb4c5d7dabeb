"""A BMP's picture row by row: some of its rows, behind its own header, are a BMP for the decoder."""

import struct

from flawmap.tiling.bmp_file import CORE_HEADER, check_bmp
from flawmap.tiling.image_header import UnreadableError
from flawmap.tiling.images import decode
from flawmap.tiling.reading import Stored
from flawmap.tiling.tiff_pages import FileBytes

HEIGHT_AT = 22  # bytes from the start of the file, behind the width


class BmpRows:
    """The rows of a plain BMP file, from top to bottom, although they are stored from the bottom, as a rule."""

    def __init__(self, data: FileBytes) -> None:
        """UnreadableError for what `check_bmp` refuses."""
        self._data = data
        self.width, self.height = check_bmp(data)
        offset, header_length = struct.unpack("<II", data[10:18])
        self._header = data[:offset]
        core = header_length == CORE_HEADER
        self._height_at, self._height_form = (HEIGHT_AT - 2, "<H") if core else (HEIGHT_AT, "<i")
        (height,) = struct.unpack_from(self._height_form, self._header, self._height_at)
        (depth,) = struct.unpack_from("<H", self._header, 24 if core else 28)
        self._from_top = height < 0
        self._row_bytes = (self.width * depth + 31) // 32 * 4
        self._y = 0

    def read(self, count: int) -> Stored:
        """The next `count` rows, one at least."""
        first = self._y if self._from_top else self.height - self._y - count
        header = bytearray(self._header)
        struct.pack_into(self._height_form, header, self._height_at, -count if self._from_top else count)
        start = len(header) + first * self._row_bytes
        rows = self._data[start : start + count * self._row_bytes]
        if len(rows) < count * self._row_bytes:
            raise UnreadableError("the file is cut off: it has become shorter")
        self._y += count
        return decode(bytes(header) + rows)

    def skip(self, count: int) -> None:
        self._y += count
