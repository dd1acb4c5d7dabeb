"""Any image as eyes and browsers take it: RGB, 8 bits a channel.

An 8-bit image is shown as it is, to the last grey level. A 16-bit or float image has no shown range of its own (a
12-bit camera fills a sixteenth of uint16), so black and white are set by the image as a whole: the 0.5 and 99.5
percentiles of its pixels, a tenth of their distance added at either end, so that a defect a little brighter than
everything else is still seen brighter.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.shrink import area_means
from flawmap.tiling.strips.row_file import RowFile

Image = NDArray[Any]
Pixels = Image | RowFile  # in memory, or a part of it at a time
Picture = NDArray[np.uint8]  # RGB [H, W, 3]
Box = tuple[int, int, int, int]  # half-open (y0, x0, y1, x1) in the image

# As many pixels as place a 0.5 percentile well; sorting 26 million would cost more than all the rest.
SAMPLES = 65_536
PERCENTILES = (0.5, 99.5)
HEADROOM = 0.1
PIXELS_AT_ONCE = 1 << 25  # looked at: an image may lie on the disk and be larger than memory


@dataclass(frozen=True)
class Window:
    """The values shown as black and as white."""

    black: float
    white: float


def window_of(image: Pixels) -> Window:
    """The window for an image [H, W] or [H, W, C] of uint8, uint16 or float32, from an even sample of its pixels."""
    if image.dtype == np.uint8:
        return Window(0.0, 255.0)
    height, width = image.shape[:2]
    # An odd step through the rows laid end to end: an even one would meet a woven or printed pattern at the same phase.
    step = (height * width // SAMPLES) | 1
    rows = max(1, PIXELS_AT_ONCE // width)
    samples = [
        image[y : y + rows, :].reshape(min(rows, height - y) * width, -1)[-y * width % step :: step]
        for y in range(0, height, rows)
    ]
    low, high = (float(value) for value in np.percentile(np.concatenate(samples), PERCENTILES))
    margin = HEADROOM * (high - low)
    return Window(low - margin, high + margin)


def to_8_bit(image: Image, window: Window) -> NDArray[np.uint8]:
    """uint8 [H, W] or [H, W, 3] of an image [H, W] or [H, W, C]; uint8 passes unchanged; a flat window gives mid-grey.

    A picture in two, four or more lights is shown as their mean.
    """
    if image.ndim == 3 and image.shape[2] != 3:
        image = _mean_light(image)
    shown: NDArray[np.uint8] = image
    if image.dtype != np.uint8:
        span = window.white - window.black
        if span > 0:
            scaled = (image.astype(np.float32) - window.black) * (255.0 / span)
            shown = np.clip(scaled + 0.5, 0, 255).astype(np.uint8)
        else:
            shown = np.full(image.shape, 128, np.uint8)
    return shown


def to_picture(image: Image, window: Window) -> Picture:
    """RGB uint8 [H, W, 3] of an image [H, W] or [H, W, C], by `to_8_bit`."""
    shown = to_8_bit(image, window)
    colour = cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB) if shown.ndim == 2 else shown
    return np.ascontiguousarray(colour, np.uint8)


def _mean_light(image: Image) -> Image:
    mean = image.mean(axis=2, dtype=np.float32)
    return np.asarray(np.rint(mean) if image.dtype.kind == "u" else mean, image.dtype)


def shrink(image: Image, limit: int) -> Image:
    """`image` averaged down until its longer side is at most `limit` px; a smaller one is returned as it is.

    Halved first, as often as that leaves enough: averaging 2x2 is several times quicker than any other factor.
    """
    longest = max(image.shape[:2])
    if longest <= limit:
        return image
    size = _size(image, limit / longest)
    while max(image.shape[:2]) >= 2 * limit:
        image = area_means(image, *_size(image, 0.5))
    return area_means(image, *size)


def shrink_box(image: Pixels, box: Box, limit: int) -> Image:
    """`shrink` of the box of `image`; one of more than PIXELS_AT_ONCE is averaged in bands of rows first."""
    y0, x0, y1, x1 = box
    height, width = y1 - y0, x1 - x0
    factor = max(height, width) // (2 * limit)
    if height * width <= PIXELS_AT_ONCE or factor < 2:
        return shrink(image[y0:y1, x0:x1], limit)
    rows = max(1, PIXELS_AT_ONCE // width // factor) * factor
    shrunk = []
    for y in range(y0, y1, rows):
        band = image[y : min(y + rows, y1), x0:x1]
        shrunk.append(area_means(band, *_size(band, 1 / factor)))
    return shrink(np.concatenate(shrunk), limit)


def shrink_peaks_of_box(scores: Pixels, box: Box, height: int, width: int) -> NDArray[np.float32]:
    """`shrink_keeping_peaks` of the box of `scores`, some rows of the result at a time."""
    y0, x0, y1, x1 = box
    columns = np.arange(width) * (x1 - x0) // width
    edges = y0 + np.arange(height + 1) * (y1 - y0) // height
    step = max(1, int(PIXELS_AT_ONCE * height / (y1 - y0) / (x1 - x0)))
    bands = []
    for first in range(0, height, step):
        end = min(first + step, height)
        starts = edges[first:end]
        band = scores[starts[0] : edges[end], x0:x1]
        bands.append(np.maximum.reduceat(np.maximum.reduceat(band, starts - starts[0], axis=0), columns, axis=1))
    highest: NDArray[np.float32] = np.concatenate(bands)
    return highest


def shrink_keeping_peaks(scores: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Scores [H, W] at a smaller size [height, width]: the largest of each cell; an average would erase dots."""
    return shrink_peaks_of_box(scores, (0, 0, *scores.shape), height, width)


def _size(image: Image, factor: float) -> tuple[int, int]:
    """(height, width), at least one pixel."""
    return max(1, round(image.shape[0] * factor)), max(1, round(image.shape[1] * factor))
