"""Evidence maps of different kinds made comparable: a score of 0 is what good images show once a megapixel, each
further 1 is ten times rarer.

One straight line from evidence to score will do for a map that stands by itself. The repair network's maps are added,
and that asks for more: with rates in the same units all the way the sum is what Fisher ("Statistical methods for
research workers", 1925, section 21.1) makes of independent findings, the logarithm of the product of their rates.
So they get a line that bends once. A residual of the usual size says the more the larger it is, a large one less:
some good structure is repaired badly, and one line through both promised that such a place never comes. A logit does
the opposite, it falls off faster the higher it is. On magnetic tiles and commutators the bend lets the residual speak
as loud as the logit, where the defects need it, and cloth does not suffer from it (docs/detection.md). The golden
template's map, of aligned products, bends as a residual does.

What counts is how often the peaks of a map come, not its pixels: maps are cut into blocks, and the highest pixel of
each is a peak. The highest peaks above a threshold fall off as an exponential (Pickands 1975, with shape 0), whose mean
excess gives the scale. Pixel quantiles were tried before: what one pixel in a million shows says little about what one
region in a hundred million pixels shows, and the residual's edges drowned the head (docs/detection.md).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # px
TAIL_PEAKS = 60  # the highest ones tell the scale...
TAIL_SHARE = 0.25  # ...but no more than this share of all
SMALLEST_SCALE = 0.01  # of evidence that never varies: its rounding errors are not to become scores
RANKS = 24  # of peaks, from HIGHEST_RANK to RANKED_SHARE of all, evenly in their logarithm: what a bent line is laid on
HIGHEST_RANK = 4  # nearer to the top the next picture says something else
RANKED_SHARE = 0.4
ON_EITHER_SIDE = 5  # ranks that a bend has above and below it at least


@dataclass(frozen=True)
class Standardisation:
    """How each evidence map becomes a score; tuples of one value a map.

    z = (evidence - location) / scale;  score = height + (z if z > 0 else below * z)
    """

    location: tuple[float, ...]
    scale: tuple[float, ...]
    below: tuple[float, ...]  # how many times as steep the line is below `location` as above it
    height: tuple[float, ...]  # score at `location`

    @classmethod
    def straight(cls, location: tuple[float, ...], scale: tuple[float, ...]) -> "Standardisation":
        """Without a bend: 0 at `location`, 1 at `location + scale`."""
        return cls(location, scale, (1.0,) * len(scale), (0.0,) * len(scale))

    @classmethod
    def identity(cls, n_maps: int) -> "Standardisation":
        """For a network that is still learning: scores that nobody reads."""
        return cls.straight((0.0,) * n_maps, (1.0,) * n_maps)

    @classmethod
    def measure(cls, evidence: Iterable[NDArray[np.float32]]) -> "Standardisation":
        """From the evidence of good tiles, float32 [K, H, W] each; more than a few megapixels give a sound scale.

        Straight lines. Pixels at -inf are not counted.
        """
        return cls._straight_through(*_highest_peaks(evidence))

    @classmethod
    def measure_bent(cls, evidence: Iterable[NDArray[np.float32]], heavy: tuple[bool, ...]) -> "Standardisation":
        """The same with lines that bend where it fits better; those of a `heavy` map bend down only."""
        highest, megapixels = _highest_peaks(evidence)
        straight = cls._straight_through(highest, megapixels)
        lines = []
        for k, peaks in enumerate(highest):
            bent = _bent_line(peaks, megapixels, heavy[k])
            lines.append(bent or (straight.location[k], straight.scale[k], straight.below[k], straight.height[k]))
        return cls(*zip(*lines, strict=True))

    @classmethod
    def _straight_through(cls, highest: NDArray[np.float64], megapixels: float) -> "Standardisation":
        n_tail = min(TAIL_PEAKS, max(1, int(highest.shape[1] * TAIL_SHARE)))
        threshold = highest[:, min(n_tail, highest.shape[1] - 1)]
        mean_excess = np.maximum(highest[:, :n_tail].mean(axis=1) - threshold, SMALLEST_SCALE / math.log(10))
        once_a_megapixel = threshold + mean_excess * math.log(n_tail / megapixels)
        return cls.straight(tuple(once_a_megapixel.tolist()), tuple((mean_excess * math.log(10)).tolist()))


def _highest_peaks(evidence: Iterable[NDArray[np.float32]]) -> tuple[NDArray[np.float64], float]:
    """(peaks of each map, float64 [K, n], descending; megapixels that were counted)."""
    peaks, megapixels = [], 0.0
    for maps in evidence:
        peaks.append(block_peaks(maps))
        megapixels += int(np.count_nonzero(maps[0] > -np.inf)) / 1e6
    return np.sort(np.concatenate(peaks, axis=1).astype(np.float64), axis=1)[:, ::-1], megapixels


def _bent_line(
    descending: NDArray[np.float64], megapixels: float, heavy: bool
) -> tuple[float, float, float, float] | None:
    """(location, scale, below, height) of the line with one bend that is nearest to what `descending` peaks show.

    Least squares in score: x -> -log10 of the peaks a megapixel that reach x. None where there are too few of them, or
    none that differ.
    """
    lowest = int(len(descending) * RANKED_SHARE)
    ranks = np.unique(np.geomspace(HIGHEST_RANK, max(lowest, HIGHEST_RANK), RANKS).astype(np.int64))
    if lowest < HIGHEST_RANK or len(ranks) < 2 * ON_EITHER_SIDE + 1:
        return None
    x, scores = descending[ranks - 1], -np.log10((ranks - 0.5) / megapixels)
    best, least = None, math.inf
    for bend in np.unique(x[ON_EITHER_SIDE:-ON_EITHER_SIDE]):
        sides = [np.minimum(x - bend, 0.0), np.maximum(x - bend, 0.0)]
        slopes = _line(sides, scores)
        if heavy and slopes[1] > slopes[0]:
            slopes = _line([x - bend], scores)
            slopes = np.array([slopes[0], *slopes])
        if not (slopes[:2] > 0).all() or slopes[:2].max() > 1 / SMALLEST_SCALE:
            continue
        error = float(((slopes[0] * sides[0] + slopes[1] * sides[1] + slopes[2] - scores) ** 2).sum())
        if error < least:
            least, best = error, (float(bend), float(1 / slopes[1]), float(slopes[0] / slopes[1]), float(slopes[2]))
    return best


def _line(sides: list[NDArray[np.float64]], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of `sides` and, last, the constant."""
    return np.asarray(np.linalg.lstsq(np.stack([*sides, np.ones_like(scores)], axis=1), scores, rcond=None)[0])


def block_peaks(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Highest value of every block, maps [K, H, W] -> [K, n]; a rest at the far edges is not counted, nor is -inf."""
    n_maps, height, width = maps.shape
    rows, columns = min(BLOCK, height), min(BLOCK, width)
    n_y, n_x = height // rows, width // columns
    blocks = maps[:, : n_y * rows, : n_x * columns].reshape(n_maps, n_y, rows, n_x, columns)
    peaks = blocks.max(axis=(2, 4)).reshape(n_maps, -1)
    return np.asarray(peaks[:, peaks[0] > -np.inf], np.float32)
