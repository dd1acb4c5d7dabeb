"""Random squares of good images."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flawmap.training.good_images import GoodImages


class Square(NamedTuple):
    """`pixels` [H, W] or [H, W, C]; `counted` bool [H, W]; `context` [H, W, C + 1] of an aligned product."""

    pixels: NDArray[Any]
    counted: NDArray[np.bool_]
    context: NDArray[Any] | None

    @property
    def inputs(self) -> tuple[NDArray[Any], ...]:
        """What a model is shown of it."""
        return (self.pixels,) if self.context is None else (self.pixels, self.context)


def good_squares(images: GoodImages, side: int, multiple: int, seed: int) -> Iterator[Square]:
    """Endless squares of `side` px, smaller where an image is, sides multiples of `multiple`, from all that counts."""
    rng = np.random.default_rng(seed)
    while True:
        index = images.draw(rng)
        image = images.padded[index]
        height, width = (min(side, n // multiple * multiple) for n in image.shape[:2])
        counted = np.ones((height, width), np.bool_)
        if images.counted is None:
            y, x = int(rng.integers(image.shape[0] - height + 1)), int(rng.integers(image.shape[1] - width + 1))
        else:
            y, x = images.counted.draw(rng, index, height, width)
            counted = images.counted.look(index, y, x, height, width) > 0
        context = images.context(index, y, x, height, width)
        yield Square(np.ascontiguousarray(image[y : y + height, x : x + width]), counted, context)
