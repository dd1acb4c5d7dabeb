"""Shrinking large images before they are cut into tiles, and bringing what comes back to full size.

Shrinking a 5120 px image to 2048 px leaves 2 px of a 5 px dot: this is what flawmap is there to do without, and what
people come from. It stands here so that the loss can be measured (docs/baselines.md).
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

CHANNELS_AT_ONCE = 4  # that OpenCV averages, and interpolates by cubics


def shrunk_size(shape: tuple[int, ...], longest_side: int | None) -> tuple[int, int]:
    """(height, width) of an image of `shape`, the longer at most `longest_side` px; as they are where it is None."""
    height, width = shape[:2]
    if longest_side is None or max(height, width) <= longest_side:
        return height, width
    scale = longest_side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def shrink(image: NDArray[Any], longest_side: int | None) -> NDArray[Any]:
    """The image itself, or its area means where a side is longer than `longest_side` px.

    `image`: [H, W] or [H, W, C], uint8, uint16 or float32; the result has its dtype.
    """
    height, width = shrunk_size(image.shape, longest_side)
    if (height, width) == image.shape[:2]:
        return image
    return area_means(image, height, width)


def area_means(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """`image` ([H, W] or [H, W, C], C as large as may be) at a smaller size: every pixel the mean of what it covers."""
    if image.ndim == 2 or image.shape[2] <= CHANNELS_AT_ONCE:
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    parts = [cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) for part in in_parts(image)]
    return np.concatenate(parts, axis=2)


def in_parts(image: NDArray[Any]) -> list[NDArray[Any]]:
    """[H, W, C] as images of so many channels as OpenCV takes, at least 2: it drops a last axis of 1."""
    n_parts = -(-image.shape[2] // CHANNELS_AT_ONCE)
    return [np.ascontiguousarray(part) for part in np.array_split(image, n_parts, axis=2)]


def enlarge(image: NDArray[Any], shape: tuple[int, int], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """`image` ([h, w] or [h, w, C]) at the (height, width) of `shape`, bilinear; written into `out` where it fits."""
    size = (shape[1], shape[0])
    if out is None or out.shape != (*shape, *image.shape[2:]) or out.dtype != image.dtype:
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
    cv2.resize(image, size, dst=out, interpolation=cv2.INTER_LINEAR)
    return out
