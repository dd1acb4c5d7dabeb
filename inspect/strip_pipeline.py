"""One picture too large to be held as a whole, in bands of rows from top to bottom; see `flawmap.inspect.pipeline`.

rows -> padded rows -> tiles of a few rows of the grid -> score -> stitch -> rows of the heatmap -> runs -> regions

The tiles are those of the whole picture's grid, a region's runs are kept across the joins, and so heatmap, regions and
severities are those of the whole picture, bit for bit. While a band is scored the next one is read.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.calibration.border_zones import lower_border
from flawmap.inspect.defects import DefectScan, Heatmap
from flawmap.inspect.looking import grid_of
from flawmap.inspect.pipeline import Outcome, Pipeline, check_image_kind
from flawmap.inspect.scoring.tile_loop import Stopwatch, TiledImage
from flawmap.tiling.errors import ImageError
from flawmap.tiling.physical_size import PixelSize
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.strips.grid_band import GridBand, bands_of
from flawmap.tiling.strips.padded_rows import PaddedRows, Rows
from flawmap.tiling.strips.row_file import RowFile
from flawmap.tiling.strips.whole_limit import too_large

Image = NDArray[Any]

# Px of the padded picture in a band of 1 byte a pixel, fewer where it takes more; unless one row of tiles has more.
BAND_PIXELS = 1 << 25


@dataclass(frozen=True)
class Band:
    """Rows `y0`..`y1` - 1 of a picture; the arrays are written over when the next band is asked for."""

    y0: int
    y1: int
    image: Image  # [y1 - y0, W] or [y1 - y0, W, C]
    heatmap: Heatmap
    reconstruction: Image


class StripFiles:
    """A strip's pixels, heatmap and reconstruction, kept on the disk for its pictures."""

    def __init__(self, folder: Path, rows: Rows) -> None:
        """`folder`: where there is room for 6 bytes a pixel (mono, 8 bits) to 28 (RGB, float). OSError."""
        shape = (rows.height, rows.width) if rows.channels == 1 else (rows.height, rows.width, rows.channels)
        self.image = RowFile(folder, shape, rows.dtype)
        self.heatmap = RowFile(folder, shape[:2], np.float32)
        self.reconstruction = RowFile(folder, shape, rows.dtype)

    def append(self, band: Band) -> None:
        """OSError for a full disk."""
        self.image.append(band.image)
        self.heatmap.append(band.heatmap)
        self.reconstruction.append(band.reconstruction)

    def __enter__(self) -> "StripFiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the room on the disk back."""
        for file in (self.image, self.heatmap, self.reconstruction):
            file.close()


class StripArrays:
    """A strip's heatmap and reconstruction in memory, for whoever wants them as arrays: 5 bytes a pixel of mono 8."""

    def __init__(self, rows: Rows) -> None:
        channels = () if rows.channels == 1 else (rows.channels,)
        self.heatmap: Heatmap = np.empty((rows.height, rows.width), np.float32)
        self.reconstruction: Image = np.empty((rows.height, rows.width, *channels), rows.dtype)

    def append(self, band: Band) -> None:
        """Keeps what a band shows; its pixels are the caller's already, in a file."""
        self.heatmap[band.y0 : band.y1] = band.heatmap
        self.reconstruction[band.y0 : band.y1] = band.reconstruction


class StripPipeline:
    """Inspects pictures of any height in memory that depends on their width alone; one at a time."""

    def __init__(self, pipeline: Pipeline, *, band_pixels: int | None = None) -> None:
        """`band_pixels`: instead of BAND_PIXELS; what is found does not depend on it."""
        self._pipeline = pipeline
        self._band_pixels = BAND_PIXELS if band_pixels is None else band_pixels

    def grid_bands(self, rows: Rows) -> list[GridBand]:
        """The bands in which `rows` are inspected."""
        grid = grid_of(self._pipeline.info, rows.height, rows.width)
        return list(bands_of(grid, self._band_pixels // (rows.channels * rows.dtype.itemsize)))

    def bands(self, rows: Rows, watch: Stopwatch | None = None) -> Iterator[Band]:
        """Scores `rows`, band by band. As the network scores them: the border is not lowered yet.

        Raises ImageError for a picture of another kind than the bundle's, for rows that cannot be read, and where the
        bundle needs whole pictures; ValueError for a score that is not finite.
        """
        info, watch = self._pipeline.info, watch or Stopwatch()
        if self._pipeline.needs_whole:
            raise ImageError("image", too_large((rows.height, rows.width), self._pipeline.needs_whole))
        check_image_kind(rows.read(0), info.image.channels, info.image.dtype)
        grid_bands = self.grid_bands(rows)
        padded_rows = PaddedRows(rows, grid_bands[0].grid)
        most = max(band.height for band in grid_bands)
        channels = () if rows.channels == 1 else (rows.channels,)
        heatmap = np.empty((most, rows.width), np.float32)
        reconstruction = np.empty((most, rows.width, *channels), rows.dtype)

        def read(band: GridBand) -> Image:
            with watch("decode"):
                return padded_rows.read(band.padded_y0, band.padded_y1)

        with ThreadPoolExecutor(1, thread_name_prefix="flawmap-rows") as pool:
            ahead = pool.submit(read, grid_bands[0])
            for number, band in enumerate(grid_bands):
                padded = ahead.result()
                if number + 1 < len(grid_bands):
                    ahead = pool.submit(read, grid_bands[number + 1])

                def tiled(band: GridBand = band, padded: Image = padded) -> TiledImage:
                    heatmap_of = Stitcher(band, heatmap[: band.height])
                    expected = reconstruction[: band.height]
                    reconstruction_of = Stitcher(band, expected, dtype=rows.dtype, channels=(*channels, None)[0])
                    return TiledImage(band, padded, None, heatmap_of, reconstruction_of, watch)

                done = self._pipeline.lanes.run(tiled)
                first, border = band.y0 + band.grid.border - band.padded_y0, band.grid.border
                shown = np.ascontiguousarray(padded[first : first + band.height, border : border + rows.width])
                yield Band(band.y0, band.y1, shown, done.heatmap.result(), done.reconstruction.result())

    def inspect(self, rows: Rows, files: StripFiles | StripArrays, stated: PixelSize | None = None) -> Outcome:
        """Everything the product says about `rows`; the arrays go into `files`, the border of the heatmap lowered.

        `stated`: what the picture's file says a pixel covers. Errors: as `bands` and `Pipeline.judge`, and OSError for
        a full disk.
        """
        thresholds = self._pipeline.sure_thresholds()
        watch = Stopwatch()
        scan = DefectScan(rows.width, thresholds)
        looking = self._pipeline.looking
        look = looking.drawn((rows.height, rows.width))
        for band in self.bands(rows, watch):
            with watch("regions"):
                lower_border(band.heatmap, thresholds.calibration.border, top=band.y0, height=rows.height)
                looking.scale_scores(band.heatmap, None if look is None else look[band.y0 : band.y1])
                scan.add(band.heatmap, (band.image, band.reconstruction))
            with watch("write"):
                files.append(band)
        return self._pipeline.decide(scan, watch, stated, pose=None, look=look)
