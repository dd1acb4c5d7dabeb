"""Fits the local median: what its residual shows on good images."""

from dataclasses import replace

import numpy as np

from flawmap.tiling.classical.local_median import BOXES, LocalMedian
from flawmap.training.classical.standardised import standardised
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import GoodImages, Normalisation


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
    return standardised(raw, held_out, config)
