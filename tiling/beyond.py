"""What tiles show beyond a picture's border: the picture reflected there, or its last pixel repeated.

    picture          a b c d
    reflected    c b a b c d c b      the end pixels not repeated
    repeated     a a a a b c d d

A reflection looks like more of the picture, so that a network cannot tell where the picture ends. Stripes of one pixel
can be told from anything that a camera sees, and what good pictures show at their border and nowhere else is no
surprise there (docs/detection.md). Inspection must show a network what its training showed it.
"""

from typing import Literal

import cv2
import numpy as np

Beyond = Literal["reflected", "repeated"]

OPENCV: dict[Beyond, int] = {"reflected": cv2.BORDER_REFLECT_101, "repeated": cv2.BORDER_REPLICATE}


def seen_at(index: np.ndarray, length: int, beyond: Beyond) -> np.ndarray:
    """Which of `length` px are seen at `index` (int64, any), int64 in 0..`length` - 1."""
    if beyond == "repeated":
        return np.asarray(np.clip(index, 0, length - 1))
    if length == 1:
        return np.zeros_like(index)
    index = np.abs(index) % (2 * (length - 1))
    return np.asarray(np.minimum(index, 2 * (length - 1) - index))
