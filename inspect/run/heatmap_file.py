"""Reads back the heatmaps that `flawmap inspect --heatmaps` writes, in little more memory than what is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError

BYTES_AT_ONCE = 1 << 21  # of compressed tiles; by default tifffile holds up to 64 MiB of them beside the picture

Heatmap = NDArray[np.float32]

NOT_FINITE = "it holds a score that is no finite number"


def read_heatmap(path: Path, shape: tuple[int, int]) -> Heatmap:
    """float32 [H, W], -inf where nothing counted.

    ImageError where the file cannot be read, is damaged or is no heatmap of an image of `shape`.
    """
    with open_heatmap(path, shape) as file:
        return file.whole()


class HeatmapFile:
    """A heatmap on the disk, read tile by tile, -inf where nothing counted. What is damaged comes out as ImageError."""

    def __init__(self, path: Path, tiff: tifffile.TiffFile, shape: tuple[int, int]) -> None:
        self.path, self.shape = path, shape
        self._tiff, self._page = tiff, tiff.pages.first
        if self._page.shape != shape or self._page.dtype != np.float32 or not self._page.is_tiled:
            raise ImageError(
                path, f"it holds {self._page.shape} {self._page.dtype}, its image is {shape[1]}x{shape[0]} px"
            )

    def whole(self) -> Heatmap:
        """All of it, float32 [H, W]."""
        with _damage_named(self.path):
            scores = self._checked(np.asarray(self._page.asarray(buffersize=BYTES_AT_ONCE), np.float32))
        if scores.max() == -np.inf:  # an image of which nothing counts has no heatmap
            raise ImageError(self.path, NOT_FINITE)
        return scores

    def box(self, y0: int, x0: int, y1: int, x1: int) -> Heatmap:
        """The half-open box, which lies inside the heatmap, float32 [y1 - y0, x1 - x0]."""
        high, wide = self._page.tilelength, self._page.tilewidth
        columns = -(-self.shape[1] // wide)
        found = np.empty((y1 - y0, x1 - x0), np.float32)
        with _damage_named(self.path):
            for row in range(y0 // high, -(-y1 // high)):
                for column in range(x0 // wide, -(-x1 // wide)):
                    tile = self._tile(row * columns + column)
                    top, left = row * high, column * wide
                    below, right = max(top, y0), max(left, x0)
                    part = tile[below - top : y1 - top, right - left : x1 - left]
                    found[below - y0 : below - y0 + part.shape[0], right - x0 : right - x0 + part.shape[1]] = part
        return self._checked(found)

    def __getitem__(self, box: tuple[slice, slice]) -> Heatmap:
        """As of an array, for those who take either: `file[y0:y1, x0:x1]`."""
        (y0, y1, _), (x0, x1, _) = (part.indices(length) for part, length in zip(box, self.shape, strict=True))
        return self.box(y0, x0, y1, x1)

    def bands(self, rows: int) -> Iterator[Heatmap]:
        """The heatmap from top to bottom, in bands float32 [n, W] of `rows` rows; the last may have fewer."""
        for y in range(0, self.shape[0], rows):
            yield self.box(y, 0, min(y + rows, self.shape[0]), self.shape[1])

    def _tile(self, index: int) -> Heatmap:
        handle = self._tiff.filehandle
        handle.seek(self._page.dataoffsets[index])
        tile, _, _ = self._page.decode(handle.read(self._page.databytecounts[index]), index)
        if tile is None:
            raise ValueError(f"tile {index} is empty")
        return np.asarray(tile, np.float32)[0, :, :, 0]

    def _checked(self, scores: Heatmap) -> Heatmap:
        lowest, highest = scores.min(), scores.max()  # NaN comes out of both; -inf is what was not to be looked at
        if np.isnan(lowest) or highest == np.inf:
            raise ImageError(self.path, NOT_FINITE)
        return scores


@contextmanager
def open_heatmap(path: Path, shape: tuple[int, int]) -> Iterator[HeatmapFile]:
    """The heatmap in `path`; ImageError where it cannot be read or is no heatmap of an image of `shape`."""
    with _damage_named(path):
        tiff = tifffile.TiffFile(path)
    with tiff:
        with _damage_named(path):
            file = HeatmapFile(path, tiff, shape)
        yield file


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """On damaged data tifffile and its codecs raise anything."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(path, f"{type(error).__name__}: {error}") from error
