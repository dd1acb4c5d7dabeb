"""The background that a part lies on, found by itself where it is plain: one even tone that reaches the picture's edge.

Pictures are looked at in blocks of 8 px. What the blocks along the edges of good pictures have in common, their level
and how little they vary inside, is the background's; in each picture it is all blocks like that which hang together
with the edge. A rim of two blocks around the part still counts, so that the part's edge is looked at. Holes in the part
show the background too, and count: a hole in the wrong place is a defect.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import UsageError
from flawmap.tiling.look_kernels import block_statistics

Image = NDArray[Any]
Blocks = NDArray[np.bool_]

BLOCK = 8  # px
RIM = 2  # blocks of background around the part that still count
DIRT = 0.01  # of the largest part: a smaller thing that lies by itself on the background belongs to it
PLAINEST = 0.1  # quantile of the edge's blocks: background at the least, and it may be no more
AS_PLAIN = 1.5  # times as much variation as these, and a block is as plain
DEVIATIONS = 6.0  # of the background's own blocks, by which others of it may lie off
CONTRAST = 0.03  # of the picture's standard deviation, by which they may in any case
EVEN = 0.5  # of the picture's standard deviation, by which the background's own blocks may lie off
SMALLEST_SHARE, LARGEST_SHARE = 0.005, 0.98  # of a picture
ALIKE = 0.2  # of the part's blocks may look like the background (holes); more, and it is not to be told apart

NONE_FOUND = "`where.background` (=plain): the good pictures show none: "
INSTEAD = "draw what counts (`where.polygons`), or leave the key out"


@dataclass(frozen=True)
class PlainBackground:
    """Blocks of background: every channel's mean within `tolerance` of `level`, standard deviation `spread` at most."""

    level: tuple[float, ...]
    tolerance: tuple[float, ...]
    spread: float

    @classmethod
    def measure(cls, images: Iterable[Image]) -> "PlainBackground":
        """From good pictures [H, W] or [H, W, C] of one dtype; UsageError where they show no plain background."""
        pictures = [_statistics(image) for image in images]
        edge_means = np.concatenate([_edge(means) for means, _ in pictures])
        edge_spreads = np.concatenate([_edge(spreads) for _, spreads in pictures])
        plain = edge_spreads <= AS_PLAIN * np.quantile(edge_spreads, PLAINEST)
        level = np.median(edge_means[plain], axis=0)
        deviation = 1.4826 * np.median(np.abs(edge_means[plain] - level), axis=0)
        contrast = np.concatenate([means.reshape(-1, means.shape[2])[::7] for means, _ in pictures]).std(axis=0)
        if (DEVIATIONS * deviation > EVEN * contrast).all():
            raise UsageError(f"{NONE_FOUND}nothing along their edges is of one even tone; {INSTEAD}")
        tolerance = np.maximum(DEVIATIONS * deviation, CONTRAST * contrast)
        median = float(np.median(edge_spreads[plain]))
        off = 1.4826 * float(np.median(np.abs(edge_spreads[plain] - median)))
        found = cls(tuple(level.tolist()), tuple(tolerance.tolist()), median + DEVIATIONS * off)
        found._check([found._blocks(means, spreads) for means, spreads in pictures])
        return found

    def find(self, image: Image) -> Blocks:
        """Which blocks of `image` are background and do not count, bool [ceil(H / BLOCK), ceil(W / BLOCK)]."""
        return self._blocks(*_statistics(image))[0]

    def _blocks(self, means: NDArray[np.float32], spreads: NDArray[np.float32]) -> tuple[Blocks, float]:
        """(background that does not count, share of the rest that looks like it)."""
        like = (np.abs(means - self.level) <= self.tolerance).all(axis=2) & (spreads <= self.spread)
        background = _touching_edge(like)
        background |= _dirt(~background)
        rest = ~background
        alike = float((like & rest).sum() / max(1, rest.sum()))
        kernel = np.ones((2 * RIM + 1,) * 2, np.uint8)
        kept = cv2.erode(background.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        return kept > 0, alike

    def _check(self, found: list[tuple[Blocks, float]]) -> None:
        shares = np.array([blocks.mean() for blocks, _ in found])
        if np.median(shares) < SMALLEST_SHARE:
            raise UsageError(f"{NONE_FOUND}what is plain along their edges does not hang together; {INSTEAD}")
        alike = float(np.median([share for _, share in found]))
        if np.median(shares) > LARGEST_SHARE or alike > ALIKE:
            raise UsageError(
                f"`where.background` (=plain): the part cannot be told from its background by tone, "
                f"{max(alike, float(shares.max())):.0%} of it looks the same; {INSTEAD}"
            )


def enlarged(blocks: Blocks, shape: tuple[int, ...]) -> Blocks:
    """`blocks` pixel by pixel, bool of the (height, width) of `shape`."""
    return np.asarray(blocks.repeat(BLOCK, axis=0)[: shape[0]].repeat(BLOCK, axis=1)[:, : shape[1]])


def _statistics(image: Image) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of each channel [rows, columns, C], and the largest standard deviation of one [rows, columns], by block."""
    pixels = image if image.ndim == 3 else image[..., None]
    rows, columns = (-(-n // BLOCK) for n in pixels.shape[:2])
    means = np.empty((rows, columns, pixels.shape[2]), np.float32)
    spreads = np.empty((rows, columns), np.float32)
    block_statistics(pixels, BLOCK, means, spreads)
    return means, spreads


def _edge(blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    """The outermost blocks, [n] or [n, C]; those of a last row or column that is not whole, too."""
    return np.concatenate([blocks[0], blocks[-1], blocks[1:-1, 0], blocks[1:-1, -1]])


def _touching_edge(blocks: Blocks) -> Blocks:
    _, labels = cv2.connectedComponents(blocks.astype(np.uint8), connectivity=4)
    touching = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.asarray(np.isin(labels, touching[touching > 0]))


def _dirt(rest: Blocks) -> Blocks:
    """Pieces of what is not background, so small beside the largest that they are no parts."""
    n, labels, boxes, _ = cv2.connectedComponentsWithStats(rest.astype(np.uint8), connectivity=8)
    areas = boxes[:, cv2.CC_STAT_AREA].copy()
    areas[0] = 0  # of the background
    small = np.flatnonzero(areas < DIRT * areas.max(initial=1))
    return np.asarray(np.isin(labels, small[small > 0]) if n > 1 else np.zeros_like(rest))
