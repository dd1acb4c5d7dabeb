"""One repeat of a weave, modelled as yarns that rise over and dive under each other and shaded by height and slope."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.fields import Field

STEPS = 16
"""Table entries a yarn, each way."""

_FINE = 4  # subentries an entry while the table is made

PATTERNS = {
    "plain": np.array([[1, 0], [0, 1]]),
    "twill": np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]]),
    "serge": np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]]),
}
"""Which yarn is on top where weft (row) and warp (column) cross: 1 the warp."""


@dataclass(frozen=True)
class Weave:
    """One repeat, float32 [repeat * STEPS, repeat * STEPS]: brightness around 0, and 1 where the warp is on top."""

    repeat: int
    shade: Field
    warp_on_top: Field


def make_weave(pattern: str, contrast: float, fullness: float) -> Weave:
    """The table of a pattern of PATTERNS, its brightness with standard deviation `contrast` grey levels.

    `fullness` (about 0.8 to 1) is a yarn's width over the distance to the next: the rest is a dark gap.
    """
    crossing = PATTERNS[pattern].astype(np.float64)
    repeat = crossing.shape[0]
    side = repeat * STEPS * _FINE
    place = (np.arange(side) + 0.5) / (STEPS * _FINE)
    across = np.abs(place - np.floor(place) - 0.5) * 2 / fullness  # 0 in the middle of a yarn, 1 at its flank
    round_back = np.sqrt(np.clip(1 - across**2, 0, 1)) - 0.9 * (across >= 1)
    rise = cv2.resize(
        np.tile(crossing * 2 - 1, (3, 3)), None, fx=STEPS * _FINE, fy=STEPS * _FINE, interpolation=cv2.INTER_NEAREST
    )
    ease = STEPS * _FINE * 0.22
    along_warp = cv2.GaussianBlur(rise, (1, 0), sigmaX=0.01, sigmaY=ease) if ease else rise
    along_weft = cv2.GaussianBlur(rise, (0, 1), sigmaX=ease, sigmaY=0.01) if ease else rise
    middle = slice(side, 2 * side)
    warp = 0.55 * along_warp[middle, middle] + round_back[None, :]
    weft = -0.55 * along_weft[middle, middle] + round_back[:, None]
    height = np.maximum(warp, weft)
    return Weave(repeat, _shade(height, contrast), _shrink((warp > weft).astype(np.float32)))


def _shade(height: NDArray[np.float64], contrast: float) -> Field:
    """Light from the upper left over a height map that repeats, darker in the depth."""
    tiled = np.tile(height, (3, 3))
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(tiled, (0, 0), 3.0))
    light = (
        0.55 * height
        - 5.0
        * (0.75 * slope_y + 0.5 * slope_x)[slice(len(height), 2 * len(height)), :][
            :, slice(len(height), 2 * len(height))
        ]
    )
    shade = _shrink(light.astype(np.float32))
    shade -= shade.mean()
    return np.asarray(shade * np.float32(contrast / shade.std()))


def _shrink(fine: Field) -> Field:
    """From subentries to entries, with the repeat's own other side beyond its border."""
    tiled = np.tile(fine, (3, 3))
    small = cv2.resize(tiled, None, fx=1 / _FINE, fy=1 / _FINE, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), STEPS / 20)
    side = fine.shape[0] // _FINE
    return np.ascontiguousarray(small[side : 2 * side, side : 2 * side], np.float32)
