"""The zero and the unit of a score that looks at single pixels: what its evidence shows on good images."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.classical.golden_template import GoldenTemplate
from flawmap.tiling.classical.local_median import LocalMedian
from flawmap.training.classical.geometry import receptive_field_of, stride_of
from flawmap.training.classical.good_squares import good_squares
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import GoodImages
from flawmap.training.standardisation import Standardisation

SQUARE = 512  # px looked at in one go
PIXELS = 10_000_000  # good pixels are enough to know one in a million

Model = TypeVar("Model", LocalMedian, GoldenTemplate)


def standardised(model: Model, held_out: GoodImages, config: TrainConfig) -> Model:
    """`model` with `location` and `scale` measured on random squares of `held_out`, as far as their pixels count."""
    n_pixels = min(PIXELS, sum(image.shape[0] * image.shape[1] for image in held_out.padded))
    margin = receptive_field_of(config) // 2 + 1

    def evidence() -> Iterator[NDArray[np.float32]]:
        seen = 0
        for square in good_squares(held_out, SQUARE, stride_of(config), config.learning.seed):
            maps = np.where(square.counted, model.evidence(*square.inputs), np.float32(-np.inf))
            yield maps[:, margin:-margin, margin:-margin]
            seen += square.counted.size
            if seen >= n_pixels:
                return

    measured = Standardisation.measure(evidence())
    location, scale = (np.array(values, np.float32) for values in (measured.location, measured.scale))
    return replace(model, location=location, scale=scale)
