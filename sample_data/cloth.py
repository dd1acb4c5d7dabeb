"""Woven cloth: yarns of uneven thickness, spacing and brightness, slubs, bands in the weft, slow changes of density.

Every pixel has two coordinates, counted in yarns: `u` across the warp (vertical yarns), `v` across the weft (horizontal
ones). The weave is a table over one repeat of both; irregular yarns are irregular coordinates.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.fields import Field, add, blur, profile, slow, slow_like, white
from flawmap.sample_data.part import Box, Change, window
from flawmap.sample_data.weave import STEPS, Weave, make_weave

_SLUBS_PER_MEGAPIXEL = 14
_HAIRS_PER_MEGAPIXEL = 900
_NO_HAIR = 128
_ROWS = 256  # drawn at a time


class Cloth:
    """A cloth: weave, yarn counts, brightness of warp and weft."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        pattern = str(rng.choice(["plain", "twill", "serge"]))
        self.weave = make_weave(pattern, contrast=float(rng.uniform(8, 10)), fullness=float(rng.uniform(0.88, 0.97)))
        self.pitch_u, self.pitch_v = rng.uniform(7.5, 11.0), rng.uniform(7.5, 11.0)  # px a yarn
        self.level = float(rng.uniform(112, 135))
        self.warp_is_brighter = float(rng.uniform(-7, 9))  # grey levels

    def part(self, rng: np.random.Generator) -> "ClothPart":
        """The next metre off the loom: no yarn of it was seen before."""
        h, w = self.height, self.width
        u = _yarns(rng, w, self.pitch_u)[None, :] + _wander(rng, h, w)
        v = _yarns(rng, h, self.pitch_v)[:, None] + _wander(rng, h, w)
        u, v = np.asarray(u, np.float32), np.asarray(v, np.float32)
        self._add_slubs(u, v, rng)
        scene = slow(rng, h, w, 700, 900)
        scene *= np.float32(1.3)
        scene += np.float32(self.level + rng.normal(0, 1.0) - _NO_HAIR)
        warp_grey, weft_grey = self._yarn_grey(u, rng, h), self._yarn_grey(v, rng, w)
        for y in range(0, h, _ROWS):
            rows = slice(y, min(y + _ROWS, h))
            self._draw_rows(scene[rows], u[rows], v[rows], np.ascontiguousarray(warp_grey[:, rows].T), weft_grey, rng)
        scene += _hairs(rng, h, w)
        return ClothPart(scene, u, v, self.weave)

    def _add_slubs(self, u: Field, v: Field, rng: np.random.Generator) -> None:
        """Thick places: the coordinate runs slower across one yarn, so that it spreads at its neighbours' cost."""
        for field, transposed in ((u, False), (v, True)):
            plane = field.T if transposed else field  # a view whose rows run along the yarn
            h, w = plane.shape
            for _ in range(int(rng.poisson(_SLUBS_PER_MEGAPIXEL * h * w / 2e6))):
                length, y, x = rng.uniform(20, 90), int(rng.integers(h)), int(rng.integers(w))
                top, left, piece = window(plane, y - int(1.5 * length), x - 18, int(3 * length), 36)
                along = np.exp(-(((np.arange(piece.shape[0]) + top - y) / (0.6 * length)) ** 2))[:, None]
                across = (np.arange(piece.shape[1]) + left - x)[None] / 6.0
                piece -= (rng.uniform(0.1, 0.32) * along * across * np.exp(-(across**2))).astype(np.float32)

    def _yarn_grey(self, coordinate: Field, rng: np.random.Generator, length: int) -> Field:
        """Brightness of each yarn along its way, float32 [yarns, length] grey levels."""
        count = int(coordinate.max()) + 3
        grey = slow(rng, count, length, 1, 90) * np.float32(2.0)
        grey += slow(rng, count, length, 1, 18) * np.float32(1.6)
        grey += white(rng, count, 1) * np.float32(1.5)  # each yarn has its own bobbin
        grey += profile(rng, count, 30)[:, None] * np.float32(1.2)  # and each bobbin lot its own dye
        return grey

    def _draw_rows(
        self, scene: Field, u: Field, v: Field, warp_grey: Field, weft_grey: Field, rng: np.random.Generator
    ) -> None:
        """Adds weave, yarns and fibres to some rows of the scene, in place.

        Yarn brightness: `warp_grey` [rows, yarns], `weft_grey` [yarns, W].
        """
        height, width = scene.shape
        shade, warp = look_up(self.weave, u, v)
        scene += shade
        rows = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, 1)
        columns = np.repeat(np.arange(width, dtype=np.float32)[None], height, 0)
        nearest = cv2.INTER_NEAREST
        warp_yarn = np.asarray(cv2.remap(warp_grey, u - np.float32(0.5), rows, nearest), np.float32)
        weft_yarn = np.asarray(cv2.remap(weft_grey, columns, v - np.float32(0.5), nearest), np.float32)
        noise = white(rng, height, width)
        warp_yarn += blur(noise, 0.6, 1.7) * np.float32(14)  # fibres run along it
        warp_yarn += np.float32(self.warp_is_brighter)
        weft_yarn += blur(noise, 1.7, 0.6) * np.float32(14)
        warp_yarn -= weft_yarn
        warp_yarn *= warp
        warp_yarn += weft_yarn
        add(scene, warp_yarn, 1.0)


def _hairs(rng: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """The cloth's own short fibres that stand off its yarns, grey levels above `_NO_HAIR`."""
    canvas = np.full((height, width), _NO_HAIR, np.uint8)
    count = int(_HAIRS_PER_MEGAPIXEL * height * width / 1e6)
    steps = rng.uniform(0, 2 * np.pi, (count, 1)) + rng.normal(0, 0.5, (count, 4)).cumsum(1)
    length = rng.uniform(2, 8, (count, 1))
    points = np.stack([np.cos(steps) * length, np.sin(steps) * length], 2).cumsum(1)
    points += rng.uniform(0, 1, (count, 1, 2)) * (width, height)
    grey = _NO_HAIR + np.rint(rng.normal(3, 9, count))
    for curve, level in zip(np.rint(points * 16).astype(np.int32), grey.tolist(), strict=True):
        cv2.polylines(canvas, [curve], False, level, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), 0.6), np.uint8)


def _yarns(rng: np.random.Generator, length: int, pitch: float) -> Field:
    """The yarn coordinate of each pixel along a line: uneven spacing, and a density that changes slowly."""
    count = int(length / pitch * 1.4) + 20
    spacing = pitch * (1 + 0.05 * rng.standard_normal(count) + 0.02 * profile(rng, count, 60) + 0.012 * rng.normal())
    edges = np.cumsum(np.maximum(spacing, 0.4 * pitch)) - pitch * rng.uniform(3, 6)
    return np.interp(np.arange(length), edges, np.arange(count)).astype(np.float32)


def _wander(rng: np.random.Generator, height: int, width: int) -> Field:
    """How far yarns stray from straight lines, in yarns: the cloth's bow, and each neighbourhood's tension."""
    field = slow(rng, height, width, 1800, 1800)
    field *= np.float32(0.9)
    add(field, slow(rng, height, width, 260, 260), 0.16)
    add(field, slow(rng, height, width, 36, 36), 0.065)
    return field


def look_up(weave: Weave, u: Field, v: Field) -> tuple[Field, Field]:
    """Brightness (grey levels around 0) and share of warp on top (0..1) at yarn coordinates u, v, each [h, w]."""
    x, y = (STEPS * (c - weave.repeat * np.floor(c * np.float32(1 / weave.repeat))) for c in (u, v))
    border = cv2.BORDER_WRAP
    shade = cv2.remap(weave.shade, x, y, cv2.INTER_LINEAR, borderMode=border)
    warp = cv2.remap(weave.warp_on_top, x, y, cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(shade, np.float32), np.asarray(warp, np.float32)


class ClothPart:
    """One piece of cloth: see `flawmap.sample_data.part.Part`."""

    has_layout = False
    structures = ("missing_yarn", "broken_yarn", "thick_yarn", "foreign_fibre")

    def __init__(self, scene: Field, u: Field, v: Field, weave: Weave) -> None:
        self.scene, self._u, self._v, self._weave = scene, u, v, weave

    @property
    def box(self) -> Box:
        """The cloth fills the image."""
        return (0, 0, *self.scene.shape)

    def structure(self, kind: str, y: int, x: int, level: float, rng: np.random.Generator) -> Change | None:
        """A yarn that is missing, broken or doubled, or a fibre that is none of the cloth's."""
        if kind == "foreign_fibre":
            return _fibre(y, x, level, rng)
        length = {"missing_yarn": (90, 420), "broken_yarn": (18, 48), "thick_yarn": (60, 320)}[kind]
        return self._yarn(kind, y, x, min(rng.uniform(*length), 0.6 * min(self.scene.shape)), level, rng)

    def _yarn(self, kind: str, y: int, x: int, length: float, level: float, rng: np.random.Generator) -> Change:
        """One yarn through (y, x), of the warp or the weft, changed over `length` px."""
        is_warp = bool(rng.random() < 0.4)
        half = int(length / 2) + 14
        h, w = (half, 22) if is_warp else (22, half)
        box = (y - h, x - w, 2 * h, 2 * w)
        top, left, before = window(self.scene, *box)
        u, v = window(self._u, *box)[2], window(self._v, *box)[2]
        warp = look_up(self._weave, u, v)[1]
        across, own = (u, warp) if is_warp else (v, 1 - warp)
        yarn = np.floor(across[min(y, self.scene.shape[0] - 1) - top, min(x, self.scene.shape[1] - 1) - left])
        along = (
            np.arange(before.shape[0])[:, None] + top - y if is_warp else np.arange(before.shape[1])[None] + left - x
        )
        ends = np.clip((length / 2 - np.abs(along)) / 5, 0, 1)
        if kind == "thick_yarn":
            thick = np.exp(-(((across - yarn - 0.5) / 0.55) ** 2)) * (0.45 + 0.55 * own)
            uneven = 1 + 0.2 * slow_like(rng, before, 40, 40)
            return Change(top, left, blur((thick * ends * uneven * level).astype(np.float32), 0.5))
        gap = np.exp(-(np.abs((across - yarn - 0.5) / 0.46) ** 3)) * own * ends
        # Without the yarn one looks into the shadow below, between its neighbours that close in.
        uneven = 1 + 0.22 * slow_like(rng, before, 12, 12)
        change = -gap * level * uneven
        if kind == "broken_yarn":
            change = change + _loose_ends(along, across - yarn - 0.5, length, rng) * 0.8 * level
        return Change(top, left, blur(np.asarray(change, np.float32), 0.5))


def _loose_ends(
    along: NDArray[np.int64], across: Field, length: float, rng: np.random.Generator
) -> NDArray[np.floating]:
    """The two ends of a broken yarn, curled up and catching the light; `across` in yarns off the yarn's middle."""
    ends = np.zeros(across.shape, np.float32)
    for side in (-1.0, 1.0):
        inwards = length / 2 - side * along  # px from the break's end into the gap
        curl = rng.choice([-1.0, 1.0]) * 0.012 * np.clip(inwards, 0, None) ** 1.5
        tip = rng.uniform(5, 12)
        ends += np.exp(-(((across - curl) / 0.22) ** 2)) * ((inwards > -3) & (inwards < tip))
    return ends


def _fibre(y: int, x: int, level: float, rng: np.random.Generator) -> Change:
    """A hair or a thread of another colour, lying on the cloth in a loose curve."""
    steps = 160
    length = float(np.exp(rng.uniform(np.log(60), np.log(260))))
    turn = rng.uniform(0, 2 * np.pi) + 0.9 * profile(rng, steps, 90) + 0.25 * profile(rng, steps, 25)
    points = np.stack([np.cumsum(np.cos(turn)), np.cumsum(np.sin(turn))], 1) * (length / steps)
    points -= points.min(0) - 6
    w, h = (int(np.ceil(c)) + 6 for c in points.max(0))
    canvas = np.zeros((h * 4, w * 4), np.uint8)
    thickness = int(rng.integers(5, 11))  # quarter px
    cv2.polylines(canvas, [np.rint(points * 4).astype(np.int32)], False, 255, thickness)
    grey = cv2.resize(canvas, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)
    sign = -1.0 if rng.random() < 0.6 else 1.0
    return Change(y - h // 2, x - w // 2, blur(grey, 0.5) * np.float32(sign * level))
