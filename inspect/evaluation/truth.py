"""The truth of a dataset in the MVTec AD layout: which images are good, and where the defects of the others are.

DATASET/test/good/000.png
DATASET/test/scratch/000.png      DATASET/ground_truth/scratch/000_mask.png
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import list_images, read_image

GOOD = "good"


@dataclass(frozen=True)
class TrueDefect:
    """One 8-connected piece of a mask; box half-open in px of the image."""

    y0: int
    x0: int
    y1: int
    x1: int
    area_px: int
    pixels: NDArray[np.bool_]  # [y1 - y0, x1 - x0]

    @property
    def size_px(self) -> int:
        """Longer side of the box."""
        return max(self.y1 - self.y0, self.x1 - self.x0)


@dataclass(frozen=True)
class TrueImage:
    path: Path
    kind: str
    mask: Path | None  # None: good

    def defects(self, join: int, shape: tuple[int, int]) -> list[TrueDefect]:
        """The pieces of the mask, fragments at most `join` px apart as one defect; none for a good image.

        UsageError: the mask has another (height, width) than `shape`, the image's.
        """
        if self.mask is None:
            return []
        mask = read_image(self.mask)
        if mask.shape[:2] != shape:
            raise UsageError(
                f"{self.mask} is {mask.shape[1]}x{mask.shape[0]} px, its image {self.path} {shape[1]}x{shape[0]} px"
            )
        return defects_of(mask, join)


def read_truth(dataset: Path) -> list[TrueImage]:
    """Every test image of the dataset.

    Raises:
        UsageError: the folder does not hold the layout, or a defective image lacks its mask.
    """
    test = dataset / "test"
    if not test.is_dir():
        raise UsageError(
            f"`--truth` (={dataset}) must hold test/good and test/<kind> in the MVTec AD layout: it has no test/"
        )
    images = []
    for path in list_images(test):
        kind = path.relative_to(test).parts[0]
        mask = None
        if kind != GOOD:
            mask = dataset / "ground_truth" / kind / f"{path.stem}_mask.png"
            if not mask.is_file():
                raise UsageError(f"{path} is defective by its folder, but {mask} is missing")
        images.append(TrueImage(path, kind, mask))
    return images


def defects_of(mask: NDArray[Any], join: int) -> list[TrueDefect]:
    """Defects of a mask ([H, W] or [H, W, 3], above 0 where one is); fragments `join` px apart (Chebyshev) are one."""
    binary = (mask if mask.ndim == 2 else mask.max(axis=2)) > 0
    # Squares of `join` px around two pixels touch exactly when these are at most `join` px apart.
    joined = cv2.dilate(binary.astype(np.uint8), np.ones((max(1, join), max(1, join)), np.uint8))
    count, joined_labels = cv2.connectedComponents(joined, connectivity=8)
    labels = np.asarray(np.where(binary, joined_labels, 0), np.int32)
    found = []
    for label, box in zip(range(1, count), _boxes(labels, count), strict=True):
        if box is None:
            continue
        y0, x0, y1, x1 = box
        pixels = labels[y0:y1, x0:x1] == label
        found.append(TrueDefect(y0, x0, y1, x1, int(pixels.sum()), pixels))
    return found


def _boxes(labels: NDArray[np.int32], count: int) -> list[tuple[int, int, int, int] | None]:
    """Half-open box of every label from 1 on, in one look at the foreground."""
    ys, xs = np.nonzero(labels)
    which = labels[ys, xs] - 1
    low_y, low_x = np.full(count - 1, 1 << 30), np.full(count - 1, 1 << 30)
    high_y, high_x = np.full(count - 1, -1), np.full(count - 1, -1)
    np.minimum.at(low_y, which, ys)
    np.minimum.at(low_x, which, xs)
    np.maximum.at(high_y, which, ys)
    np.maximum.at(high_x, which, xs)
    rows = zip(low_y.tolist(), low_x.tolist(), high_y.tolist(), high_x.tolist(), strict=True)
    return [(y0, x0, y1 + 1, x1 + 1) if y1 >= 0 else None for y0, x0, y1, x1 in rows]
