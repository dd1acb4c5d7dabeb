"""The good images of a training in memory: those to learn from, and those held out to standardise scores on."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from flawmap.training.config import TrainConfig
from flawmap.training.good_images import GoodImages, check_alike, read_good_images
from flawmap.training.split import Split

LOG = logging.getLogger(__name__)


def read_split(
    split: Split, config: TrainConfig, *, multiple: int, border: int, report: Callable[[float, str], None]
) -> tuple[GoodImages, GoodImages]:
    """(to learn from, held out), padded by `border` px to sides that are multiples of `multiple`.

    Raises:
        ImageError: an image cannot be read. UsageError: images differ in dtype or channels.
    """
    reading: dict[str, Any] = {
        "tile_size": config.tile.train_size,
        "multiple": multiple,
        "border": border,
        "longest_side": config.image.longest_side,
    }
    order = np.random.default_rng(config.learning.seed).permutation(len(split.train))
    images = read_good_images(
        [split.train[i] for i in order],
        cache_gib=config.learning.cache_gib,
        report=lambda done, total: report(0.0, f"read {done} of {total} good images"),
        **reading,
    )
    if images.left_out:
        LOG.warning("%d of %d images left out: `learning.cache_gib` is full", images.left_out, len(order))
    held_out = read_good_images(split.standardise, cache_gib=config.learning.cache_gib / 4, **reading)
    check_alike(images.paths[0], images.padded[0], held_out.paths[0], held_out.padded[0])
    return images, held_out
