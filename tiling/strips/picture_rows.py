"""What a file stores row by row, as the picture that `read_image` would give: colours, bits and dtype as ever."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError
from flawmap.tiling.image_header import UnreadableError
from flawmap.tiling.images import problems_of, supported
from flawmap.tiling.pages import file_of
from flawmap.tiling.reading import Reading, Stored, demosaiced, significant_bits

AROUND = 2  # rows of a raw picture that its colours are taken from, above and below; even, as the pattern repeats

Image = NDArray[Any]


class StoredRows(Protocol):
    """A file's picture, from top to bottom."""

    height: int
    width: int

    def read(self, count: int) -> Stored:
        """The next `count` rows, of which there are so many; UnreadableError for what is wrong."""
        ...

    def skip(self, count: int) -> None:
        """Leaves out the next `count` rows."""
        ...


class ArrayRows:
    """The rows of a picture that could only be read as a whole."""

    def __init__(self, stored: Stored) -> None:
        self.height, self.width = stored.pixels.shape[:2]
        self._stored = stored
        self._y = 0

    def read(self, count: int) -> Stored:
        self._y += count
        whole = self._stored
        return Stored(whole.pixels[self._y - count : self._y], whole.bits, whole.bayer, whole.raw)

    def skip(self, count: int) -> None:
        self._y += count


class PictureRows:
    """The rows that `read_image` gives, from top to bottom (`flawmap.tiling.strips.padded_rows.Rows`)."""

    def __init__(self, path: Path, stored: StoredRows, reading: Reading, *, whole: bool) -> None:
        """`path`: named by errors. `whole`: the picture is in memory as a whole. ImageError for what cannot be read."""
        self.height, self.width = stored.height, stored.width
        self.whole = whole
        self.bits: int | None = None  # significant ones, where the file or `reading` says them
        self._path, self._stored, self._reading = path, stored, reading
        self._y = 0
        self._n_stored = 0  # rows that came from `_stored`
        self._waiting: Stored | None = None  # rows that came and may be needed
        first = self._picture(0, min(1, self.height))
        self.channels = 1 if first.ndim == 2 else int(first.shape[2])
        self.dtype = first.dtype
        self._shape = first.shape[1:]

    def read(self, count: int) -> Image:
        """The next `count` rows, [count, width] or [count, width, C]; at the end those that are left.

        Raises ImageError as `read_image` does.
        """
        count = min(count, self.height - self._y)
        if count <= 0:
            return np.empty((0, *self._shape), self.dtype)
        rows = self._picture(self._y, self._y + count)
        self._y += count
        return rows

    def skip(self, count: int) -> None:
        """Leaves out the next `count` rows."""
        self._y += count

    def _picture(self, y0: int, y1: int) -> Image:
        try:
            with problems_of(self._path, file_of(self._path)):
                return self._checked(y0, y1)
        except UnreadableError as error:
            raise ImageError(self._path, str(error)) from error
        except MemoryError as error:
            raise ImageError(self._path, "not enough memory for this image") from error

    def _checked(self, y0: int, y1: int) -> Image:
        top = max(0, y0 - AROUND) // 2 * 2
        stored = self._rows(top, min(self.height, y1 + AROUND))
        self.bits = significant_bits(stored, self._reading.bits)
        return supported(demosaiced(stored, self._reading.bayer)[y0 - top : y1 - top], top=y0)

    def _rows(self, y0: int, y1: int) -> Stored:
        """Stored rows `y0`..`y1` - 1; the last ones are kept, as those asked for next begin a little above `y1`."""
        kept, top = self._waiting, self._n_stored
        if kept is not None:
            top -= len(kept.pixels)
            kept = _part(kept, min(y0 - top, len(kept.pixels)), len(kept.pixels))
        if y0 > self._n_stored:
            self._stored.skip(y0 - self._n_stored)
            self._n_stored = y0
        if y1 > self._n_stored:
            new = self._stored.read(y1 - self._n_stored)
            self._n_stored = y1
            pixels = new.pixels if kept is None else np.concatenate([kept.pixels, new.pixels])
            kept = Stored(pixels, new.bits, new.bayer, new.raw)
        assert kept is not None
        n_kept = min(len(kept.pixels), 2 * AROUND + 2)
        self._waiting = Stored(kept.pixels[len(kept.pixels) - n_kept :].copy(), kept.bits, kept.bayer, kept.raw)
        return _part(kept, 0, y1 - y0)


def _part(stored: Stored, y0: int, y1: int) -> Stored:
    return Stored(stored.pixels[y0:y1], stored.bits, stored.bayer, stored.raw)
