"""Fits the local median: what its residual shows on good images."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.classical.local_median import BOXES, STRIDE, LocalMedian
from flawmap.training.classical.geometry import receptive_field_of
from flawmap.training.classical.good_squares import good_squares
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import GoodImages, Normalisation
from flawmap.training.standardisation import Standardisation

SQUARE = 512  # px looked at in one go
PIXELS = 10_000_000  # good pixels are enough to know one in a million


def fit_median(
    images: GoodImages, held_out: GoodImages, normalisation: Normalisation, config: TrainConfig
) -> LocalMedian:
    """Ranges from the images to learn from, the standardisation from those held out for it."""
    ones = np.ones(len(BOXES), np.float32)
    raw = LocalMedian(
        window=config.median.window,
        low=min(float(image.min()) for image in images.padded),
        high=max(float(image.max()) for image in images.padded),
        unit=max(normalisation.std),
        location=0 * ones,
        scale=ones,
    )
    if raw.high <= raw.low:  # a blank product: any range will do
        raw = replace(raw, high=raw.low + 1)
    n_pixels = min(PIXELS, sum(image.shape[0] * image.shape[1] for image in held_out.padded))
    margin = receptive_field_of(config) // 2 + 1

    def evidence() -> Iterator[NDArray[np.float32]]:
        seen = 0
        for square in good_squares(held_out, SQUARE, STRIDE, config.learning.seed):
            maps = np.where(square.counted, raw.evidence(square.pixels), np.float32(-np.inf))
            yield maps[:, margin:-margin, margin:-margin]
            seen += square.pixels.shape[0] * square.pixels.shape[1]
            if seen >= n_pixels:
                return

    measured = Standardisation.measure(evidence())
    return replace(raw, location=_numbers(measured.location), scale=_numbers(measured.scale))


def _numbers(values: tuple[float, ...]) -> NDArray[Any]:
    return np.array(values, np.float32)
