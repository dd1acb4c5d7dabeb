"""Pictures of what a run missed and of what it raised for nothing, drawn from the images of the data set.

  crop       marked       heat
+------+    +------+    +------+
|  ::  |    | (::) |    |  ##  |      as it is | the truth outlined, or the region's box | where heatmaps exist
+------+    +------+    +------+
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.heatmap_file import read_heatmap
from flawmap.inspect.progress import Step
from flawmap.inspect.report.display import Box, Image, Picture, shrink, shrink_keeping_peaks, to_picture, window_of
from flawmap.inspect.report.heat_scale import HeatScale
from flawmap.inspect.report.pictures import MARGIN_COLOUR, MARGIN_PX, PANEL_MAX_PX, box_with_context
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.reading import AS_THEY_ARE, Reading

PANEL_WIDTH_PX = 384  # a smaller crop is enlarged, every pixel of it a square
MARK_COLOUR = (0, 230, 255)  # nothing in a grey or natural picture, nor in the heat scale, has it


@dataclass
class Exhibit:
    """One place in one image, and what the page says about it."""

    image: str  # its name in the tables
    path: Path
    mask: Path | None  # of the truth; None: the box is drawn
    heatmap: Path | None
    box: Box
    facts: list[tuple[str, str]]  # what, how much
    reading: Reading = AS_THEY_ARE
    picture: str | None = None  # file name, once drawn
    panels: list[Picture] = field(default_factory=list, repr=False)


def draw_exhibits(folder: Path, prefix: str, exhibits: Sequence[Exhibit], scale: HeatScale, step: Step) -> None:
    """Writes `folder`/`prefix`-<number>.png for every exhibit whose image can be read, and notes the name in it.

    One image, mask or heatmap is in memory at a time. An image that has gone or changed leaves its exhibits without a
    picture. OSError where a file cannot be written.
    """
    by_image: dict[Path, list[tuple[int, Exhibit]]] = defaultdict(list)
    for number, exhibit in enumerate(exhibits, start=1):
        by_image[exhibit.path].append((number, exhibit))
    for path, group in by_image.items():
        try:
            _draw_image(path, [exhibit for _, exhibit in group], scale)
        except ImageError:
            continue
        finally:
            step(group[0][1].image)
        for number, exhibit in group:
            name = f"{prefix}-{number:02}.png"  # no part of it comes from a file name
            write_image(folder / name, _strip(exhibit.panels))
            exhibit.picture = name
            exhibit.panels = []


def _draw_image(path: Path, exhibits: list[Exhibit], scale: HeatScale) -> None:
    """Puts the panels of all `exhibits` of one image into them; ImageError where a file is not what it was."""
    image = read_image(path, exhibits[0].reading)
    shape = image.shape[:2]
    window = window_of(image)
    boxes = [box_with_context(exhibit.box, *shape) for exhibit in exhibits]
    crops = []
    for exhibit, (y0, x0, y1, x1) in zip(exhibits, boxes, strict=True):
        if exhibit.box[2] > shape[0] or exhibit.box[3] > shape[1]:
            raise ImageError(path, "the image is smaller than when it was inspected")
        crops.append(enlarged(to_picture(shrink(image[y0:y1, x0:x1], PANEL_MAX_PX), window)))
    del image
    marks = _marks(exhibits, boxes, shape)
    for exhibit, crop, mark in zip(exhibits, crops, marks, strict=True):
        exhibit.panels = [crop, outlined(crop, mark)]
    if exhibits[0].heatmap is not None:
        heatmap = read_heatmap(exhibits[0].heatmap, (shape[0], shape[1]))
        for exhibit, (y0, x0, y1, x1) in zip(exhibits, boxes, strict=True):
            exhibit.panels.append(enlarged(scale.colours(_reduced(heatmap[y0:y1, x0:x1]))))


def _marks(exhibits: list[Exhibit], boxes: list[Box], shape: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    """What to draw a line around, a pixel for each of its crop's: the truth in the crop, or the exhibit's box."""
    truth = _read_mask(exhibits[0].mask, shape) if exhibits[0].mask is not None else None
    marks = []
    for exhibit, (y0, x0, y1, x1) in zip(exhibits, boxes, strict=True):
        if truth is not None:
            crop = truth[y0:y1, x0:x1]
            mark = np.asarray((crop if crop.ndim == 2 else crop.max(axis=2)) > 0)
        else:
            mark = np.zeros((y1 - y0, x1 - x0), bool)
            mark[exhibit.box[0] - y0 : exhibit.box[2] - y0, exhibit.box[1] - x0 : exhibit.box[3] - x0] = True
        marks.append(_reduced(mark.astype(np.float32)) > 0)
    return marks


def outlined(picture: Picture, mark: NDArray[np.bool_]) -> Picture:
    """`picture`, a whole number of times as large as `mark` (bool [H, W]), with a line just outside of it."""
    factor = picture.shape[0] // mark.shape[0]
    large = mark.repeat(factor, axis=0).repeat(factor, axis=1).astype(np.uint8)
    gap = cv2.dilate(large, np.ones((3, 3), np.uint8))
    line = cv2.dilate(gap, np.ones((5, 5), np.uint8)) > gap
    result = picture.copy()
    result[line] = MARK_COLOUR
    return result


def enlarged(picture: Picture) -> Picture:
    """Every pixel a square, as often as its longer side fits into PANEL_WIDTH_PX."""
    factor = max(1, PANEL_WIDTH_PX // max(picture.shape[:2]))
    return np.ascontiguousarray(picture.repeat(factor, axis=0).repeat(factor, axis=1))


def _reduced(crop: NDArray[np.float32]) -> NDArray[np.float32]:
    """`crop` at the size that `shrink` gives an image, the largest value of each cell."""
    small = shrink(np.zeros(crop.shape, np.uint8), PANEL_MAX_PX).shape
    return shrink_keeping_peaks(crop, small[0], small[1])


def _strip(panels: list[Picture]) -> Picture:
    """Panels of one size side by side, MARGIN_PX around each."""
    height, width = panels[0].shape[:2]
    strip = np.full((height + 2 * MARGIN_PX, len(panels) * (width + MARGIN_PX) + MARGIN_PX, 3), MARGIN_COLOUR, np.uint8)
    for column, panel in enumerate(panels):
        left = MARGIN_PX + column * (width + MARGIN_PX)
        strip[MARGIN_PX : MARGIN_PX + height, left : left + width] = panel
    return strip


def _read_mask(path: Path, shape: tuple[int, ...]) -> Image:
    """[H, W] or [H, W, 3]; ImageError unless it has the size of its image."""
    pixels = read_image(path)
    if pixels.shape[:2] != tuple(shape):
        raise ImageError(path, f"is {pixels.shape[:2]} px, its image {tuple(shape)}")
    return pixels
