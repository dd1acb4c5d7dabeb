"""Outlines of synthetic damage: each function draws one small opacity patch, float32 [h, w] in 0..1.

Everything is drawn at its own size, never on a whole tile: a 3 px dot costs what 3 px cost. Lengths are px of the
image; `log_uniform` because twice as large is one step, at 3 px as at 30.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Patch = NDArray[np.float32]
SHARP = 0.3  # px: less is no blur
FINE = 4  # outlines are drawn this much larger and averaged down: edges as soft as a lens makes them


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def dot(rng: np.random.Generator) -> Patch:
    """A filled ellipse of 2 to 10 px."""
    height, width = log_uniform(rng, 2, 10), log_uniform(rng, 2, 10)
    width = float(np.clip(width, height / 2, height * 2))
    return _ellipse(height, width, rng.uniform(0, 180))


def line(rng: np.random.Generator) -> Patch:
    """A scratch or crack, 1 to 5 px wide and 10 to 150 px long; every second one varies in strength and width."""
    length, width = log_uniform(rng, 10, 150), log_uniform(rng, 0.8, 5)
    n = 16
    # A scratch is nearly straight, a crack wanders.
    bend = np.cumsum(rng.normal(0, rng.choice([0.03, 0.1, 0.3]), n)) + rng.uniform(0, 2 * np.pi)
    steps = np.stack([np.sin(bend), np.cos(bend)], axis=1) * length / (n - 1)
    points = np.vstack([[0, 0], np.cumsum(steps[:-1], axis=0)])
    strengths, widths = np.ones(n), np.full(n, width)
    if rng.random() < 0.5:
        strengths = np.clip(np.cumsum(rng.normal(0, 0.25, n)) + 0.8, 0.3, 1)
        widths = width * np.clip(np.cumsum(rng.normal(0, 0.15, n)) + 1, 0.4, 1.6)
    margin = widths.max() / 2 + 1
    points += margin - points.min(axis=0)
    rows, columns = np.ceil(points.max(axis=0) + margin).astype(int)
    canvas = np.zeros((rows * FINE, columns * FINE), np.uint8)
    corners = np.round(points[:, ::-1] * FINE).astype(int).tolist()
    for k in range(n - 1):
        thickness = max(1, round(widths[k] * FINE))
        cv2.line(canvas, corners[k], corners[k + 1], round(255 * strengths[k]), thickness, cv2.LINE_8)
    return _shrink(canvas)


def blob(rng: np.random.Generator) -> Patch:
    """An irregular spot of 3 to 64 px: an ellipse whose edge a smooth random field moves in and out."""
    height = log_uniform(rng, 3, 64)
    width = float(np.clip(height * log_uniform(rng, 0.3, 3), 3, 96))
    rows, columns = int(np.ceil(height)) + 2, int(np.ceil(width)) + 2
    y = np.linspace(-1, 1, rows, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, columns, dtype=np.float32)[None, :]
    field = _smooth_field(rng, rows, columns, cells=4)
    distance = np.sqrt(y * y + x * x) + 0.25 * field
    edge = rng.uniform(0.05, 0.6)  # from a crisp outline to one that fades, as a stain does
    return np.asarray(np.clip((0.85 - distance) / edge, 0, 1), np.float32)


def polygon(rng: np.random.Generator) -> Patch:
    """A polygon of 3 to 7 corners, 3 to 48 px across."""
    size = log_uniform(rng, 3, 48)
    n = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * np.pi, n))
    radii = rng.uniform(0.4, 1, n) * size / 2
    side = int(np.ceil(size)) + 2
    points = np.stack([np.cos(angles) * radii, np.sin(angles) * radii], axis=1) + side / 2
    canvas = np.zeros((side * FINE, side * FINE), np.uint8)
    cv2.fillPoly(canvas, [np.round(points * FINE).astype(np.int32)], 255)
    return _shrink(canvas)


def rectangle(rng: np.random.Generator) -> Patch:
    """An upright rectangle, 2 to 48 px a side."""
    height, width = log_uniform(rng, 2, 48), log_uniform(rng, 2, 48)
    return np.ones((max(2, round(height)), max(2, round(width))), np.float32)


def coarse_noise(rng: np.random.Generator) -> Patch:
    """Ragged islands within 6 to 48 px: a smooth field above a random level."""
    rows, columns = (int(log_uniform(rng, 6, 48)) for _ in range(2))
    field = _smooth_field(rng, rows, columns, cells=int(rng.integers(2, 9)))
    return (field > rng.uniform(0.0, 0.5)).astype(np.float32)


def soften(rng: np.random.Generator, patch: Patch, blur: float) -> Patch:
    """Blurs an outline by 0.6 to 1.2 times the camera's own `blur` (px, standard deviation) and restores its strength.

    The patch grows by the blur's reach.
    """
    sigma = float(rng.uniform(0.6, 1.2)) * blur
    if sigma < SHARP:
        return patch
    reach = int(np.ceil(2.5 * sigma))
    wide = cv2.copyMakeBorder(patch, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    soft = cv2.GaussianBlur(wide, (0, 0), sigma)
    return np.asarray(soft * (patch.max() / max(float(soft.max()), 1e-6)), np.float32)


def _ellipse(height: float, width: float, angle_degrees: float) -> Patch:
    side = int(np.ceil(max(height, width))) + 2
    canvas = np.zeros((side * FINE, side * FINE), np.uint8)
    centre = (side * FINE // 2, side * FINE // 2)
    axes = (max(1, round(width * FINE / 2)), max(1, round(height * FINE / 2)))
    cv2.ellipse(canvas, centre, axes, angle_degrees, 0, 360, 255, cv2.FILLED)
    return _shrink(canvas)


def _shrink(canvas: NDArray[np.uint8]) -> Patch:
    size = (canvas.shape[1] // FINE, canvas.shape[0] // FINE)
    return cv2.resize(canvas, size, interpolation=cv2.INTER_AREA).astype(np.float32) / np.float32(255)


def _smooth_field(rng: np.random.Generator, rows: int, columns: int, cells: int) -> Patch:
    """Smooth random values of about unit range, `cells` bumps along the longer side."""
    longest = max(rows, columns)
    shape = (max(2, cells * rows // longest + 1), max(2, cells * columns // longest + 1))
    coarse = rng.uniform(-1, 1, shape).astype(np.float32)
    return cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC).astype(np.float32)
