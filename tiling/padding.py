"""What tiles show beyond a picture's border: the picture reflected there, or its last pixel repeated.

    picture          a b c d
    reflect      c b a b c d c b      the end pixels not repeated
    replicate    a a a b c d d d

A reflection looks like more of the picture, so that a network cannot tell where the picture ends. Stripes of one pixel
can be told from anything that a camera sees, and what good pictures show at their border and nowhere else is no
surprise there (docs/detection.md). Inspection must show a network what its training showed it.
"""

from typing import Literal

import cv2
import numpy as np

Padding = Literal["reflect", "replicate"]

BORDER_TYPES: dict[Padding, int] = {"reflect": cv2.BORDER_REFLECT_101, "replicate": cv2.BORDER_REPLICATE}


def source_index(index: np.ndarray, length: int, padding: Padding) -> np.ndarray:
    """Which of `length` px are seen at `index` (int64, any), int64 in 0..`length` - 1."""
    if padding == "replicate":
        return np.asarray(np.clip(index, 0, length - 1))
    if length == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * (length - 1))
    return np.asarray(np.minimum(index, 2 * (length - 1) - index))
