"""Mining: the places on good images that the model takes for damage, so that they can be shown to it again as good."""

import time

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)

from flawmap.training.good_images import GoodImages
from flawmap.training.scoring import ScoringModel
from flawmap.training.tile_batches import HardPlace

WINDOW = 512  # px looked at in one go
APART = 15  # px: of two peaks nearer than about this only the higher one counts
PER_WINDOW = 8
KEPT_SHARE = 0.25  # of all peaks found, the highest
FEWEST_WINDOWS = 4


@torch.no_grad()
def find_hard_places(model: ScoringModel, images: GoodImages, seed: tuple[int, ...], until: float) -> list[HardPlace]:
    """Looks at random windows of good images until `time.monotonic()` reaches `until`; returns the likeliest damage."""
    rng = np.random.default_rng(seed)
    found: list[tuple[float, HardPlace]] = []
    windows = 0
    while windows < FEWEST_WINDOWS or time.monotonic() < until:
        windows += 1
        index = int(rng.integers(len(images.padded)))
        image = images.padded[index]
        multiple = model.network.stride
        rows, columns = (min(WINDOW, n // multiple * multiple) for n in image.shape[:2])
        y, x = _corner(rng, image.shape[0] - rows), _corner(rng, image.shape[1] - columns)
        window = torch.from_numpy(image[y : y + rows, x : x + columns][None].astype(np.float32))
        evidence = model.explain(model.normalise(window.to(next(model.parameters()).device)))[1]
        logit = evidence[:, :1]  # the head's, smoothed
        highest = F.max_pool2d(logit, (2 * APART + 1, 1), stride=1, padding=(APART, 0))
        highest = F.max_pool2d(highest, (1, 2 * APART + 1), stride=1, padding=(0, APART))
        peaks = torch.where(logit == highest, logit, -torch.inf).flatten()
        values, places = peaks.topk(min(PER_WINDOW, peaks.numel()))
        for value, place in zip(values.tolist(), places.tolist(), strict=True):
            if np.isfinite(value):
                found.append((value, HardPlace(index, y + place // columns, x + place % columns)))
    found.sort(key=lambda item: item[0], reverse=True)
    return [place for _, place in found[: max(1, int(len(found) * KEPT_SHARE))]]


def _corner(rng: np.random.Generator, room: int) -> int:
    """A random offset in 0..room; one in four flush with either end, where the border's false alarms sit."""
    return int(rng.choice([0, room])) if rng.random() < 0.25 else int(rng.integers(0, room + 1))
