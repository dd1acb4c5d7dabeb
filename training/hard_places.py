"""Mining: the places on good images that the model takes for damage, so that they can be shown to it again as good.

Some of them are damage: a folder of good images seldom holds good ones only. Peaks of the damage logit fall off as an
exponential on good images, so a peak so high that not one in twenty such folders would hold it is left out of the
training from then on, and shown to the operator.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from flawmap.training.good_images import GoodImages
from flawmap.training.scoring import ScoringModel, explain_raw, raw_tile
from flawmap.training.tile_batches import HardPlace

WINDOW = 512  # px looked at in one go
APART = 15  # px: of two peaks nearer than about this only the higher one counts
PER_WINDOW = 8
KEPT_SHARE = 0.25  # of all peaks found, the highest
FEWEST_WINDOWS = 4
ALLOWED = 0.05  # of such peaks expected on all that was looked at, and it is suspicious
SOUND_RANK = 4  # peaks a window; how far these lie below the highest one a window says how fast peaks fall off


@dataclass(frozen=True)
class Peak:
    """A peak of the damage logit."""

    logit: float
    place: HardPlace


@dataclass(frozen=True)
class Mined:
    """`hard` places to learn from, and `suspicious` peaks that good images do not show; the highest first."""

    hard: list[HardPlace]
    suspicious: list[Peak]


def mine(model: ScoringModel, images: GoodImages, seed: tuple[int, ...], until: float) -> Mined:
    """Looks at random windows of good images until `time.monotonic()` reaches `until`."""
    peaks, n_windows = find_peaks(model, images, seed, until)
    highest = highest_sound_logit([peak.logit for peak in peaks], n_windows)
    suspicious = [peak for peak in peaks if peak.logit > highest]
    hard = [peak.place for peak in peaks[len(suspicious) : max(1, int(len(peaks) * KEPT_SHARE))]]
    return Mined(hard, suspicious)


def highest_sound_logit(descending: list[float], n_windows: int) -> float:
    """The logit that fewer than `ALLOWED` peaks of all `n_windows` windows are expected to exceed.

    The scale comes from ranks that a few defects among them do not move: one and `SOUND_RANK` peaks a window.
    """
    if len(descending) <= SOUND_RANK * n_windows:  # too few to tell: nothing is suspicious
        return math.inf
    once = descending[n_windows]
    scale = (once - descending[SOUND_RANK * n_windows]) / math.log(SOUND_RANK)
    return once + scale * math.log(n_windows / ALLOWED) if scale > 0 else math.inf


@torch.no_grad()
def find_peaks(model: ScoringModel, images: GoodImages, seed: tuple[int, ...], until: float) -> tuple[list[Peak], int]:
    """(peaks of the damage logit, the highest first, number of windows looked at)."""
    rng = np.random.default_rng(seed)
    found: list[Peak] = []
    windows = 0
    while windows < FEWEST_WINDOWS or time.monotonic() < until:
        windows += 1
        index = images.draw(rng)
        image = images.padded[index]
        multiple = model.network.stride
        rows, columns = (min(WINDOW, n // multiple * multiple) for n in image.shape[:2])
        y, x = _corner(rng, image.shape[0] - rows), _corner(rng, image.shape[1] - columns)
        if images.counted is not None and not images.counted.counts(index, y, x, rows, columns):
            y, x = images.counted.draw(rng, index, rows, columns)
        tile = raw_tile(images, index, y, x, rows, columns)
        evidence = explain_raw(model, tile)
        logit = evidence[:, :1]  # the head's, smoothed
        if tile.look is not None:
            logit = torch.where(torch.from_numpy(tile.look > 0).to(logit.device), logit, -torch.inf)
        highest = F.max_pool2d(logit, (2 * APART + 1, 1), stride=1, padding=(APART, 0))
        highest = F.max_pool2d(highest, (1, 2 * APART + 1), stride=1, padding=(0, APART))
        peaks = torch.where(logit == highest, logit, -torch.inf).flatten()
        values, places = peaks.topk(min(PER_WINDOW, peaks.numel()))
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            if np.isfinite(value):
                found.append(Peak(value, HardPlace(index, y + place // columns, x + place % columns)))
    return sorted(found, key=lambda peak: peak.logit, reverse=True), windows


def _corner(rng: np.random.Generator, room: int) -> int:
    """A random offset in 0..room; one in four flush with either end, where the border's false alarms sit."""
    return int(rng.choice([0, room])) if rng.random() < 0.25 else int(rng.integers(0, room + 1))
