"""Fits the golden template: the camera's noise, and what leaves the template's band on good images."""

import numpy as np

from flawmap.tiling.classical.golden_template import GoldenTemplate
from flawmap.training.camera import Camera
from flawmap.training.classical.standardised import standardised
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import GoodImages, Normalisation

LEAST_NOISE = 12**-0.5 / 255  # of full scale: what rounding to 8 bits adds, where pictures are so flat as to show none


def fit_template(
    images: GoodImages, held_out: GoodImages, normalisation: Normalisation, config: TrainConfig
) -> GoldenTemplate:
    """Noise from the images to learn from, the standardisation from those held out for it; both aligned."""
    noise = Camera.measure(images, normalisation).noise * max(normalisation.std)
    raw = GoldenTemplate(
        slack=config.template.slack,
        noise=max(noise, LEAST_NOISE * images.full_scale),
        location=np.zeros(1, np.float32),
        scale=np.ones(1, np.float32),
    )
    return standardised(raw, held_out, config)
