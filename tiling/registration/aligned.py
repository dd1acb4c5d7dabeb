"""Whether good images show one layout, each part lying a little differently, or a surface without fixed places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import describe, read_image
from flawmap.tiling.registration.levels import Grey, grey
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.register import LOWEST_QUALITY, Registration

Image = NDArray[Any]
Shift = tuple[float, float]  # down and right, px

MOST_COMPARED = 8
"""Images that are registered onto the first."""
REPEATED = 0.8
"""A picture repeats where, moved by a period, it is as like itself as this share of what another image is."""
HELD = 0.7
"""Parts whose places, taken round the period, have a mean this long (0 to 1) are held by a fixture: of 8 places left to
chance, one time in 50 along one direction (Rayleigh's test), one in 2,500 along two."""
_CROP = 1024  # px in the middle of a picture in which a period is looked for
_SHORTEST_PERIOD = 4  # px


@dataclass(frozen=True)
class Alignment:
    """`aligned`: whether a product's images show one layout. `reason`: one sentence why, or why not.

    `qualities`: of each image compared, against the first. `poses`: theirs. `periods`: none, one or two (dy, dx) px by
    which the picture repeats.
    """

    aligned: bool
    reason: str
    qualities: tuple[float, ...] = ()
    poses: tuple[Pose, ...] = ()
    periods: tuple[Shift, ...] = ()


def looks_aligned(paths: Sequence[Path | str], read: Callable[[Any], Image] = read_image) -> Alignment:
    """Registers up to 8 images, evenly chosen of `paths` (given to `read`), onto the first and judges the likeness.

    Aligned: most reach `LOWEST_QUALITY`. Not aligned: images of unlike sizes or kinds, fewer than two, none with
    structure, unlike images; and textures with a strict period, where any image fits any other somewhere: their places
    within the period are left to chance, where those of parts in a fixture are not.
    """
    if len(paths) < 2:
        return Alignment(False, "one image alone does not tell")
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MOST_COMPARED + 1)).round().astype(int)).tolist()
    first = read(paths[0])
    try:
        registration = Registration(first, paths[0])
    except ImageError as error:
        return Alignment(False, error.reason)
    poses: list[Pose] = []
    for number in chosen[1:]:
        image = read(paths[number])
        if image.shape != first.shape or image.dtype != first.dtype:
            return Alignment(False, f"the images are of unlike sizes or kinds ({_size(first)}, {_size(image)})")
        poses.append(registration.best_pose(image, paths[number]))
    qualities = tuple(pose.quality for pose in poses)
    middle = float(np.median(qualities))
    found = f"median quality {middle:.2f}, {LOWEST_QUALITY:g} is the least"
    if middle < LOWEST_QUALITY:
        return Alignment(False, f"the images do not show one layout ({found})", qualities, tuple(poses))
    periods = find_periods(first, registration, middle)
    if not all(_held(poses, period) for period in periods):
        how = " and ".join(f"({dy:.1f}, {dx:.1f})" for dy, dx in periods)
        reason = f"the picture repeats every {how} px and lies anywhere within that"
        return Alignment(False, reason, qualities, tuple(poses), periods)
    return Alignment(True, f"the images show one layout ({found})", qualities, tuple(poses), periods)


def find_periods(image: Image, registration: Registration, quality: float) -> tuple[Shift, ...]:
    """(dy, dx) px by which `image`, the reference of `registration`, can be moved and still looks the same: 0 to 2.

    `quality`: what other images of the product reach, by which "the same" is measured.
    """
    found = []
    for shift in _returns(grey(_middle(image))):
        moved = registration.refined(image, Pose(*shift, 0.0, *image.shape[:2]))
        if moved.quality >= REPEATED * quality and np.hypot(moved.dy, moved.dx) >= _SHORTEST_PERIOD:
            found.append((moved.dy, moved.dx))
    return tuple(found)


def _held(poses: Sequence[Pose], period: Shift) -> bool:
    along = np.array(period) / np.sum(np.square(period))
    turns = np.array([(0.0, 0.0), *((pose.dy, pose.dx) for pose in poses)]) @ along
    return bool(np.abs(np.exp(2j * np.pi * turns).mean()) >= HELD)


def _middle(image: Image) -> Image:
    y0, x0 = (max(0, (side - _CROP) // 2) for side in image.shape[:2])
    return image[y0 : y0 + _CROP, x0 : x0 + _CROP]


def _returns(picture: Grey) -> list[Shift]:
    """Where the autocorrelation comes back highest after it fell off: the nearest peak, and the nearest across it."""
    likeness = _autocorrelation(picture)
    height = len(likeness)
    dy, dx = np.indices(likeness.shape) - np.array([height // 2, 0])[:, None, None]
    distance = np.hypot(dy, dx)
    rings = distance.astype(int).ravel()
    fallen = np.flatnonzero(np.bincount(rings, likeness.ravel()) < 0.3 * np.bincount(rings))
    if not fallen.size:
        return []
    likeness[distance <= max(_SHORTEST_PERIOD, fallen[0])] = 0
    peaks = (likeness == cv2.dilate(likeness, np.ones((5, 5), np.uint8))) & (likeness > 0.8 * likeness.max())
    peaks &= likeness > 0.3
    ys, xs = np.nonzero(peaks)
    found: list[Shift] = []
    for number in np.argsort(distance[ys, xs], kind="stable").tolist():
        shift = (float(ys[number] - height // 2), float(xs[number]))
        if not found:
            found = [shift]
        elif abs(found[0][0] * shift[1] - found[0][1] * shift[0]) > 0.3 * np.hypot(*found[0]) * np.hypot(*shift):
            return [*found, shift]
    return found


def _autocorrelation(picture: Grey) -> Grey:
    """[H, W // 2], 1 at no shift: shifts from H // 2 up to H // 2 down (rows), from none to W // 2 right (columns)."""
    height, width = picture.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None]

    def auto(values: NDArray[np.float64]) -> NDArray[np.float64]:
        size = (2 * height, 2 * width)
        found = np.fft.irfft2(np.abs(np.fft.rfft2(values, s=size)) ** 2, s=size)
        return np.asarray(np.roll(found, height // 2, axis=0)[:height, : width // 2])

    # The window alone falls off too: without it a far return would look weak.
    likeness = auto((picture - picture.mean()) * window) / auto(window)
    return np.asarray(likeness / likeness[height // 2, 0], np.float32)


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]} {describe(image)}"
