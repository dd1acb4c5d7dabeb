"""Zones along the picture's border, scored so that they show false regions as rarely as the inside does.

A picture's edge is where good images differ most: the part ends there or is cut off, light falls away, the network sees
its surroundings mirrored. On magnetic tiles the highest score of a good picture lay within 8 px of its border in 10 of
12 looked at, and one threshold for all let nothing else through. So scores near the border are standardised once more,
by what calibration images show at that distance, and only ever lowered.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.export.calibration_record import BorderZone

Heatmap = NDArray[np.float32]

DISTANCES = (3, 8, 16, 32)  # px from the border at which a zone ends; the rest is the inside
BLOCK = 16  # px: the highest score of a block is a peak
BAND = 16 * BLOCK  # rows looked at at a time: a copy of a whole heatmap a zone would double what inspection takes
TAIL_PEAKS = 60  # of a zone, the highest, tell how fast its peaks fall off
TAIL_SHARE = 0.25  # of a zone's peaks at most
FEWEST_PEAKS = 20  # of the tail: a zone with fewer is left as it is


@dataclass(frozen=True)
class ZonePeaks:
    """Peaks of one heatmap in every zone, the inside last, and how many pixels each zone has."""

    peaks: list[NDArray[np.float32]]
    n_pixels: list[int]

    @classmethod
    def of(cls, heatmap: Heatmap) -> "ZonePeaks":
        """`heatmap` is float32 [H, W]; the last few px of a side that fill no block are not looked at."""
        scan = ZoneScan(heatmap.shape)
        scan.add(heatmap)
        return scan.result()


class ZoneScan:
    """`ZonePeaks.of` a heatmap that comes in bands of rows, from top to bottom."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        """`shape`: of the whole heatmap."""
        self._shape = shape
        self._peaks: list[list[NDArray[np.float32]]] = [[] for _ in _bounds()]
        self._n_pixels = [0 for _ in _bounds()]
        self._top = 0  # of the rows in `_waiting`
        self._waiting = np.empty((0, shape[1]), np.float32)

    def add(self, band: Heatmap) -> None:
        """The next rows, float32 [n, W]; -inf where nothing counts."""
        if len(self._waiting):  # fill up what began in the band before
            missing = BAND - len(self._waiting)
            self._waiting, band = np.concatenate([self._waiting, band[:missing]]), band[missing:]
            if len(self._waiting) == BAND:
                self._look_at(self._waiting)
                self._waiting = self._waiting[:0]
        whole = len(band) // BAND * BAND
        for first in range(0, whole, BAND):
            self._look_at(band[first : first + BAND])
        if len(band) > whole:
            self._waiting = band[whole:].copy()  # the caller may write over his

    def result(self) -> ZonePeaks:
        """After the last band."""
        if len(self._waiting):
            self._look_at(self._waiting)
            self._waiting = self._waiting[:0]
        return ZonePeaks([np.concatenate(zone) for zone in self._peaks], self._n_pixels)

    def _look_at(self, rows: Heatmap) -> None:
        if self._top > max(0, self._shape[0] - BLOCK):  # too few rows are left to fill a block
            return
        distance = border_distance(self._shape, slice(self._top, self._top + BAND))
        for k, (low, high) in enumerate(_bounds()):
            inside = (distance >= low) & (distance < high)
            self._peaks[k].append(_block_peaks(np.where(inside, rows, np.float32(-np.inf))))
            self._n_pixels[k] += int(np.count_nonzero(inside & (rows > -np.inf)))
        self._top += BAND


def measure_zones(images: list[ZonePeaks]) -> list[BorderZone]:
    """How scores of each zone are lowered; zones that need not be, or of which too little is known, are left out."""
    tails = []
    for k in range(len(DISTANCES) + 1):
        peaks = np.sort(np.concatenate([image.peaks[k] for image in images]).astype(np.float64))[::-1]
        tails.append(_tail(peaks, sum(image.n_pixels[k] for image in images) / 1e6))
    inside = tails[-1]
    zones = []
    for (low, high), tail in zip(_bounds(), tails[:-1], strict=False):
        if inside is None or tail is None:
            continue
        factor = min(1.0, inside.scale / tail.scale)
        offset = inside.location - factor * tail.location
        # By e times more peaks at least: less may be chance.
        if tail.location - inside.location > inside.scale:
            zones.append(BorderZone(from_px=low, to_px=high, factor=factor, offset=offset))
    return zones


def lower_border(heatmap: Heatmap, zones: list[BorderZone], *, top: int = 0, height: int | None = None) -> None:
    """Lowers the scores of `heatmap` (float32 [H, W], changed in place) in `zones`; none is raised.

    `heatmap` may be a band: the rows from `top` on of a heatmap that is `height` px high.
    """
    rows, width = heatmap.shape
    for zone in zones:
        for y0, x0, y1, x1 in _frame(rows if height is None else height, width, zone.from_px, zone.to_px):
            part = heatmap[max(0, y0 - top) : max(0, y1 - top), x0:x1]
            np.minimum(part, part * np.float32(zone.factor) + np.float32(zone.offset), out=part)


def lowered(scores: NDArray[np.float32], distances: NDArray[np.int32], zones: list[BorderZone]) -> NDArray[np.float32]:
    """What `lower_border` makes of single `scores`, float32 [n], that many px away from the border."""
    result = scores.copy()
    for zone in zones:
        inside = (distances >= zone.from_px) & (distances < zone.to_px)
        part = result[inside]
        result[inside] = np.minimum(part, part * np.float32(zone.factor) + np.float32(zone.offset))
    return result


def border_distance(shape: tuple[int, ...], rows: slice = slice(None)) -> NDArray[np.int32]:
    """Distance in px of every pixel of `rows` from the nearest side, 0 at the border; int32 [H of `rows`, W]."""
    y, x = (np.minimum(np.arange(n), np.arange(n)[::-1]).astype(np.int32) for n in shape[:2])
    return np.minimum(y[rows, None], x[None, :])


@dataclass(frozen=True)
class _Tail:
    location: float  # score that peaks reach once a megapixel
    scale: float  # mean excess: by so much higher, e times rarer


def _tail(descending: NDArray[np.float64], megapixels: float) -> _Tail | None:
    n_tail = min(TAIL_PEAKS, int(len(descending) * TAIL_SHARE))
    if n_tail < FEWEST_PEAKS:
        return None
    threshold = descending[n_tail]
    scale = max(float(descending[:n_tail].mean() - threshold), 1e-3)
    return _Tail(threshold + scale * math.log(n_tail / megapixels), scale)


def _bounds() -> Iterator[tuple[int, int]]:
    """(from, to) of every zone, the inside last."""
    return zip((0, *DISTANCES), (*DISTANCES, 1 << 30), strict=True)


def _block_peaks(heatmap: Heatmap) -> NDArray[np.float32]:
    rows, columns = (min(BLOCK, n) for n in heatmap.shape)
    n_y, n_x = heatmap.shape[0] // rows, heatmap.shape[1] // columns
    blocks = heatmap[: n_y * rows, : n_x * columns].reshape(n_y, rows, n_x, columns).max(axis=(1, 3)).ravel()
    return np.asarray(blocks[np.isfinite(blocks)], np.float32)


def _frame(height: int, width: int, low: int, high: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes that together hold every pixel at a distance of `low` to `high` - 1 px from the border, each once.

    (y0, x0, y1, x1), half-open, of a picture of `height` x `width` px.
    """
    high = min(high, (min(height, width) + 1) // 2)
    if low >= high:
        return
    top, bottom, left, right = low, height - low, low, width - low
    wide = high - low
    inner_top, inner_bottom = top + wide, max(top + wide, bottom - wide)
    yield top, left, min(inner_top, bottom), right
    yield inner_bottom, left, bottom, right
    yield inner_top, left, inner_bottom, min(left + wide, right)
    yield inner_top, max(left + wide, right - wide), inner_bottom, right
