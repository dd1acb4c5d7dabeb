"""A whole picture at full resolution, and its heat, as tiles: a browser loads those it shows, in the size it shows.

    zoom/<name>/picture-<level>-<column>-<row>.jpg     the picture, as a person sees it
    zoom/<name>/heat-<level>-<column>-<row>.png        its scores, transparent where nothing is unusual

The last level is the image pixel for pixel; each one before it is half as wide and high, the first is one tile. It is
the pyramid of Deep Zoom (https://openseadragon.github.io/examples/tilesource-dzi/) without the levels smaller than a
tile. Heat tiles in which nothing can be seen are left out: a good part has none, and costs no time and no disk.

Halving averages the picture but keeps the largest score, or a 5x5 px dot would fade as one zooms out.
"""

import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from flawmap.inspect.report.display import Pixels, Window, to_8_bit
from flawmap.inspect.report.heat_scale import INFERNO, REVIEW_PLACE, HeatScale
from flawmap.inspect.report.overview import DIMMED
from flawmap.inspect.run.layout import zoom_folder
from flawmap.tiling.images import write_image
from flawmap.tiling.look_map import Look
from flawmap.tiling.whole_file import write_whole

Places = NDArray[np.uint8]  # place on the heat scale, 0..255
Picture8 = NDArray[np.uint8]  # [H, W] or [H, W, 3]
HeatTiles = dict[int, Places]  # of one row, by column; those in which something is to be seen
File = Callable[[], None]  # writes it

TILE_PX = 1280  # a 5120x5120 image is 21 files; larger tiles keep a browser waiting, smaller ones a disk
OVERLAP_PX = 1  # of neighbouring tiles of the picture, or a browser that scales them shows the seams
JPEG_QUALITY = 85
WAITING_MAX = 64  # files: an image may be larger than memory
HEAT_TILE = re.compile(r"heat-([0-9]+-[0-9]+-[0-9]+)\.png")
VISIBLE_PLACE = 0.15  # on the heat scale: half way from nothing to REVIEW, heat begins to show
OPAQUE_PLACE = REVIEW_PLACE
# Colour and opacity by place: the very colours of the heat scale, so that the file needs one byte a pixel.
_PALETTE = INFERNO.tobytes()
_OPACITY = np.rint(
    255 * np.clip((np.arange(256) / 255 - VISIBLE_PLACE) / (OPAQUE_PLACE - VISIBLE_PLACE), 0, 1)
).astype(np.uint8).tobytes()  # fmt: skip


@dataclass(frozen=True)
class Pyramid:
    """The levels over an image [height, width], both at least 1 px."""

    height: int
    width: int

    @property
    def n_levels(self) -> int:
        """As many as it takes until one tile holds the picture."""
        levels, longest = 1, max(self.height, self.width)
        while longest > TILE_PX:
            levels, longest = levels + 1, -(-longest // 2)
        return levels

    def size(self, level: int) -> tuple[int, int]:
        """Height and width of `level`, halved and rounded up for every level below the last."""
        factor = 1 << (self.n_levels - 1 - level)
        return -(-self.height // factor), -(-self.width // factor)

    def columns(self, level: int, overlap: int) -> Iterator[tuple[int, slice]]:
        """(column, px) of the tiles in every row of `level`, each reaching `overlap` px into its neighbours."""
        _, width = self.size(level)
        for column, x in enumerate(range(0, width, TILE_PX)):
            yield column, slice(max(0, x - overlap), min(width, x + TILE_PX + overlap))


def write_deep_zoom(
    run_dir: Path,
    name: str,
    image: Pixels,
    heatmap: Pixels,
    window: Window,
    scale: HeatScale,
    pool: Executor,
    look: Look | None = None,
) -> None:
    """Writes `zoom/<name>/`: `image` [H, W] or [H, W, C] (uint8, uint16, float32) and `heatmap` float32 [H, W]. What
    `look` (uint8 [H, W]) leaves out is dimmed.

    Both are gone through once, TILE_PX rows at a time, so they may be files of rows larger than memory. Files are
    encoded and written by `pool`, and safe when this returns. OSError where one cannot be written.
    """
    folder = run_dir / zoom_folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    height, width = image.shape[:2]
    pyramid = Pyramid(height, width)
    picture, heat = _PictureLevel(folder, pyramid), _HeatLevel(folder, pyramid)
    waiting: deque[Future[None]] = deque()
    for y in range(0, height, TILE_PX):
        band = slice(y, min(y + TILE_PX, height))
        shown = to_8_bit(image[band, 0:width], window)
        files = picture.push(shown if look is None else _dimmed(shown, look[band]))
        files += heat.push(hot_tiles(heatmap[band, 0:width], scale))
        waiting.extend(pool.submit(file) for file in files)
        while len(waiting) > WAITING_MAX:
            waiting.popleft().result()
    waiting.extend(pool.submit(file) for file in (*picture.end(), *heat.end()))
    for file in waiting:
        file.result()


class _PictureLevel:
    """One level of the picture: takes bands of TILE_PX rows, hands their tiles out to be written, halves two to one.

    A band waits until the next one is there, into which its tiles reach.
    """

    def __init__(self, folder: Path, pyramid: Pyramid, level: int | None = None) -> None:
        self.folder, self.pyramid = folder, pyramid
        self.level = pyramid.n_levels - 1 if level is None else level
        self.smaller = _PictureLevel(folder, pyramid, self.level - 1) if self.level else None
        self.row = 0  # of the band that waits
        self.band: Picture8 | None = None
        self.above: Picture8 | None = None  # the last rows before it
        self.unpaired: Picture8 | None = None

    def push(self, band: Picture8) -> list[File]:
        files = self._tiles(band[:OVERLAP_PX])
        self.band = band
        if self.smaller is None:
            return files
        if self.unpaired is None:
            self.unpaired = band
            return files
        pair, self.unpaired = np.concatenate((self.unpaired, band)), None
        return files + self.smaller.push(_averaged(pair))

    def end(self) -> list[File]:
        files = self._tiles(None)
        if self.smaller is None:
            return files
        if self.unpaired is not None:
            files += self.smaller.push(_averaged(self.unpaired))
        return files + self.smaller.end()

    def _tiles(self, below: Picture8 | None) -> list[File]:
        """The tiles of the band that waits, if one does; it is done with then."""
        if self.band is None:
            return []
        rows = np.concatenate([part for part in (self.above, self.band, below) if part is not None])
        files: list[File] = []
        for column, columns in self.pyramid.columns(self.level, OVERLAP_PX):
            path = self.folder / f"picture-{self.level}-{column}-{self.row}.jpg"
            files.append(partial(write_image, path, rows[:, columns], jpeg_quality=JPEG_QUALITY))
        self.above, self.row = self.band[-OVERLAP_PX:], self.row + 1
        return files


class _HeatLevel:
    """One level of the heat: takes the tiles of a row that have any, hands them out, and joins two rows to one."""

    def __init__(self, folder: Path, pyramid: Pyramid, level: int | None = None) -> None:
        self.folder, self.pyramid = folder, pyramid
        self.level = pyramid.n_levels - 1 if level is None else level
        self.smaller = _HeatLevel(folder, pyramid, self.level - 1) if self.level else None
        self.row = 0
        self.unpaired: HeatTiles | None = None

    def push(self, tiles: HeatTiles) -> list[File]:
        files: list[File] = [
            partial(_write_heat, self.folder / f"heat-{self.level}-{column}-{self.row}.png", places)
            for column, places in tiles.items()
        ]
        self.row += 1
        if self.smaller is None:
            return files
        if self.unpaired is None:
            self.unpaired = tiles
            return files
        upper, self.unpaired = self.unpaired, None
        return files + self.smaller.push(self.smaller.joined(upper, tiles))

    def end(self) -> list[File]:
        if self.smaller is None:
            return []
        last = [] if self.unpaired is None else self.smaller.push(self.smaller.joined(self.unpaired, {}))
        return last + self.smaller.end()

    def joined(self, upper: HeatTiles, lower: HeatTiles) -> HeatTiles:
        """The next row of this level, from two of the next larger one."""
        height = self.pyramid.size(self.level)[0]
        high = min(TILE_PX, height - self.row * TILE_PX)
        row: HeatTiles = {}
        for top, tiles in ((0, upper), (TILE_PX // 2, lower)):
            for column, places in tiles.items():
                half, left = _largest_of_four(places), column % 2 * TILE_PX // 2
                if column // 2 not in row:
                    columns = dict(self.pyramid.columns(self.level, 0))[column // 2]
                    row[column // 2] = np.zeros((high, columns.stop - columns.start), np.uint8)
                row[column // 2][top : top + half.shape[0], left : left + half.shape[1]] = half
        return row


def hot_tiles(scores: NDArray[np.float32], scale: HeatScale) -> HeatTiles:
    """Those of a band of TILE_PX rows [h, W] in which something is to be seen."""
    parts = {x // TILE_PX: heat_places(scores[:, x : x + TILE_PX], scale) for x in range(0, scores.shape[1], TILE_PX)}
    return {column: places for column, places in parts.items() if places is not None}


def heat_places(scores: NDArray[np.float32], scale: HeatScale) -> Places | None:
    """Places on the heat scale of scores [H, W], 0 where nothing is to be seen; None where that is everywhere."""
    dark, review = scale.anchors[:2]
    seen = scores > np.float32(dark + (review - dark) * VISIBLE_PLACE / REVIEW_PLACE)
    if not seen.any():
        return None
    places = np.zeros(scores.shape, np.uint8)
    # Few pixels are seen, as a rule: only they are worth the arithmetic.
    places[seen] = np.rint(scale.place(scores[seen]) * 255).astype(np.uint8)
    return places


def _dimmed(band: Picture8, look: Look) -> Picture8:
    dark = band.copy()
    dark[look == 0] //= DIMMED
    return dark


def _averaged(band: Picture8) -> Picture8:
    """[H, W] or [H, W, 3] at half its size, rounded up."""
    size = -(-band.shape[1] // 2), -(-band.shape[0] // 2)
    return cv2.resize(band, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _largest_of_four(places: Places) -> Places:
    """[H, W] to [ceil(H/2), ceil(W/2)]."""
    padded = np.pad(places, ((0, places.shape[0] % 2), (0, places.shape[1] % 2)))
    rows = np.maximum(padded[0::2], padded[1::2])
    return np.maximum(rows[:, 0::2], rows[:, 1::2])


def _write_heat(path: Path, places: Places) -> None:
    picture = PillowImage.fromarray(places)
    picture.putpalette(_PALETTE)
    with write_whole(path) as temporary:
        picture.save(temporary, format="PNG", transparency=_OPACITY, compress_level=1)
