"""Pictures brought from the reference's plane into an image's, or back, by a pose; whole or some rows of them.

Bilinear by default: cv2.warpAffine, reflected beyond the border. OpenCV divides the work among its own threads where
`cv2.setNumThreads` lets it; where it is set to 0, call from several threads with bands of rows.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.grid import Box
from flawmap.tiling.registration.pose import Matrix, Pose
from flawmap.tiling.shrink import CHANNELS_AT_ONCE, in_parts

Picture = NDArray[Any]
Rows = tuple[int, int]

LONGEST_SIDE = 32766
"""px: what cv2.warpAffine and cv2.remap can address."""


def warp_to_image(picture: Picture, pose: Pose, rows: Rows | None = None, *, cubic: bool = False) -> Picture:
    """`picture`, a map in the reference's plane, as it lies in the image.

    `picture`: [H, W] or [H, W, C], uint8, uint16 or float32, of the pose's height and width. `rows`: the image's rows
    [y0, y1) to make; all by default. Returns [y1 - y0, W] or [y1 - y0, W, C] of the same dtype.
    """
    return _warp(picture, pose.to_reference, rows, cubic)


def warp_to_reference(image: Picture, pose: Pose, rows: Rows | None = None, *, cubic: bool = False) -> Picture:
    """`image` as it lies in the reference's plane; arguments as for `warp_to_image`, `rows` those of the reference."""
    return _warp(image, pose.to_image, rows, cubic)


def warp_box(
    picture: Picture, source: Matrix, box: Box, dy: float = 0.0, dx: float = 0.0, *, cubic: bool = False
) -> Picture:
    """The pixels of `box`, (dy, dx) px beside their place: `source` says where in `picture` each of them lies."""
    matrix = source.copy()
    matrix[:, 2] += source[:, :2] @ (box.x0 + dx, box.y0 + dy)
    flags = (cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
    size = box.x1 - box.x0, box.y1 - box.y0

    def warped(channels: Picture) -> Picture:
        return cv2.warpAffine(channels, matrix, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)

    if picture.ndim == 2 or picture.shape[2] <= CHANNELS_AT_ONCE:
        return warped(picture)
    return np.concatenate([warped(part) for part in in_parts(picture)], axis=2)


def _warp(picture: Picture, source: Matrix, rows: Rows | None, cubic: bool) -> Picture:
    """`source`: where in `picture` each pixel of the result comes from."""
    height, width = picture.shape[:2]
    y0, y1 = rows if rows is not None else (0, height)
    return warp_box(picture, source, Box(y0, 0, y1, width), cubic=cubic)


def columns_in_reference(pose: Pose, rows: Rows | None = None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """([n], [n]) int64: in each of the reference's rows, the columns [first, end) that lie within the image.

    What lies within a turned rectangle is one run of columns in every row: four half-planes.
    """
    y0, y1 = rows if rows is not None else (0, pose.height)
    y = np.arange(y0, y1, dtype=np.float64)
    first, end = np.zeros(len(y)), np.full(len(y), float(pose.width))
    slack = 1e-6  # a pose that is the identity but for rounding loses no border
    for (a, b, c), side in zip(pose.to_image, (pose.width, pose.height), strict=True):
        start = b * y + c  # at column 0; `a` more with every column
        if abs(a) < 1e-12:
            outside = (start < -slack) | (start > side - 1 + slack)
            end[outside] = 0
            continue
        bounds = np.sort([(-slack - start) / a, (side - 1 + slack - start) / a], axis=0)
        first = np.maximum(first, np.ceil(bounds[0]))
        end = np.minimum(end, np.floor(bounds[1]) + 1)
    end = np.maximum(end, first)
    return first.astype(np.int64), end.astype(np.int64)
