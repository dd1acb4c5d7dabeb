"""The pictures of one inspected image, drawn while its pixels are at hand: an overview, a strip for each region, and
the whole picture in tiles (deep_zoom.py).

A strip shows one box of the image three times, side by side, in the image's own pixels:

      crop        heat    reconstruction
    +------+    +------+    +------+
    |  ::  |    |  ##  |    |      |      what is there | how unusual it is | what the network expected there
    +------+    +------+    +------+

Nothing is drawn over a pixel of a panel: bars in the dark margin around it point at the region's rows and columns.
Panels are not enlarged here: the page does that, and the files take a quarter of the space and a third of the time.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from flawmap.inspect.report.deep_zoom import write_deep_zoom
from flawmap.inspect.report.display import (
    Box,
    Image,
    Picture,
    Pixels,
    Window,
    shrink_box,
    shrink_peaks_of_box,
    to_picture,
    window_of,
)
from flawmap.inspect.report.heat_scale import HeatScale
from flawmap.inspect.report.overview import VERDICT_COLOURS, draw_overview
from flawmap.inspect.run.layout import heatmap_path
from flawmap.inspect.run.records import RegionRecord
from flawmap.tiling.images import write_image
from flawmap.tiling.look_map import Look
from flawmap.tiling.whole_file import write_whole

FOLDER = "overlays"
PANEL_MIN_PX = 128  # of the image, each way: a dot alone says nothing, its surroundings say what it lies on
PANEL_MAX_PX = 512  # of the strip; a larger crop is shrunk to it
CONTEXT_PX = 24  # around the region, each way
WRITERS = 4  # threads
HEATMAP_TILE_PX = 512
MARGIN_PX = 8
BAR_PX = 2
MARGIN_COLOUR = (24, 27, 31)


def write_pictures(
    run_dir: Path,
    name: str,
    image: Pixels,
    heatmap: Pixels,
    reconstruction: Pixels,
    regions: list[RegionRecord],
    *,
    review: float,
    ng: float,
    max_regions: int = 24,
    zoom: bool = True,
    look: Look | None = None,
) -> tuple[str | None, list[str | None]]:
    """Writes `overlays/<name>.jpg` and, for the first `max_regions` regions, `overlays/<name>-<region>.png` or `.jpg`,
    and with `zoom` the tiles of `zoom/<name>/`.

    `image` and `reconstruction` are [H, W] or [H, W, C] of one dtype (uint8, uint16, float32), `heatmap` is float32
    [H, W], arrays or files of rows; `review` and `ng` are scores, `name` is a safe file stem, unique in the run; `look`
    (uint8 [H, W]) tells what of the image counted, all of it where it is None.

    Returns the paths relative to `run_dir`, with forward slashes: the overview's, and one for each of `regions` in
    their order, None where none was drawn. A strip is PNG while its pixels are the image's own, JPEG once shrunk.

    Errors: OSError where a file cannot be written.
    """
    window, scale = window_of(image), HeatScale(review, ng)
    overview = f"{FOLDER}/{name}.jpg"
    (run_dir / overview).parent.mkdir(parents=True, exist_ok=True)

    def write_strip(region: RegionRecord) -> str:
        strip, shrunk = draw_strip(image, heatmap, reconstruction, region, window, scale)
        picture = f"{FOLDER}/{name}-{region.region}.{'jpg' if shrunk else 'png'}"
        write_image(run_dir / picture, strip, jpeg_quality=90)
        return picture

    def write_overview() -> None:
        drawn = draw_overview(image, window, regions, max_numbered=max_regions, look=look)
        write_image(run_dir / overview, drawn, jpeg_quality=85)

    # Most of the time goes into waiting until each file is safe on the disk: wait for several at once.
    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        overviewed = pool.submit(write_overview)
        waiting = pool.map(write_strip, regions[:max_regions])
        if zoom:
            write_deep_zoom(run_dir, name, image, heatmap, window, scale, pool, look)
        pictures = list(waiting)
        overviewed.result()
    return overview, [*pictures, *[None] * (len(regions) - len(pictures))]


def write_heatmap(run_dir: Path, name: str, heatmap: Pixels) -> str:
    """Writes the scores of a whole image, float32 [H, W], as `overlays/<name>-heatmap.tif` and returns that path.

    Tiled float32 TIFF, deflate with the floating-point predictor, which tifffile reads and Bio-Formats does not: for
    Fiji and QuPath there is `flawmap convert --to ome-tiff`. Scores are rounded to 12 significant bits (one part in
    8192 at most), which nobody sees and which halves the file.
    """
    path = heatmap_path(name)
    (run_dir / path).parent.mkdir(parents=True, exist_ok=True)
    with write_whole(run_dir / path) as temporary:
        tifffile.imwrite(
            temporary,
            _heatmap_tiles(heatmap),
            shape=heatmap.shape,
            dtype=np.float32,
            tile=(HEATMAP_TILE_PX, HEATMAP_TILE_PX),
            compression="zlib",
            compressionargs={"level": 1},
            predictor=3,
            photometric="minisblack",
            metadata=None,
            maxworkers=WRITERS,
        )
    return path


def _heatmap_tiles(heatmap: Pixels) -> Iterator[NDArray[np.float32]]:
    """Rounded scores, tile by tile and row by row; what of the last ones lies beyond the heatmap is 0."""
    height, width = heatmap.shape
    for y in range(0, height, HEATMAP_TILE_PX):
        bits = np.ascontiguousarray(heatmap[y : y + HEATMAP_TILE_PX, 0:width], np.float32).view(np.uint32)
        rounded = ((bits + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)
        for x in range(0, width, HEATMAP_TILE_PX):
            tile = np.zeros((HEATMAP_TILE_PX, HEATMAP_TILE_PX), np.float32)
            part = rounded[:, x : x + HEATMAP_TILE_PX]
            tile[: part.shape[0], : part.shape[1]] = part
            yield tile


def crop_box(region: RegionRecord, height: int, width: int) -> Box:
    """The part of an image [height, width] that a region's strip shows.

    The region and its context, at least PANEL_MIN_PX each way, moved rather than cut at the border; the whole image
    where that is smaller.
    """
    return box_with_context((region.y_min, region.x_min, region.y_max, region.x_max), height, width)


def box_with_context(box: Box, height: int, width: int) -> Box:
    """`crop_box` of any box."""
    (y0, y1), (x0, x1) = _span(box[0], box[2], height), _span(box[1], box[3], width)
    return y0, x0, y1, x1


def _span(start: int, stop: int, length: int) -> tuple[int, int]:
    """One axis of `box_with_context`."""
    wanted = min(max(stop - start + 2 * CONTEXT_PX, PANEL_MIN_PX), length)
    first = min(max((start + stop - wanted) // 2, 0), length - wanted)
    return first, first + wanted


def strip_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of a strip of three panels [height, width]."""
    return height + 2 * MARGIN_PX, 3 * width + 4 * MARGIN_PX


def draw_strip(
    image: Pixels,
    heatmap: Pixels,
    reconstruction: Pixels,
    region: RegionRecord,
    window: Window,
    scale: HeatScale,
) -> tuple[Picture, bool]:
    """Crop, heat and reconstruction of one region, MARGIN_PX around each; True where they had to be shrunk."""
    box = crop_box(region, *image.shape[:2])
    y0, x0, y1, x1 = box
    crop, expected = (shrink_box(pixels, box, PANEL_MAX_PX) for pixels in (image, reconstruction))
    height, width = crop.shape[:2]
    crop, expected = in_telling_light(crop, expected, _place(region, box, height, width))
    panels = [
        to_picture(crop, window),
        scale.colours(shrink_peaks_of_box(heatmap, box, height, width)),
        to_picture(expected, window),
    ]
    strip = np.full((*strip_size(height, width), 3), MARGIN_COLOUR, np.uint8)
    for column, panel in enumerate(panels):
        left = MARGIN_PX + column * (width + MARGIN_PX)
        strip[MARGIN_PX : MARGIN_PX + height, left : left + width] = panel
        _point_at(strip, left, height, width, box, region)
    return strip, max(y1 - y0, x1 - x0) > PANEL_MAX_PX


def in_telling_light(crop: Image, expected: Image, place: Box) -> tuple[Image, Image]:
    """Both, of a picture in several lights [H, W, C] in that one in which they differ most at `place`: [H, W].

    The mean of all would hide what one of them shows. Mono and RGB stay as they are.
    """
    if crop.ndim == 2 or crop.shape[2] == 3:
        return crop, expected
    inside = np.s_[place[0] : place[2], place[1] : place[3]]
    change = np.abs(crop[inside].astype(np.float32) - expected[inside])
    light = int(change.max(axis=(0, 1)).argmax())
    return crop[..., light], expected[..., light]


def _place(region: RegionRecord, box: Box, height: int, width: int) -> Box:
    """Where `region` lies in the crop [height, width] of `box`, at least one pixel."""
    y0, x0, y1, x1 = box
    down, across = height / (y1 - y0), width / (x1 - x0)
    top, left = int((region.y_min - y0) * down), int((region.x_min - x0) * across)
    return (
        min(top, height - 1),
        min(left, width - 1),
        min(max(math.ceil((region.y_max - y0) * down), top + 1), height),
        min(max(math.ceil((region.x_max - x0) * across), left + 1), width),
    )


def _point_at(strip: Picture, left: int, height: int, width: int, box: Box, region: RegionRecord) -> None:
    """Bars beside the panel at `left`, as long as the region is high and wide, in the colour of its verdict."""
    y0, x0, y1, x1 = box
    colour = VERDICT_COLOURS[region.verdict]
    top, bottom = _bar(region.y_min - y0, region.y_max - y0, height / (y1 - y0), MARGIN_PX)
    start, stop = _bar(region.x_min - x0, region.x_max - x0, width / (x1 - x0), left)
    gap = 1
    for edge in (MARGIN_PX - gap - BAR_PX, MARGIN_PX + height + gap):
        strip[edge : edge + BAR_PX, start:stop] = colour
    for edge in (left - gap - BAR_PX, left + width + gap):
        strip[top:bottom, edge : edge + BAR_PX] = colour


def _bar(start: int, stop: int, factor: float, origin: int) -> tuple[int, int]:
    """A stretch of the panel in the strip, at least 2 px long."""
    first, last = origin + round(start * factor), origin + round(stop * factor)
    middle = (first + last) // 2
    return min(first, middle - 1), max(last, middle + 1)
