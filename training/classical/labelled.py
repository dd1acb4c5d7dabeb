"""Windows of defective images and how much of each is defective, for the supervised variant.

DATASET/test/scratch/000.png      DATASET/ground_truth/scratch/000_mask.png
"""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.classical.hog_features import STRIDE, WINDOW, hog_windows, share_of_windows
from flawmap.tiling.errors import UsageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import list_images, read_image
from flawmap.tiling.padding import Padding
from flawmap.tiling.pages import mask_name, pictures_of
from flawmap.tiling.shrink import shrink
from flawmap.training.config import ImageSettings


def labelled_images(dataset: Path, settings: ImageSettings) -> list[tuple[Path, Path]]:
    """(image, mask) of every defective image; UsageError for another layout, no defective image or a missing mask.

    Of a file with several pictures those count that have a mask.
    """
    test = dataset / "test"
    if not test.is_dir():
        raise UsageError(f"`hog.labelled` (={dataset}) must hold test/<kind> in the MVTec AD layout: it has no test/")
    pairs = []
    for path in list_images(test):
        kind = path.relative_to(test).parts[0]
        if kind == "good":
            continue
        found = [
            (picture, dataset / "ground_truth" / kind / mask_name(picture))
            for picture in pictures_of([path], settings.pages)
        ]
        if not any(mask.is_file() for _, mask in found):
            raise UsageError(f"{path} is defective by its folder, but {found[0][1]} is missing")
        pairs += [pair for pair in found if pair[1].is_file()]
    if not pairs:
        raise UsageError(f"`hog.labelled` (={dataset}) has no defective image in {test}")
    return pairs


def labelled_windows(
    pairs: list[tuple[Path, Path]], settings: ImageSettings, padding: Padding
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Image by image: features float32 [n, d] of its windows, and the share of each that is defective, float32 [n].

    `padding`: of what no whole window covers.

    UsageError for a mask of another size than its image.
    """
    for path, mask_path in pairs:
        image, mask = read_image(path, settings.reading), read_image(mask_path)
        if mask.shape[:2] != image.shape[:2]:
            raise UsageError(f"{mask_path} is {_size(mask)} px, its image {path} {_size(image)} px")
        defective = ((mask if mask.ndim == 2 else mask.max(axis=2)) > 0).astype(np.uint8)
        image = shrink(image, settings.longest_side)
        height, width = image.shape[:2]
        defective = cv2.resize(defective, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
        grid = TileGrid(height, width, WINDOW, 0, multiple=STRIDE, padding=padding)
        features = hog_windows(grid.pad(image))
        yield features.reshape(-1, features.shape[2]), share_of_windows(grid.pad(defective) > 0).ravel()


def _size(image: NDArray[np.generic]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
