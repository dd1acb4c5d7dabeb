"""How an injected defect looks, as a formula sampled on pixels: float32 [h, w], the largest |value| is 1.

`size` is the longer side, in px, of the box around everything at or above half of the peak; each formula is solved for
the scale at which that holds. Nothing here shares code or outline with the damage that training draws, which fills
ellipses, polygons and bent lines with one opacity: these fade as a lens and a real surface make them fade.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Profile = NDArray[np.float32]

FADED = 0.003  # of the peak: less is not drawn
LENS = 0.6  # px, standard deviation of the blur that every crisp outline gets
CURVE_STEP = 0.25  # px between the points by which a hairline is drawn


def spot(rng: np.random.Generator, size: float) -> Profile:
    """A Gaussian, up to twice as long as wide."""
    wide = float(np.exp(-rng.uniform(0, np.log(2))))
    turn = rng.uniform(0, np.pi)
    # The half-contrast line of a Gaussian is an ellipse: half axes 1 and `wide`, turned.
    reach = max(np.hypot(np.cos(turn), wide * np.sin(turn)), np.hypot(np.sin(turn), wide * np.cos(turn)))
    scale = size / 2 / reach
    y, x = _plane(rng, scale * np.sqrt(-np.log2(FADED)))
    along, across = _turned(y, x, turn)
    return _normalised(np.exp2(-(along**2 + (across / wide) ** 2) / scale**2))


def pit(rng: np.random.Generator, size: float) -> Profile:
    """A bright and a dark lobe side by side, as a dent shows under oblique light: a Gaussian's derivative."""
    turn = rng.uniform(0, 2 * np.pi)
    # Half contrast: u exp(-(u^2 + v^2) / 2) = exp(-1/2) / 2, from u = 0.3217 to 1.9225 on both sides.
    u = np.linspace(0.3217, 1.9225, 400)
    v = np.sqrt(np.maximum(2 * np.log(2 * u) + 1 - u**2, 0))
    outline_y, outline_x = _turned(np.concatenate([u, u]), np.concatenate([v, -v]), -turn)
    scale = size / 2 / max(np.abs(outline_y).max(), np.abs(outline_x).max())
    y, x = _plane(rng, 4.2 * scale)
    along, across = (axis / scale for axis in _turned(y, x, turn))
    return _normalised(along * np.exp(-(along**2 + across**2) / 2))


def hairline(rng: np.random.Generator, size: float) -> Profile:
    """A thin curved line with a Gaussian cross-section, 1 to 3 px wide but at most `size` / 3."""
    width = rng.uniform(1, max(1.0, min(3.0, size / 3)))
    corners = np.cumsum(np.vstack([[0, 0], _bent_steps(rng)]), axis=0)
    curve = _catmull_rom(corners, max(8, int(2 * size / CURVE_STEP / (len(corners) - 1))))
    curve -= (curve.max(axis=0) + curve.min(axis=0)) / 2
    curve *= max(size - width, 0.5) / np.ptp(curve, axis=0).max()
    y, x = _plane(rng, size / 2 + 2 * width)
    squared = np.full(y.shape[:1] + x.shape[1:], np.inf)
    for point_y, point_x in curve:
        np.minimum(squared, (y - point_y) ** 2 + (x - point_x) ** 2, out=squared)
    return _normalised(np.exp2(-squared / (width / 2) ** 2))


def patch(rng: np.random.Generator, size: float) -> Profile:
    """An irregular area with an outline as crisp as a lens makes it; 1 inside."""
    return _area(rng, size, softness=LENS)


def soft_patch(rng: np.random.Generator, size: float) -> Profile:
    """An irregular area that fades over a fifth of its size, as what dries or is wiped does."""
    return _area(rng, size, softness=max(LENS, 0.08 * size))


def _area(rng: np.random.Generator, size: float, softness: float) -> Profile:
    """A star-shaped outline of four harmonics around the centre; `softness` px is the scale of the fall across it."""
    strength = rng.normal(0, 0.12, 4) / np.arange(1, 5)
    phase = rng.uniform(0, 2 * np.pi, 4)

    def radius(angle: NDArray[np.float64]) -> NDArray[np.float64]:
        waves = np.cos(angle[..., None] * np.arange(2, 6) + phase)
        return np.maximum(1 + waves @ strength, 0.3)

    angle = np.linspace(0, 2 * np.pi, 720)
    outline = radius(angle) * np.stack([np.sin(angle), np.cos(angle)])
    middle = (outline.max(axis=1) + outline.min(axis=1)) / 2
    scale = size / np.ptp(outline, axis=1).max()
    y, x = _plane(rng, size / 2 + softness * np.log(1 / FADED))
    y, x = y + middle[0] * scale, x + middle[1] * scale
    inside = scale * radius(np.arctan2(y, x)) - np.hypot(y, x)
    return _normalised(1 / (1 + np.exp(-inside / softness)))


def _plane(rng: np.random.Generator, reach: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows [h, 1] and columns [1, w] in px from a centre that lies anywhere within its pixel."""
    half = int(np.ceil(reach)) + 1
    y0, x0 = rng.uniform(-0.5, 0.5, 2)
    offsets = np.arange(-half, half + 1, dtype=np.float64)
    return (offsets - y0)[:, None], (offsets - x0)[None, :]


def _turned(
    y: NDArray[np.float64], x: NDArray[np.float64], angle: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return y * np.cos(angle) + x * np.sin(angle), x * np.cos(angle) - y * np.sin(angle)


def _bent_steps(rng: np.random.Generator) -> NDArray[np.float64]:
    """Four steps of a walk that turns a little each time, [4, 2]."""
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.35, 4))
    return np.stack([np.sin(heading), np.cos(heading)], axis=1)


def _catmull_rom(corners: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """A smooth curve through `corners` [n, 2], `steps` points a section (Catmull and Rom 1974)."""
    ends = np.vstack([2 * corners[0] - corners[1], corners, 2 * corners[-1] - corners[-2]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    sections = [
        (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3) / 2
        for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False)
    ]
    return np.vstack([*sections, corners[-1:]])


def _normalised(values: NDArray[np.float64]) -> Profile:
    """Peak 1, what has faded cut away, borders tight."""
    values = (values / np.abs(values).max()).astype(np.float32)
    values[np.abs(values) < FADED] = 0
    x, y, width, height = cv2.boundingRect((values != 0).astype(np.uint8))
    return np.ascontiguousarray(values[y : y + height, x : x + width])
