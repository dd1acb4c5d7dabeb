"""Synthetic damage: what the repair network learns to undo and the head learns to see.

A few small, local changes a tile, in contrast relative to what the product shows around them: a mark of three local
standard deviations is as visible on cloth as on ground steel. Related work: Zavrtanik et al., DRAEM (ICCV 2021), pasted
textures; Li et al., CutPaste (CVPR 2021), pasted pieces of good images. Here most damage is a plain change of grey
level, as stains, dents, scratches and dust are. The standard deviation is that of the
surroundings averaged over the damage's own thickness: so much fainter may a broad stain be than a dot.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.training import shapes
from flawmap.training.camera import Camera
from flawmap.training.config import DamageSettings

Tile = NDArray[np.float32]  # [H, W, C], normalised
Donor = Callable[[], Tile]
SURROUNDINGS = 4  # px around a damage that count as its neighbourhood
THICKEST = 17  # px: a broader damage is judged as one so thick
SPOTS = 4  # of 3x3 px, looked at for another material
VISIBLE = 0.8  # local standard deviations by which a damaged pixel differs at least
DRAW_SHAPE: tuple[Callable[[np.random.Generator], shapes.Patch], ...] = (
    shapes.dot,
    shapes.line,
    shapes.blob,
    shapes.polygon,
    shapes.rectangle,
    shapes.coarse_noise,
)
SHAPE_SHARES = (0.33, 0.29, 0.15, 0.08, 0.07, 0.08)


def damage_tile(
    rng: np.random.Generator, tile: Tile, donor: Donor, camera: Camera, settings: DamageSettings
) -> tuple[Tile, NDArray[np.bool_]]:
    """Damages a copy of `tile` in 1 to `most_per_tile` places.

    Args:
        tile: what is damaged, float32 [H, W, C], normalised.
        donor: draws another good tile of the same shape, to take foreign pieces from.
        camera: its noise, less than which no contrast is measured in, and its blur, which damage shows too.

    Returns:
        the damaged tile and a mask [H, W], true where a pixel visibly changed.
    """
    damaged = tile.copy()
    mask = np.zeros(tile.shape[:2], np.bool_)
    for _ in range(int(rng.integers(1, settings.most_per_tile + 1))):
        opacity = shapes.soften(rng, DRAW_SHAPE[rng.choice(len(DRAW_SHAPE), p=SHAPE_SHARES)](rng), camera.blur)
        _apply(rng, damaged, mask, donor, opacity, camera.noise)
    return damaged, mask


def _apply(
    rng: np.random.Generator, damaged: Tile, mask: NDArray[np.bool_], donor: Donor, opacity: shapes.Patch, noise: float
) -> None:
    """Draws one damage at a random place, which may lie partly outside the tile."""
    height, width = damaged.shape[:2]
    rows, columns = opacity.shape
    y, x = (
        int(rng.integers(1 - rows // 2, height - rows // 2)),
        int(rng.integers(1 - columns // 2, width - columns // 2)),
    )
    y0, x0, y1, x1 = max(0, y), max(0, x), min(height, y + rows), min(width, x + columns)
    opacity = opacity[y0 - y : y1 - y, x0 - x : x1 - x, None] * np.float32(rng.uniform(0.3, 1))
    around = damaged[max(0, y0 - SURROUNDINGS) : y1 + SURROUNDINGS, max(0, x0 - SURROUNDINGS) : x1 + SURROUNDINGS]
    mean = around.mean(axis=(0, 1))
    thickness = thickness_of(opacity)
    deviation = np.maximum(local_deviation(around, thickness), noise / np.sqrt(thickness))
    here = damaged[y0:y1, x0:x1]
    filled = here + opacity * (_filling(rng, here, donor, mean, deviation) - here)
    change = np.abs(filled - here).max(axis=2)
    mask[y0:y1, x0:x1] |= change > VISIBLE * deviation.min()
    damaged[y0:y1, x0:x1] = filled


def thickness_of(opacity: Tile) -> int:
    """About how many px wide a damage is where it is narrow."""
    area = float(opacity.sum()) / max(float(opacity.max(initial=0)), 1e-6)
    return int(np.clip(round(area / max(opacity.shape[:2])), 1, THICKEST))


def local_deviation(around: Tile, thickness: int) -> Tile:
    """Standard deviation of what surrounds a damage, [C], to an eye that looks for something so thick.

    A weave is rough from thread to thread and even over ten of them: a broad stain shows on it at a tenth of the
    contrast that a dot needs.
    """
    if thickness > 1:
        smooth = cv2.blur(around, (thickness, thickness), borderType=cv2.BORDER_REFLECT_101)
        around = np.asarray(smooth, np.float32).reshape(around.shape)  # OpenCV drops a last axis of 1
    return np.asarray(around.std(axis=(0, 1)), np.float32)


def _filling(rng: np.random.Generator, here: Tile, donor: Donor, mean: Tile, deviation: Tile) -> Tile:
    """What stands in the damaged place: a level, a piece or a material of elsewhere, or what was there, changed."""
    kind = rng.random()
    sign = np.float32(rng.choice([-1, 1]))
    if kind < 0.4:
        contrast = sign * np.float32(shapes.log_uniform(rng, 1.5, 10))
        # Grain is the product's own: white noise would give the damage away on every picture that is not.
        grain = _piece(rng, donor(), here.shape)
        grain = (grain - grain.mean(axis=(0, 1))) * np.float32(rng.uniform(0, 1))
        return np.asarray(mean + deviation * contrast + grain, np.float32)
    if kind < 0.6:
        return _piece(rng, donor(), here.shape)
    if kind < 0.75:
        # A material of the product where it does not belong: copper that bridges a gap, ground that opens a trace.
        level = other_material(rng, donor(), mean)
        return np.asarray(level + deviation * rng.normal(0, 0.1, here.shape), np.float32)
    return (here + deviation * sign * np.float32(shapes.log_uniform(rng, 1.5, 8))).astype(np.float32)


def other_material(rng: np.random.Generator, tile: Tile, mean: Tile) -> Tile:
    """The level, [C], of that one of a few random spots of `tile` that differs most from `mean`, [C]."""
    ys, xs = (rng.integers(0, n - 2, SPOTS) for n in tile.shape[:2])
    levels = np.stack([tile[y : y + 3, x : x + 3].mean(axis=(0, 1)) for y, x in zip(ys, xs, strict=True)])
    return np.asarray(levels[np.abs(levels - mean).sum(axis=1).argmax()], np.float32)


def _piece(rng: np.random.Generator, tile: Tile, shape: tuple[int, ...]) -> Tile:
    """A random part of `tile` of height and width `shape`."""
    y = int(rng.integers(0, tile.shape[0] - shape[0] + 1))
    x = int(rng.integers(0, tile.shape[1] - shape[1] + 1))
    return tile[y : y + shape[0], x : x + shape[1]]
