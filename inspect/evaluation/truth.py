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

from flawmap.inspect.true_defects import TrueDefect
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import list_images, read_image

GOOD = "good"


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
    binary = ((mask if mask.ndim == 2 else mask.max(axis=2)) > 0).view(np.uint8)
    left, top, width, height = cv2.boundingRect(binary)  # labels take four bytes a pixel: only where there is one
    binary = binary[top : top + height, left : left + width]
    if not binary.size:
        return []
    # Squares of `join` px around two pixels touch exactly when these are at most `join` px apart.
    joined = cv2.dilate(binary, np.ones((max(1, join), max(1, join)), np.uint8))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    found = []
    for label, (x, y, wide, high, _) in enumerate(boxes.tolist()[1:], start=1):
        inside = np.s_[y : y + high, x : x + wide]
        pixels = (labels[inside] == label) & (binary[inside] > 0)
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))  # without the dilation
        (y0, y1), (x0, x1) = (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)
        pixels = pixels[y0:y1, x0:x1].copy()
        at_y, at_x = int(y0) + y + top, int(x0) + x + left
        found.append(TrueDefect(at_y, at_x, at_y + pixels.shape[0], at_x + pixels.shape[1], int(pixels.sum()), pixels))
    return found
