"""Pictures of what a run missed and of what it raised for nothing, drawn from the images of the data set.

  crop       marked       heat
+------+    +------+    +------+
|  ::  |    | (::) |    |  ##  |      as it is | the truth outlined, or the region's box | where heatmaps exist
+------+    +------+    +------+
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.progress import Step
from flawmap.inspect.report.display import Box, Picture, Pixels, shrink, shrink_keeping_peaks, to_picture, window_of
from flawmap.inspect.report.heat_scale import HeatScale
from flawmap.inspect.report.pictures import MARGIN_COLOUR, MARGIN_PX, PANEL_MAX_PX, box_with_context
from flawmap.inspect.run.heatmap_file import open_heatmap
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.reading import AS_THEY_ARE, Reading
from flawmap.tiling.strips.open_rows import open_rows, strip_size
from flawmap.tiling.strips.row_file import RowFile

ROWS_AT_ONCE = 256  # of a picture too large to be held as a whole
PANEL_WIDTH_PX = 384  # a smaller crop is enlarged, every pixel of it a square
MARK_COLOUR = (0, 230, 255)  # nothing in a grey or natural picture, nor in the heat scale, has it


@dataclass
class Exhibit:
    """One place in one image, and what the page says about it."""

    image: str  # its name in the tables
    path: Path
    mask: Path | None  # of the truth, where that is outlined; None: the box is
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
            _draw_image(path, [exhibit for _, exhibit in group], scale, folder)
        except ImageError:
            continue
        finally:
            step(group[0][1].image)
        for number, exhibit in group:
            name = f"{prefix}-{number:02}.png"  # no part of it comes from a file name
            write_image(folder / name, _strip(exhibit.panels))
            exhibit.picture = name
            exhibit.panels = []


def _draw_image(path: Path, exhibits: list[Exhibit], scale: HeatScale, folder: Path) -> None:
    """Puts the panels of all `exhibits` of one image into them; ImageError where a file is not what it was.

    `folder`: where a picture too large to be held as a whole lies while it is drawn.
    """
    with _opened(path, exhibits[0].reading, folder) as image:
        shape = image.shape[0], image.shape[1]
        window = window_of(image)
        boxes = [box_with_context(exhibit.box, *shape) for exhibit in exhibits]
        crops = []
        for exhibit, (y0, x0, y1, x1) in zip(exhibits, boxes, strict=True):
            if exhibit.box[2] > shape[0] or exhibit.box[3] > shape[1]:
                raise ImageError(path, "the image is smaller than when it was inspected")
            crops.append(enlarged(to_picture(shrink(image[y0:y1, x0:x1], PANEL_MAX_PX), window)))
    del image
    for exhibit, crop, mark in zip(exhibits, crops, _marks(exhibits, boxes, shape, folder), strict=True):
        exhibit.panels = [crop, outlined(crop, mark)]
    if exhibits[0].heatmap is not None:
        with open_heatmap(exhibits[0].heatmap, shape) as heatmap:
            for exhibit, box in zip(exhibits, boxes, strict=True):
                exhibit.panels.append(enlarged(scale.colours(_reduced(heatmap.box(*box)))))


@contextmanager
def _opened(path: Path, reading: Reading, folder: Path) -> Iterator[Pixels]:
    """The picture in `path`; one too large to be held as a whole lies in `folder` as long as it is needed."""
    if strip_size(path) is None:
        yield read_image(path, reading)
        return
    with open_rows(path, reading) as rows:
        channels = () if rows.channels == 1 else (rows.channels,)
        with RowFile(folder, (rows.height, rows.width, *channels), rows.dtype) as file:
            for _ in range(0, rows.height, ROWS_AT_ONCE):
                file.append(rows.read(ROWS_AT_ONCE))
            yield file


def _marks(exhibits: list[Exhibit], boxes: list[Box], shape: tuple[int, int], folder: Path) -> list[NDArray[np.bool_]]:
    """What to draw a line around, a pixel for each of its crop's: the truth in the crop, or the exhibit's box."""
    mask = exhibits[0].mask
    if mask is None:
        return [_reduced(_box_mark(exhibit.box, box)) > 0 for exhibit, box in zip(exhibits, boxes, strict=True)]
    with _opened(mask, AS_THEY_ARE, folder) as truth:
        if truth.shape[:2] != shape:
            raise ImageError(mask, f"is {truth.shape[:2]} px, its image {shape}")
        crops = [truth[y0:y1, x0:x1] for y0, x0, y1, x1 in boxes]
    raised = [(crop if crop.ndim == 2 else crop.max(axis=2)) > 0 for crop in crops]
    return [_reduced(mark.astype(np.float32)) > 0 for mark in raised]


def _box_mark(box: Box, crop: Box) -> NDArray[np.float32]:
    """1 inside of `box`, as large as `crop`."""
    mark = np.zeros((crop[2] - crop[0], crop[3] - crop[1]), np.float32)
    mark[box[0] - crop[0] : box[2] - crop[0], box[1] - crop[1] : box[3] - crop[1]] = 1
    return mark


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
