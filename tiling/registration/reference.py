"""The reference picture of an aligned product and how much its good images differ from it, pixel by pixel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image
from flawmap.tiling.registration.local import LocalShifts, measure_local_shifts, warp_displaced
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.register import Registration
from flawmap.tiling.registration.trimmed import fewest_known, trimmed_statistics
from flawmap.tiling.registration.warp import columns_in_reference, warp_box, warp_to_reference

Image = NDArray[Any]

FEWEST_IMAGES = 5
MOST_AVERAGED = 24
"""More images are registered, but not averaged: they would hardly change the reference."""
_STACK_BYTES = 400_000_000  # of aligned images held at once


@dataclass(frozen=True)
class ReferencePicture:
    """What good images of an aligned product have in common; everything in the reference's plane.

    `image`: [H, W] or [H, W, 3], the good images' dtype: their trimmed mean.
    `spread`: [H, W] float32, the standard deviation of good images around it, in grey levels (of RGB the root mean
    square over the channels), smoothed over 3x3 px.
    `known`: [H, W] bool, False where too few of the images had data (at the border).
    `poses`: of every good image, in the order given. `averaged`: which of them were averaged, and `local`, likewise:
    what the poses of these left over, empty where that was not looked for.
    """

    image: Image
    spread: NDArray[np.float32]
    known: NDArray[np.bool_]
    poses: tuple[Pose, ...]
    averaged: tuple[int, ...]
    local: tuple[LocalShifts, ...]


def build_reference(
    paths: Sequence[Path | str],
    read: Callable[[Any], Image] = read_image,
    report: Callable[[int, int], None] | None = None,
    *,
    reach: int = 0,
) -> ReferencePicture:
    """Registers good images onto the first, averages them, registers them onto the average and averages again.

    `paths` are given to `read` one by one, several times each; no more than 400 MB of aligned images and two float32
    planes are held. The reference lies as the images do in the middle (median shift and angle). A defect or a missing
    label in one image (in up to an eighth of them) leaves no ghost. Parts of the layout that lie up to `reach` px off
    their place in an image are brought there first. `report(done, total)` is called after every image read. Raises
    UsageError for fewer than 5 images and ImageError for one that does not show the layout of the first.
    """
    if len(paths) < FEWEST_IMAGES:
        raise UsageError(f"a reference needs at least {FEWEST_IMAGES} good images, not {len(paths)}")
    first = read(paths[0])
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MOST_AVERAGED)).round().astype(int)).tolist()
    bands = row_bands(first, len(chosen))
    total, done = 2 * len(paths) + (2 * len(bands) + (reach > 0)) * len(chosen), 0

    def read_next(number: int) -> Image:
        nonlocal done
        image = read(paths[number])
        done += 1
        if report:
            report(done, total)
        return image

    def registered(onto: Image) -> list[Pose]:
        registration = Registration(onto, paths[0])
        return [registration.register(read_next(number), paths[number]) for number in range(len(paths))]

    poses = _centred(registered(first))

    def averaged(local: Sequence[LocalShifts] = ()) -> tuple[Image, NDArray[np.float32], NDArray[np.uint8]]:
        return average_aligned(first, [poses[n] for n in chosen], bands, lambda k: read_next(chosen[k]), local)

    image = averaged()[0]
    poses = registered(image)
    local = tuple(_displaced(image, read_next(n), poses[n], reach) for n in chosen) if reach else ()
    image, spread, counts = averaged(local)
    return ReferencePicture(image, spread, counts >= fewest_known(len(chosen)), tuple(poses), tuple(chosen), local)


def row_bands(image: Image, count: int) -> list[tuple[int, int]]:
    """Rows [y0, y1) of which `count` aligned images may be held at once."""
    height = len(image)
    rows = max(1, _STACK_BYTES // (count * image[0].nbytes))
    n_bands = -(-height // rows)
    edges = np.linspace(0, height, n_bands + 1).astype(int).tolist()
    return list(pairwise(edges))


def _centred(poses: list[Pose]) -> list[Pose]:
    """The same poses against a reference that lies where the images do in the middle."""
    height, width = poses[0].height, poses[0].width
    dy, dx, angle = (float(np.median([getattr(pose, name) for pose in poses])) for name in ("dy", "dx", "angle"))
    middle = Pose(dy, dx, angle, height, width).inverse()
    return [pose.after(middle) for pose in poses]


def _displaced(reference: Image, image: Image, pose: Pose, reach: int) -> LocalShifts:
    """By how much the reference lies beside `image`, which is laid on it: in the reference's plane."""
    return measure_local_shifts(warp_to_reference(image, pose), reference, reach)


def average_aligned(
    like: Image,
    poses: Sequence[Pose],
    bands: Sequence[tuple[int, int]],
    read: Callable[[int], Image],
    local: Sequence[LocalShifts] = (),
) -> tuple[Image, NDArray[np.float32], NDArray[np.uint8]]:
    """Trimmed mean (as `like`), standard deviation [H, W] float32 and number of images [H, W] with data.

    `read(k)` gives the image of pose k, once for each of `bands` of rows; `local`: what each pose leaves over, or none.
    """
    height, width = like.shape[:2]
    mean, variance = np.empty_like(like), np.empty((height, width), np.float32)
    counts = np.empty((height, width), np.uint8)
    for band in bands:
        stack = np.empty((len(poses), band[1] - band[0], *like.shape[1:]), like.dtype)
        columns = np.empty((2, len(poses), band[1] - band[0]), np.int64)
        for number, pose in enumerate(poses):
            # Cubic: what is averaged must not be blurred, or every edge of a sharp image would differ from it.
            image = read(number)
            stack[number] = warp_to_reference(image, pose, band, cubic=True)
            if local:
                warp_displaced(
                    stack[number], band[0], 0, local[number], partial(warp_box, image, pose.to_image, cubic=True)
                )
            columns[:, number] = columns_in_reference(pose, band)
        rows = np.s_[band[0] : band[1]]
        trimmed_statistics(stack, columns[0], columns[1], mean[rows], variance[rows], counts[rows])
    # From a handful of images a pixel's variance is rough: its neighbours' steady it.
    deviation = cv2.blur(variance, (3, 3), dst=variance, borderType=cv2.BORDER_REFLECT_101)
    return mean, np.sqrt(deviation, out=variance), counts
