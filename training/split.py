"""Splits good images by image: what trains, what standardises the evidence, what calibrates. Never by tile."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawmap.tiling.errors import UsageError
from flawmap.training.config import SplitSettings

FEWEST = 4  # two to learn from, one to standardise on, one to calibrate on


@dataclass(frozen=True)
class Split:
    train: list[Path]
    standardise: list[Path]
    calibrate: list[Path]


def split_images(paths: list[Path], settings: SplitSettings, seed: int) -> Split:
    """Draws the three disjoint parts; the same paths and seed give the same parts.

    Raises:
        UsageError: there are fewer good images than the split needs.
    """
    if len(paths) < FEWEST:
        raise UsageError(
            f"{len(paths)} good image{'s' if len(paths) != 1 else ''} found, at least {FEWEST} are needed: "
            "2 to learn from, 1 to standardise scores on, 1 to calibrate on"
        )
    n_calibrate = max(1, round(len(paths) * settings.calibrate_share))
    n_standardise = max(1, round(len(paths) * settings.standardise_share))
    n_held_out = n_calibrate + n_standardise
    if len(paths) - n_held_out < 2:
        raise UsageError(
            f"`split.calibrate_share` (={settings.calibrate_share:g}) and `split.standardise_share` "
            f"(={settings.standardise_share:g}) leave {max(0, len(paths) - n_held_out)} of {len(paths)} good images "
            f"to learn from, at least 2 are needed: lower the shares{_or_more_images(settings)}"
        )
    order = np.random.default_rng(seed).permutation(len(paths))
    shuffled = [paths[i] for i in order]
    return Split(
        train=sorted(shuffled[n_held_out:]),
        standardise=sorted(shuffled[n_calibrate:n_held_out]),
        calibrate=sorted(shuffled[:n_calibrate]),
    )


def _or_more_images(settings: SplitSettings) -> str:
    """How many images would do, where any number does; one more than the shares say, because counts are rounded."""
    left = 1 - settings.calibrate_share - settings.standardise_share
    return f" or give {math.ceil(3 / left)} good images" if left > 0.01 else ""
