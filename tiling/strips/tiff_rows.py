"""A TIFF's picture row by row: only the strips or tiles that hold the next rows are read and decoded.

An uncompressed strip may be as long as the picture; of such a one only the rows wanted are read.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.reading import Reading, Stored
from flawmap.tiling.strips.whole_limit import check_whole
from flawmap.tiling.tiff_file import JPEG, as_meant, damage_named

PIECE_BYTES = 1 << 23  # of an uncompressed strip, read at a time


class TiffRows:
    """The picture that `pages` (tifffile's, as `open_pages` gives them) make up, from top to bottom."""

    def __init__(self, pages: Sequence[Any], reading: Reading) -> None:
        """UnreadableError for strips too large to be decoded as a whole, as they must be."""
        self.height, self.width = int(pages[0].imagelength), int(pages[0].imagewidth)
        self._pages = pages
        self._reading = reading
        self._samples = [_PageRows(page) for page in pages]

    def read(self, count: int) -> Stored:
        """The next `count` rows. UnreadableError for what is damaged."""
        with damage_named():
            return as_meant(self._pages, [rows.read(count) for rows in self._samples], self._reading)

    def skip(self, count: int) -> None:
        for rows in self._samples:
            rows.skip(count)


class _PageRows:
    """The samples of one page, as tifffile's `asarray` has them, some rows at a time."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._y = 0
        self._by_rows = (
            page.compression == 1 and page.predictor == 1 and page.fillorder == 1 and page.planarconfig == 1
            and not page.is_tiled and page.bitspersample == page.dtype.itemsize * 8
        )  # fmt: skip
        # Rows that are decoded in one go.
        self._step = int(page.tilelength if page.is_tiled else page.rowsperstrip or page.imagelength)
        row_bytes = page.imagewidth * page.samplesperpixel * page.dtype.itemsize
        if self._by_rows:
            self._step = max(1, min(self._step, PIECE_BYTES // row_bytes))
        else:
            check_whole(self._step * row_bytes, f"TIFF strips of {self._step} rows")
            self._decoder = page.decode  # tifffile makes it when it is first asked for
        self._decoded = self._empty(0)
        self._decoded_from = 0  # row of the picture

    def read(self, count: int) -> NDArray[Any]:
        """[count, width], [count, width, C] or, of planes, [C, count, width]."""
        parts = self._empty(count)
        done = 0
        while done < count:
            below = self._decoded_from + self._decoded.shape[1]
            if not self._decoded_from <= self._y < below:
                self._decode(self._y)
                below = self._decoded_from + self._decoded.shape[1]
            n_rows = min(count - done, below - self._y)
            first = self._y - self._decoded_from
            parts[:, done : done + n_rows] = self._decoded[:, first : first + n_rows]
            self._y += n_rows
            done += n_rows
        shape = list(self._page.shape)
        shape[self._page.axes.index("Y")] = count
        return parts.reshape(shape)

    def skip(self, count: int) -> None:
        self._y += count

    def _empty(self, rows: int) -> NDArray[Any]:
        """[planes, rows, width, samples]."""
        planes, _, _, width, samples = self._page.shaped
        return np.empty((planes, rows, width, samples), self._page.dtype)

    def _decode(self, y: int) -> None:
        """Everything that is decoded together with row `y`."""
        page = self._page
        first = y if self._by_rows else y // self._step * self._step
        if self._by_rows:  # not into the next strip, which may lie anywhere
            strip = page.rowsperstrip or page.imagelength
            end = min(first + self._step, (y // strip + 1) * strip, page.imagelength)
            self._decoded = self._stored_rows(first, end - first)
        else:
            self._decoded = self._segments(first, min(first + self._step, page.imagelength) - first)
        self._decoded_from = first

    def _stored_rows(self, y: int, n_rows: int) -> NDArray[Any]:
        page = self._page
        strip, y_in_strip = divmod(y, int(page.rowsperstrip or page.imagelength))
        rows = self._empty(n_rows)
        row_bytes = rows[0, 0].nbytes if n_rows else 0
        first, last = y_in_strip * row_bytes, (y_in_strip + n_rows) * row_bytes
        if last > page.databytecounts[strip]:
            raise ValueError(f"strip {strip} holds {page.databytecounts[strip]} bytes, {last} are needed")
        file = page.parent.filehandle
        file.seek(page.dataoffsets[strip] + first)
        data = file.read(last - first)
        if len(data) < last - first:
            raise ValueError(f"strip {strip} is cut off")
        rows[...] = np.frombuffer(data, page.dtype.newbyteorder(page.parent.byteorder)).reshape(rows.shape)
        return rows

    def _segments(self, y: int, n_rows: int) -> NDArray[Any]:
        page = self._page
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression == JPEG else {}
        planes, down, across = _chunks(page)
        rows = self._empty(n_rows)
        file = page.parent.filehandle
        for plane in range(planes):
            for column in range(across):
                index = (plane * down + y // self._step) * across + column
                file.seek(page.dataoffsets[index])
                data = file.read(page.databytecounts[index])
                segment, (_, _, top, left, _), _ = self._decoder(data, index, **tables)
                part = segment[0, : page.imagelength - top, : page.imagewidth - left]
                rows[plane, : part.shape[0], left : left + part.shape[1]] = part[:n_rows]
        return rows


def _chunks(page: Any) -> tuple[int, int, int]:
    """How many planes there are, and rows and columns of strips or tiles in each."""
    planes = int(page.shaped[0])
    if not page.is_tiled:
        return planes, math.ceil(page.imagelength / (page.rowsperstrip or page.imagelength)), 1
    return planes, math.ceil(page.imagelength / page.tilelength), math.ceil(page.imagewidth / page.tilewidth)
