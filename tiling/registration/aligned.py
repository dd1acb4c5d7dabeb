"""Whether good images show one layout, each part lying a little differently, or a surface without fixed places."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import describe, read_image
from flawmap.tiling.registration.levels import Grey, grey
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.register import LOWEST_QUALITY, Registration

Image = NDArray[Any]

MOST_COMPARED = 8
"""Images that are registered onto the first."""
REPEATED = 0.8
"""A picture that is this much as like itself one period away as at its place repeats."""
_CROP = 1024  # px in the middle of a picture in which a period is looked for
_SHORTEST_PERIOD = 4  # px


@dataclass(frozen=True)
class Alignment:
    """`aligned`: whether a product's images show one layout. `reason`: one sentence why, or why not.

    `qualities`: of each image compared, against the first. `poses`: theirs. `period`: (dy, dx) px by which the picture
    repeats, None where it does not.
    """

    aligned: bool
    reason: str
    qualities: tuple[float, ...] = ()
    poses: tuple[Pose, ...] = ()
    period: tuple[float, float] | None = None


def looks_aligned(paths: Sequence[Path | str], read: Callable[[Any], Image] = read_image) -> Alignment:
    """Registers up to 8 images, evenly chosen of `paths` (given to `read`), onto the first and judges the likeness.

    Aligned: most reach `LOWEST_QUALITY`. Not aligned: images of unlike sizes or kinds, fewer than two, none with
    structure, unlike images; and textures with a strict period, where any image fits any other somewhere: their shifts
    are not small against the period, as those of parts in a fixture are.
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
    period = repeats_every(first, registration, middle)
    if period is not None and not _held(poses, period):
        how = f"repeats every ({period[0]:.1f}, {period[1]:.1f}) px and lies anywhere within that"
        return Alignment(False, f"the picture {how}", qualities, tuple(poses), period)
    return Alignment(True, f"the images show one layout ({found})", qualities, tuple(poses), period)


def repeats_every(image: Image, registration: Registration, quality: float) -> tuple[float, float] | None:
    """(dy, dx) px by which `image`, the reference of `registration`, can be moved and still looks the same; or None.

    `quality`: what other images of the product reach: what "the same" is measured by.
    """
    shift = _highest_return(grey(_middle(image)))
    if shift is None:
        return None
    moved = registration.refined(image, Pose(*shift, 0.0, *image.shape[:2]))
    apart = float(np.hypot(moved.dy, moved.dx))
    if moved.quality < REPEATED * quality or apart < _SHORTEST_PERIOD:
        return None
    return moved.dy, moved.dx


def _held(poses: Sequence[Pose], period: tuple[float, float]) -> bool:
    """Whether all parts lie within a quarter of a period of their middle: chance would not put them there."""
    along = np.array(period) / np.hypot(*period)
    places = np.array([(0.0, 0.0), *((pose.dy, pose.dx) for pose in poses)]) @ along
    return bool(np.ptp(places) <= np.hypot(*period) / 2)


def _middle(image: Image) -> Image:
    y0, x0 = (max(0, (side - _CROP) // 2) for side in image.shape[:2])
    return image[y0 : y0 + _CROP, x0 : x0 + _CROP]


def _highest_return(picture: Grey) -> tuple[float, float] | None:
    """(dy, dx) px, whole: where the autocorrelation comes back highest after it fell off; None where it does not."""
    height, width = picture.shape
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    size = (2 * height, 2 * width)

    def auto(values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Every shift down to half the picture, up and down, right only: [height, width // 2]."""
        found = np.fft.irfft2(np.abs(np.fft.rfft2(values, s=size)) ** 2, s=size)
        return np.asarray(np.roll(found, height // 2, axis=0)[:height, : width // 2])

    likeness = auto((picture - picture.mean()) * window) / auto(window)
    likeness /= likeness[height // 2, 0]
    # The first peak lies beyond the trough around no shift: spread outwards from there until the trough is passed.
    dy, dx = np.arange(height)[:, None] - height // 2, np.arange(width // 2)[None]
    distance = np.hypot(dy, dx)
    rings = distance.astype(int)
    mean = np.bincount(rings.ravel(), likeness.ravel()) / np.maximum(1, np.bincount(rings.ravel()))
    fallen = np.flatnonzero(mean < 0.3)
    if not fallen.size:
        return None
    likeness[distance <= max(_SHORTEST_PERIOD, fallen[0])] = -1
    y, x = np.unravel_index(int(likeness.argmax()), likeness.shape)
    return (float(y - height // 2), float(x)) if likeness[y, x] > 0.3 else None


def _size(image: Image) -> str:
    return f"{image.shape[1]}x{image.shape[0]} {describe(image)}"
