"""The good images of a training in memory: those to learn from, and those held out to standardise scores on."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from flawmap.tiling.look_map import EVERYWHERE, WhereToLook
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import GoodImages, agreed_bits, check_alike, read_good_images
from flawmap.training.split import Split

LOG = logging.getLogger(__name__)


def read_split(
    split: Split,
    config: TrainConfig,
    *,
    multiple: int,
    border: int,
    report: Callable[[float, str], None],
    where: WhereToLook = EVERYWHERE,
) -> tuple[GoodImages, GoodImages]:
    """(to learn from, held out), padded by `border` px to sides that are multiples of `multiple`.

    `where`: to look, which is not drawn into the images here.

    Raises:
        ImageError: an image cannot be read. UsageError: images differ in dtype, channels or significant bits.
    """
    reading: dict[str, Any] = {
        "tile_size": config.tile.train_size,
        "multiple": multiple,
        "border": border,
        "padding": config.tile.padding,
        "longest_side": config.image.longest_side,
        "reading": config.image.reading,
        "needs_whole": _needs_whole(config, where),
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
    bits = agreed_bits({one.bits: one.paths[0] for one in (images, held_out) if one.bits is not None})
    images, held_out = replace(images, bits=bits), replace(held_out, bits=bits)
    if bits is None and images.dtype == np.uint16 and images.largest < 2**14:
        LOG.info(
            "full scale is taken to be %d: no tag says how many bits count, and the largest value of the good images "
            "is %d; `image.bits` would say it",
            images.full_scale,
            images.largest,
        )
    return images, held_out


def as_read(config: TrainConfig, images: GoodImages) -> TrainConfig:
    """`config` with the significant bits that the files said, for the bundle to expect."""
    image = config.image.model_copy(update={"bits": images.bits})
    return config.model_copy(update={"image": image})


def _needs_whole(config: TrainConfig, where: WhereToLook) -> str:
    """What of the settings needs whole pictures, so that no windows of large ones will do."""
    if where.digest:
        return "`where`"
    if config.alignment is True:
        return "`alignment`"
    if config.network.kind == "template":
        return "`network.kind` (=template)"
    return "`image.longest_side`" if config.image.longest_side is not None else ""
