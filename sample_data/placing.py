"""Puts defects into a scene: where, how strong, with which mask; and what the truth file says of each."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.camera import NOISE_SIGMA
from flawmap.sample_data.defects import SHAPES, SMALLEST_DOT, dot, draw_shape
from flawmap.sample_data.fields import Field, blur
from flawmap.sample_data.part import Box, Change, Part

GRADES = {"faint": (1.0, 2.0), "moderate": (3.0, 5.0), "strong": (6.5, 10.0)}
"""Contrast of each grade, in standard deviations of the local texture."""

_GRADE_SHARES = (0.2, 0.45, 0.35)
_SURROUNDINGS = 48  # px around a defect that its contrast is measured against
_BLOCK = 8  # px a side of the blocks that the texture is measured in
_TRIES = 60


@dataclass(frozen=True)
class Defect:
    """One defect as drawn. `box` is half-open (y0, x0, y1, x1) in the image and just holds the mask."""

    kind: str
    box: Box
    area_px: int
    grade: str
    contrast: float  # mean change over the defect's core, in local standard deviations


def place_defects(
    part: Part, kinds: list[str], spacing: int, rng: np.random.Generator
) -> tuple[list[Defect], NDArray[np.uint8]]:
    """Draws one defect of each of `kinds` into `part.scene`, in place, at least `spacing` px apart.

    The first defect of the kind "dot" has the smallest size. A defect that finds no place is left out.
    Returns the defects and their mask, uint8 [H, W], 0 or 255.
    """
    mask = np.zeros(part.scene.shape, np.uint8)
    defects: list[Defect] = []
    for number, kind in enumerate(kinds):
        smallest = kind == "dot" and kind not in kinds[:number]
        for attempt in range(_TRIES):
            # A scene too crowded for the full spacing gets what it has room for.
            room = spacing if attempt < _TRIES // 2 else spacing // 3
            defect = _place_one(part, kind, smallest, [d.box for d in defects], room, mask, rng)
            if defect is not None:
                defects.append(defect)
                break
    return defects, mask


def texture_sigma(around: Field, has_layout: bool) -> float:
    """Standard deviation of the texture of a piece of scene, float32 [h, w], in grey levels as the camera shows it.

    What is slower than about 16 px is level, not texture. Where a layout's edges cross the texture, it is that of the
    calmer blocks of 8x8 px: the edges are no noise that could hide a defect.
    """
    if has_layout:
        mean, square = cv2.boxFilter(around, -1, (_BLOCK, _BLOCK)), cv2.sqrBoxFilter(around, -1, (_BLOCK, _BLOCK))
        variance = max(float(np.quantile((square - mean * mean)[:: _BLOCK // 2, :: _BLOCK // 2], 0.3)), 0.0)
    else:
        variance = float(np.var(around - blur(around, 16)))
    return float(np.sqrt(variance + NOISE_SIGMA**2))


def grade_of(contrast: float) -> str:
    """The grade nearest to a contrast."""
    if contrast < 2.5:
        return "faint"
    return "moderate" if contrast < 5.75 else "strong"


def _place_one(
    part: Part,
    kind: str,
    smallest: bool,
    taken: list[Box],
    spacing: int,
    mask: NDArray[np.uint8],
    rng: np.random.Generator,
) -> Defect | None:
    """One try: None if the place is taken, outside of the part, or has nothing to break."""
    y, x = _somewhere(part.box, rng)
    longest = max(min(mask.shape) // 3, SMALLEST_DOT)
    sigma = texture_sigma(_around(part.scene, part.box, (y, x, y + 1, x + 1)), part.has_layout)
    low, high = GRADES[str(rng.choice(list(GRADES), p=_GRADE_SHARES))]
    if kind == "stain":
        high = min(high, 7.0)  # a soaked-in stain is never black
    target = float(rng.uniform(low, high))
    if kind in SHAPES:
        shape = dot(SMALLEST_DOT, rng) if smallest else draw_shape(kind, longest, rng)
        change: Change | None = _signed(part, kind, shape, y, x, sigma * target, rng)
    else:
        change = part.structure(kind, y, x, sigma * target, rng)
    change = None if change is None else _inside(change, part.box)
    if change is None:
        return None
    height, width = change.grey.shape
    box = (change.y0, change.x0, change.y0 + height, change.x0 + width)
    if any(_gap(box, other) < spacing for other in taken):
        return None
    return _apply(part, change, kind, target, mask)


def _somewhere(box: Box, rng: np.random.Generator) -> tuple[int, int]:
    """A place on the part; one in five lies at its border."""
    y0, x0, y1, x1 = box
    y, x = int(rng.integers(y0 + 4, y1 - 4)), int(rng.integers(x0 + 4, x1 - 4))
    if rng.random() < 0.2:
        distance = int(rng.integers(4, 24))
        side = int(rng.integers(4))
        y = (y0 + distance, y1 - distance, y, y)[side]
        x = (x, x, x0 + distance, x1 - distance)[side]
    return y, x


def _around(scene: Field, part: Box, box: Box) -> Field:
    """The box and what surrounds it, as far as it is the part and not background (a view)."""
    y0, x0 = max(box[0] - _SURROUNDINGS, part[0]), max(box[1] - _SURROUNDINGS, part[1])
    return scene[y0 : min(box[2] + _SURROUNDINGS, part[2]), x0 : min(box[3] + _SURROUNDINGS, part[3])]


def _signed(part: Part, kind: str, shape: Field, y: int, x: int, level: float, rng: np.random.Generator) -> Change:
    """A shape, dark or bright: usually dark, and always towards where the grey scale has room for it."""
    ground = float(np.median(_around(part.scene, part.box, (y, x, y + 1, x + 1))))
    share_dark = {"dot": 0.65, "scratch": 0.4, "stain": 0.75, "dent": 1.0}[kind]
    sign = -1.0 if rng.random() < share_dark else 1.0
    if kind != "dent" and not 6 < ground + 1.3 * sign * level < 249:
        sign = -sign
    h, w = shape.shape
    return Change(y - h // 2, x - w // 2, sign * shape)


def _inside(change: Change, box: Box) -> Change | None:
    """The change as far as it lies on the part; None where less than two thirds of it would be left."""
    y0, x0 = max(change.y0, box[0]), max(change.x0, box[1])
    grey = change.grey[y0 - change.y0 : box[2] - change.y0, x0 - change.x0 : box[3] - change.x0]
    whole = float(np.abs(change.grey).sum())
    if grey.size == 0 or whole == 0 or float(np.abs(grey).sum()) < 0.67 * whole:
        return None
    return Change(y0, x0, grey)


def _gap(a: Box, b: Box) -> int:
    """Chebyshev distance in px between two boxes, 0 where they touch."""
    return max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3], 0)


def _apply(part: Part, change: Change, kind: str, target: float, mask: NDArray[np.uint8]) -> Defect | None:
    """Adds the change to the scene, scaled to `target` standard deviations, and marks its mask.

    A fault of structure has a strength of its own, which is what a strong one gets: a missing pad is as dark as the
    board, no darker. A weaker one is made of it by taking part of the change: metal left too thin.
    """
    h, w = change.grey.shape
    rows, columns = slice(change.y0, change.y0 + h), slice(change.x0, change.x0 + w)
    before = part.scene[rows, columns]  # a view
    sigma = texture_sigma(
        _around(part.scene, part.box, (change.y0, change.x0, change.y0 + h, change.x0 + w)), part.has_layout
    )
    scale = target * sigma / max(_core_mean(change.grey), 1e-6)
    if kind not in SHAPES:
        scale = min(scale, 1.15) if target < GRADES["strong"][0] else float(np.clip(scale, 1.0, 1.15))
    grey = change.grey * np.float32(scale)
    after = np.clip(before + grey, 2, 253)
    seen = after - before
    marked = (np.abs(seen) > max(0.5 * sigma, 2.0)).astype(np.uint8)
    # A change that passes through zero (a dent's two walls, texture that is replaced) is one defect, not a sieve.
    padded = cv2.copyMakeBorder(marked, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=0)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    marked = np.asarray(closed[3:-3, 3:-3], np.uint8)
    if not marked.any():
        return None
    before[:] = after
    np.maximum(mask[rows, columns], marked * np.uint8(255), out=mask[rows, columns])
    ys, xs = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
    box = (change.y0 + int(ys[0]), change.x0 + int(xs[0]), change.y0 + int(ys[-1]) + 1, change.x0 + int(xs[-1]) + 1)
    contrast = _core_mean(seen) / sigma
    return Defect(kind, box, int(marked.sum()), grade_of(contrast), round(contrast, 2))


def _core_mean(grey: Field) -> float:
    """Mean absolute change over the core: the pixels that change by at least half of the largest change."""
    size = np.abs(grey)
    return float(size[size >= 0.5 * size.max()].mean())
