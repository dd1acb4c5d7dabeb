"""The pictures whose oddest places the others show least: what a folder of good images most likely holds of bad ones.

A defect that training shows often enough is learned as good, and soonest where hard places are collected: the one crack
among 35 commutators was the hardest place of all, and shown in every other batch as good from the first collection on.
No score tells it from the rarest good place by then, but nearly all defects are among the odd ones. So of a share of
the pictures the oddest places are never shown again as hard ones: what is good there is learned as often as anything
else, and what is bad is too rare to be learned. They are looked for before anything is collected, and again as the
network learns.

A softer form of the trimming of Qiu et al., "Latent outlier exposure for anomaly detection with contaminated data",
ICML 2022, and Jiang et al., "SoftPatch", NeurIPS 2022. Not to draw these places at all was tried: it is no better on a
contaminated set, and on a clean one it leaves rare good places unlearned (docs/detection.md).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.training.good_images import GoodImages
from flawmap.training.hard_places import Peak
from flawmap.training.scoring import ScoringModel, explain_raw, raw_tile
from flawmap.training.tile_batches import HardPlace

CELL = 32  # px: of a picture's evidence the highest in each cell is kept
WINDOW = 1024  # px looked at in one go
OVERLAP = 64  # px of two windows; half of it, where a window knows least of its surroundings, is not looked at
FEWEST_PICTURES = 10  # of fewer none can be called odd


@dataclass(frozen=True)
class Cells:
    """Highest evidence of each cell of one window: float32 [K, n], and the cells' middles in padded image `image`."""

    image: int
    evidence: NDArray[np.float32]
    y: NDArray[np.int64]
    x: NDArray[np.int64]


@dataclass(frozen=True)
class Doubtful:
    """`peaks`: the oddest place of each doubtful picture, the oddest first; `places`: all that are not sought there."""

    peaks: list[Peak]
    places: list[HardPlace]


def find_doubtful(
    model: ScoringModel, images: GoodImages, share: float, seed: tuple[int, ...], until: float
) -> Doubtful:
    """Looks at all pictures alike until `time.monotonic()` reaches `until`, at each of them once at least.

    `share` of them, rounded, are doubtful, and one at least; none where there are fewer than `FEWEST_PICTURES`.
    """
    n_doubtful = max(1, round(share * images.n_pictures))
    if share == 0 or images.n_pictures < FEWEST_PICTURES:
        return Doubtful([], [])
    return choose(images, list(_look(model, images, seed, until)), n_doubtful)


def choose(images: GoodImages, seen: list[Cells], n_doubtful: int) -> Doubtful:
    """The `n_doubtful` pictures whose highest evidence, of all kinds together, is highest.

    Each kind is measured in the distance from the median picture's highest to the upper quartile's, which a few bad
    ones among them do not move. Its `places` are all cells that are odder than the median picture's oddest.
    """
    of_picture: dict[str, list[Cells]] = {}
    for cells in seen:
        if cells.evidence.size:
            of_picture.setdefault(str(images.paths[cells.image]), []).append(cells)
    if len(of_picture) < FEWEST_PICTURES:
        return Doubtful([], [])
    highest = np.array([np.max([c.evidence.max(axis=1) for c in group], axis=0) for group in of_picture.values()])
    median, quartile = np.quantile(highest, (0.5, 0.75), axis=0)
    scale = np.maximum(quartile - median, 1e-3)

    def oddness(cells: Cells) -> NDArray[np.float64]:
        return np.asarray(((cells.evidence - median[:, None]) / scale[:, None]).sum(axis=0), np.float64)

    odd = {name: [(oddness(c), c) for c in group] for name, group in of_picture.items()}
    oddest = {name: max(float(values.max()) for values, _ in group) for name, group in odd.items()}
    ordinary = float(np.median(list(oddest.values())))
    peaks, places = [], []
    for name in sorted(oddest, key=lambda name: -oddest[name])[:n_doubtful]:
        found = [
            Peak(float(values[i]), HardPlace(cells.image, int(cells.y[i]), int(cells.x[i])))
            for values, cells in odd[name]
            for i in np.flatnonzero(values > ordinary)
        ]
        if found:  # not of pictures that are all alike
            peaks.append(max(found, key=lambda peak: peak.logit))
            places += [peak.place for peak in found]
    return Doubtful(peaks, places)


def _look(model: ScoringModel, images: GoodImages, seed: tuple[int, ...], until: float) -> Iterator[Cells]:
    """A window of each picture in turn, its windows in random order."""
    rng = np.random.default_rng(seed)
    todo: dict[str, list[tuple[int, int, int, int, int]]] = {}
    for index, image in enumerate(images.padded):
        rows, columns = (windows(n, model.network.stride) for n in image.shape[:2])
        of_picture = todo.setdefault(str(images.paths[index]), [])
        of_picture += [(index, y, x, height, width) for y, height in rows for x, width in columns]
    shuffled = [[group[i] for i in rng.permutation(len(group))] for group in todo.values()]
    for turn in range(max(map(len, shuffled))):
        for group in shuffled:
            if turn and time.monotonic() > until:
                return
            if turn < len(group):
                yield _cells(model, images, *group[turn])


def windows(n: int, stride: int) -> list[tuple[int, int]]:
    """(start, length) of windows that together cover 0..`n` - 1, at multiples of `stride`."""
    n -= n % stride
    length = min(n, WINDOW)
    count = 1 if n <= WINDOW else -(-(n - OVERLAP) // (WINDOW - OVERLAP))
    return [(int(start) // stride * stride, length) for start in np.linspace(0, n - length, count)]


def _cells(model: ScoringModel, images: GoodImages, index: int, y: int, x: int, height: int, width: int) -> Cells:
    """Of the window of `height` x `width` px at (`y`, `x`) of padded image `index`, without what lies beyond it."""
    tile = raw_tile(images, index, y, x, height, width)
    evidence = explain_raw(model, tile)[0].cpu().numpy()
    if tile.look is not None:
        evidence = np.where(tile.look > 0, evidence, np.float32(-np.inf))
    n_rows, n_columns = images.padded[index].shape[:2]
    top, left = (images.border if start == 0 else OVERLAP // 2 for start in (y, x))
    bottom = images.border if y + height >= n_rows else OVERLAP // 2
    right = images.border if x + width >= n_columns else OVERLAP // 2
    highest = _highest(evidence[:, top : height - bottom, left : width - right])  # [K, rows, columns]
    rows, columns = np.nonzero(np.isfinite(highest).all(axis=0))
    middle = CELL // 2
    return Cells(index, highest[:, rows, columns], y + top + rows * CELL + middle, x + left + columns * CELL + middle)


def _highest(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of every cell of `evidence`, [K, H, W] -> [K, H / CELL, W / CELL], both rounded up."""
    n_maps, height, width = evidence.shape
    n_y, n_x = -(-height // CELL), -(-width // CELL)
    filled = np.full((n_maps, n_y * CELL, n_x * CELL), -np.inf, np.float32)
    filled[:, :height, :width] = evidence
    return np.asarray(filled.reshape(n_maps, n_y, CELL, n_x, CELL).max(axis=(2, 4)))
