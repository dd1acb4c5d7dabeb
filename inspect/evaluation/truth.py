"""The truth of a dataset in the MVTec AD layout: which images are good, and where the defects of the others are.

DATASET/test/good/000.png
DATASET/test/scratch/000.png      DATASET/ground_truth/scratch/000_mask.png

Where pages are pictures, each page has a mask of its own, `000#2_mask.png` of 000.tif#2.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.true_defects import TrueDefect
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import list_images, read_image
from flawmap.tiling.pages import mask_name, pictures_of
from flawmap.tiling.reading import Pages
from flawmap.tiling.strips.open_rows import open_rows, strip_size

GOOD = "good"
ROWS_AT_ONCE = 256  # of a mask too large to be held as a whole


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
        mask, size = None, strip_size(self.mask)
        if size is None:
            mask = read_image(self.mask)
            size = mask.shape[0], mask.shape[1]
        if size != shape:
            raise UsageError(f"{self.mask} is {size[1]}x{size[0]} px, its image {self.path} {shape[1]}x{shape[0]} px")
        return defects_of_strip(self.mask, join) if mask is None else defects_of(mask, join)


def read_truth(dataset: Path, pages: Pages = "one") -> list[TrueImage]:
    """Every test image of the dataset.

    Raises:
        UsageError: the folder does not hold the layout, or a defective image lacks its mask. Of a file with several
            pictures one mask will do: the pages without one are good.
    """
    test = dataset / "test"
    if not test.is_dir():
        raise UsageError(
            f"`--truth` (={dataset}) must hold test/good and test/<kind> in the MVTec AD layout: it has no test/"
        )
    images = []
    for file in list_images(test):
        kind = file.relative_to(test).parts[0]
        pictures = pictures_of([file], pages)
        if kind == GOOD:
            images += [TrueImage(path, GOOD, None) for path in pictures]
            continue
        masks = [dataset / "ground_truth" / kind / mask_name(path) for path in pictures]
        if not any(mask.is_file() for mask in masks):
            raise UsageError(f"{file} is defective by its folder, but {masks[0]} is missing{_of_any(pictures)}")
        for path, mask in zip(pictures, masks, strict=True):
            images.append(TrueImage(path, kind, mask) if mask.is_file() else TrueImage(path, GOOD, None))
    return images


def _of_any(pictures: list[Path]) -> str:
    """What the message about a missing mask adds where a file holds several pictures."""
    return "" if len(pictures) == 1 else f", as are those of its other {len(pictures) - 1} pages"


def defects_of(mask: NDArray[Any], join: int) -> list[TrueDefect]:
    """Defects of a mask ([H, W] or [H, W, 3], above 0 where one is); fragments `join` px apart (Chebyshev) are one."""
    binary = _binary(mask)
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


def defects_of_strip(mask: Path, join: int) -> list[TrueDefect]:
    """As `defects_of`, of a mask too large to be held as a whole: only the rows that one defect spans are.

    In two passes. Between rows that hold a defect and lie more than `join` px apart the mask can be cut.
    """
    with open_rows(mask) as rows:
        bands = (_binary(rows.read(ROWS_AT_ONCE)) for _ in range(0, rows.height, ROWS_AT_ONCE))
        held = np.flatnonzero(np.concatenate([band.any(axis=1) for band in bands]))
    cuts = np.flatnonzero(np.diff(held) > max(1, join)) + 1
    found = []
    with open_rows(mask) as rows:
        at = 0
        for span in np.split(held, cuts) if len(held) else ():
            y0, y1 = int(span[0]), int(span[-1]) + 1
            rows.skip(y0 - at)
            at = y1
            found += [replace(d, y0=d.y0 + y0, y1=d.y1 + y0) for d in defects_of(rows.read(y1 - y0), join)]
    return found


def _binary(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """1 where there is a defect, [H, W]."""
    return ((mask if mask.ndim == 2 else mask.max(axis=2)) > 0).view(np.uint8)
