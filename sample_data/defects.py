"""Defects that any surface can have: dots, scratches, stains and dents; and how a change becomes a mask.

Every shape is drawn at unit strength (largest change about 1) on its own small patch, then brought to the strength
that the surface asks for: contrast is counted in standard deviations of the texture around the defect, since ten grey
levels are a blot on glass and nothing on cloth.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.fields import Field, blur, profile, slow

SHAPES = ("dot", "scratch", "stain", "dent")

SMALLEST_DOT = 5
"""Side in px of the smallest dot."""

_FINE = 4  # subpixels a pixel while a thin shape is drawn


def draw_shape(kind: str, longest: int, rng: np.random.Generator) -> Field:
    """A shape of `kind` (one of SHAPES) in a float32 patch about as large as itself, at most `longest` px on a side."""
    if kind == "dot":
        return dot(min(int(rng.choice([SMALLEST_DOT, 6, 7, 9, 12, 16])), longest), rng)
    if kind == "scratch":
        return scratch(min(float(np.exp(rng.uniform(np.log(40), np.log(450)))), longest * 0.9), rng)
    if kind == "stain":
        length = min(float(np.exp(rng.uniform(np.log(60), np.log(500)))), longest * 0.9)
        return stain(length, max(length * float(rng.uniform(0.2, 0.6)), 12.0), rng)
    return dent(min(float(np.exp(rng.uniform(np.log(14), np.log(90)))), longest * 0.7), rng)


def dot(size: int, rng: np.random.Generator) -> Field:
    """A speck `size` px across: an irregular outline, nearly even inside; float32 [size + 2, size + 2]."""
    side = (size + 2) * _FINE
    y, x = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
    angle = np.arctan2(y, x)
    outline = np.zeros_like(angle)
    for wave in (2, 3, 4):  # fewer bumps than pixels, or they are lost again
        outline += rng.uniform(0, 0.06) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    # The outline swings inwards only: the speck keeps its full size across its widest place.
    radius = (size / 2 - 0.25) * _FINE * (1 + outline - outline.max())
    inside = (np.hypot(y, x) < radius).astype(np.float32)
    speck = cv2.resize(inside, (size + 2, size + 2), interpolation=cv2.INTER_AREA)
    if size > 8:
        speck *= 1 + 0.12 * slow(rng, size + 2, size + 2, 5, 5)
    return blur(speck, 0.4)


def scratch(length: float, rng: np.random.Generator) -> Field:
    """A scratch `length` px long and 1 to 3 px wide, gently bent, fading along its way, with a faint raised lip."""
    angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.35)
    steps = max(int(length / 4), 8)
    way = angle + bend * np.linspace(-0.5, 0.5, steps) + 0.03 * profile(rng, steps, 12)
    points = np.stack([np.cumsum(np.cos(way)), np.cumsum(np.sin(way))], 1) * (length / steps)
    points -= points.min(0) - 6.0
    width, height = (int(np.ceil(v)) + 6 for v in points.max(0))
    thickness = rng.uniform(1.0, 3.0)
    strength = np.clip(0.85 + 0.3 * profile(rng, steps, steps / 3), 0.15, 1.2)
    strength *= np.clip(np.minimum(np.arange(steps), np.arange(steps)[::-1]) / (0.15 * steps), 0.2, 1)
    groove = _polyline(points, strength, thickness, height, width)
    normal = np.array([-np.sin(angle), np.cos(angle)]) * (thickness / 2 + 0.9)
    lip = _polyline(points + normal, strength, thickness * 0.6, height, width)
    return blur(np.where(groove > 0.08, groove, -0.35 * lip).astype(np.float32), 0.45)


def _polyline(
    points: NDArray[np.float64], strength: NDArray[np.floating], thick: float, height: int, width: int
) -> Field:
    """A line through [n, 2] (x, y) with its own strength 0..1.2 at each point, float32 [height, width]."""
    canvas = np.zeros((height * _FINE, width * _FINE), np.uint8)
    ends = np.rint(points * _FINE).astype(int).tolist()
    for start, end, value in zip(ends[:-1], ends[1:], strength.tolist(), strict=False):
        cv2.line(canvas, start, end, round(200 * value), max(round(thick * _FINE), 1), cv2.LINE_8)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(200)


def stain(length: float, width: float, rng: np.random.Generator) -> Field:
    """A dried or soaked-in stain: soft, blotchy, often a little stronger along its rim."""
    if rng.random() < 0.5:
        length, width = width, length
    h, w = int(width) + 8, int(length) + 8
    y = (np.arange(h, dtype=np.float32)[:, None] - (h - 1) / 2) / (width / 2)
    x = (np.arange(w, dtype=np.float32)[None] - (w - 1) / 2) / (length / 2)
    extent = min(length, width)
    ragged = 0.13 * slow(rng, h, w, extent, extent) + 0.05 * slow(rng, h, w, extent / 4, extent / 4)
    depth = 0.9 - np.sqrt(x * x + y * y) + ragged  # 0 at the rim, inwards positive
    depth = np.minimum(depth, 4 * np.minimum(1 - np.abs(x), 1 - np.abs(y)))  # nothing is cut off by the patch
    softness = rng.uniform(0.12, 0.4)
    body = np.clip(depth / softness, 0, 1)
    body = body * body * (3 - 2 * body)
    rim = np.exp(-(((depth - softness) / (0.5 * softness)) ** 2)) * rng.choice([0.0, 0.3, 0.5])
    blotches = 1 + 0.12 * slow(rng, h, w, extent / 3, extent / 3)
    return np.asarray((body * blotches * 0.8 + rim * body).astype(np.float32))


def dent(size: float, rng: np.random.Generator) -> Field:
    """A dent `size` px across, lit from the upper left: its near wall dark, its far wall bright."""
    side = int(size) + 8
    stretch, turn = rng.uniform(1.0, 1.7), rng.uniform(0, np.pi)
    y, x = np.mgrid[:side, :side].astype(np.float32) - (side - 1) / 2
    u = (x * np.cos(turn) + y * np.sin(turn)) / (size / 2)
    v = (y * np.cos(turn) - x * np.sin(turn)) / (size / 2) * stretch
    radius = np.sqrt(u * u + v * v) + 0.06 * slow(rng, side, side, size / 2, size / 2)
    depth = np.square(np.clip(1 - radius * radius, 0, 1))
    slope_y, slope_x = np.gradient(depth)
    light = rng.normal(np.pi / 4, 0.25)
    shading = slope_x * np.cos(light) + slope_y * np.sin(light)
    shading /= max(float(np.abs(shading).max()), 1e-6)
    return np.asarray((shading - 0.18 * depth).astype(np.float32))
