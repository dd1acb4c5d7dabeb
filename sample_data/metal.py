"""Brushed or ground metal: grooves of every length along one direction, crossed by slow waves of the tool.

No two parts share a groove; what they share is the direction, the coarseness of the belt and where the edge lies.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.fields import Field, Streaks, add, blur, profile, slow, slow_like, white
from flawmap.sample_data.part import Box, Change, window

_GROOVES_PER_MEGAPIXEL = 700
_NO_GROOVE = 128
_ROWS = 256  # drawn at a time


class Metal:
    """A metal product: the direction of grinding, the belt's coarseness and the visible edge."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.vertical = bool(rng.random() < 0.5)
        self.level = float(rng.uniform(112, 132))
        self.coarseness = float(rng.uniform(0.85, 1.2))
        self.edge = float(min(height, width) * rng.uniform(0.03, 0.05))  # px of background beside the part

    def part(self, rng: np.random.Generator) -> "MetalPart":
        """One ground part; its edge lies within a few px of the product's."""
        rows, columns = (self.width, self.height) if self.vertical else (self.height, self.width)
        scene = self._ground(rng, rows, columns)
        if self.vertical:
            scene = np.ascontiguousarray(cv2.transpose(scene))
        edge = self.edge + rng.normal(0, 2.0)
        self._cut_edge(scene, edge, rng)
        return MetalPart(scene, (0, int(np.ceil(edge)) + 8, self.height, self.width), self.vertical)

    def _ground(self, rng: np.random.Generator, rows: int, columns: int) -> Field:
        """Float32 [rows, columns] with horizontal grooves."""
        k = self.coarseness
        scene = slow(rng, rows, columns, 900, 2600)
        scene *= np.float32(1.6)
        scene += np.float32(self.level + rng.normal(0, 1.0) - _NO_GROOVE)
        layers = [  # px long, px across, grey levels
            (Streaks(rng, rows, columns, length, across), grey)
            for length, across, grey in (
                (30, 0.55, 2.0 * k),
                (900, 0.8 * k, 2.0 * k),
                (1500, 5.0, 0.9),
                (4000, 40.0, 1.1),
            )
        ]
        middle, bite = Streaks(rng, rows, columns, 170, 0.6 * k), Streaks(rng, rows, columns, 500, 20)
        grooves = self._grooves(rng, rows, columns)
        for y in range(0, rows, _ROWS):
            band = slice(y, min(y + _ROWS, rows))
            piece = scene[band]  # a view
            for layer, grey in layers:
                add(piece, layer.rows(band), grey)
            uneven = bite.rows(band) * np.float32(0.3) + np.float32(1)  # the belt bites unevenly
            add(piece, middle.rows(band) * uneven, 2.4 * k)
            piece += grooves[band]
            add(piece, blur(white(rng, len(piece), columns), 0.7), 1.8)
        return scene

    def _grooves(self, rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.uint8]:
        """The single grooves that the eye can follow, grey levels above `_NO_GROOVE`."""
        canvas = np.full((rows, columns), _NO_GROOVE, np.uint8)
        count = int(_GROOVES_PER_MEGAPIXEL * rows * columns / 1e6)
        length = np.exp(rng.normal(np.log(260), 0.9, count))
        x, y = rng.uniform(-200, columns, count), rng.uniform(0, rows, count)
        slope = rng.normal(0, 0.003, count)
        # Drawn from weak to strong, so that a weak groove never wipes a strong one out.
        depth = np.sort(rng.exponential(7.0, count)) * rng.choice([-1.0, -1.0, 1.0], count)
        ends = np.stack([x, y, x + length, y + slope * length], 1) * 16
        for (x0, y0, x1, y1), grey in zip(ends.astype(int).tolist(), depth.tolist(), strict=True):
            cv2.line(canvas, (x0, y0), (x1, y1), _NO_GROOVE + round(max(-26, min(26, grey))), 1, cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(canvas, (0, 0), sigmaX=6.0, sigmaY=0.5)  # a groove has soft ends
        return np.asarray(soft, np.uint8)

    def _cut_edge(self, scene: Field, edge: float, rng: np.random.Generator) -> None:
        """Puts the dark background and the chamfer at the left of the part, in place."""
        height = scene.shape[0]
        band = int(edge) + 40
        line = edge + 0.5 * profile(rng, height, 600) + 0.15 * profile(rng, height, 22)
        skew = rng.normal(0, 0.0006) * (np.arange(height) - height / 2)
        distance = np.arange(band, dtype=np.float32)[None] - (line + skew).astype(np.float32)[:, None]
        inside = np.clip(distance / 1.6 + 0.5, 0, 1)
        background = 17 + 1.2 * slow(rng, height, band, 80, 80)
        chamfer = np.exp(-(((distance - 5) / 2.2) ** 2)) * (38 + 6 * profile(rng, height, 40))[:, None]
        shade = 1 - 0.55 * np.exp(-np.maximum(distance, 0) / 2.0) - 0.06 * np.exp(-np.maximum(distance, 0) / 18)
        part = scene[:, :band]  # a view
        part[:] = inside * (part * shade + chamfer) + (1 - inside) * background


class MetalPart:
    """One ground part: see `flawmap.sample_data.part.Part`."""

    has_layout = False
    structures = ("missing_grind", "stray_groove")

    def __init__(self, scene: Field, box: Box, vertical: bool) -> None:
        self.scene, self.box, self._vertical = scene, box, vertical

    def structure(self, kind: str, y: int, x: int, level: float, rng: np.random.Generator) -> Change | None:
        """A patch the belt did not reach, or a groove that runs askew: one along the grind would be nothing odd."""
        return self._missing(y, x, level, rng) if kind == "missing_grind" else self._groove(y, x, level, rng)

    def _missing(self, y: int, x: int, level: float, rng: np.random.Generator) -> Change:
        along, across = rng.uniform(60, 220), rng.uniform(14, 40)
        height, width = (along, across) if self._vertical else (across, along)
        h, w = int(height) + 24, int(width) + 24
        top, left, before = window(self.scene, y - h // 2, x - w // 2, h, w)
        rows = (np.arange(before.shape[0]) + top - y)[:, None] / (height / 2)
        columns = (np.arange(before.shape[1]) + left - x)[None] / (width / 2)
        # The belt leaves the spot groove by groove: its ends are streaky.
        ragged = 0.2 * (slow_like(rng, before, 70, 5) if self._vertical else slow_like(rng, before, 5, 70))
        ragged += 0.12 * slow_like(rng, before, 20, 20)
        radius = (np.abs(rows) ** 2.6 + np.abs(columns) ** 2.6) ** (1 / 2.6) + ragged
        spot = np.clip((1 - radius) * 3, 0, 1).astype(np.float32)
        # Where no groove scatters the light there is only the rolled sheet: smooth, and darker or brighter as a whole.
        sign = 1 if rng.random() < 0.35 else -1
        smooth = blur(before, 12) + 0.5 * (before - blur(before, 1.5))
        return Change(top, left, blur(spot * (smooth + sign * level - before), 0.6))

    def _groove(self, y: int, x: int, level: float, rng: np.random.Generator) -> Change:
        length, thickness = int(rng.uniform(80, 420)), rng.uniform(2.2, 4.2)
        slope = rng.uniform(0.12, 0.35) * rng.choice((-1, 1))
        h, w = 24 + int(length * abs(slope)), length
        way = h / 2 + 0.5 * profile(rng, length, 160) + slope * (np.arange(length) - length / 2)
        across = np.abs(np.arange(h, dtype=np.float32)[:, None] - way[None]) / (thickness / 2)
        ends = np.clip(np.minimum(np.arange(length), np.arange(length)[::-1]) / 14, 0, 1)
        depth = np.clip(1 + 0.15 * profile(rng, length, 40), 0.4, 1.4) * ends
        groove = -np.clip(1.5 - across, 0, 1) * depth[None]
        lip = 0.45 * np.exp(-(((across - 2.2) / 0.8) ** 2)) * depth[None]  # metal thrown up beside the groove
        grey = ((groove + lip) * level).astype(np.float32)
        if self._vertical:
            grey, (h, w) = np.ascontiguousarray(grey.T), (w, h)
        return Change(y - h // 2, x - w // 2, blur(grey, 0.5))
