"""Random squares of good images."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.training.good_images import GoodImages


def good_squares(images: GoodImages, side: int, multiple: int, seed: int) -> Iterator[NDArray[Any]]:
    """Endless squares of `side` px, smaller where an image is, sides multiples of `multiple`, from everywhere."""
    rng = np.random.default_rng(seed)
    while True:
        image = images.padded[int(rng.integers(len(images.padded)))]
        height, width = (min(side, n // multiple * multiple) for n in image.shape[:2])
        y, x = int(rng.integers(image.shape[0] - height + 1)), int(rng.integers(image.shape[1] - width + 1))
        yield np.ascontiguousarray(image[y : y + height, x : x + width])
