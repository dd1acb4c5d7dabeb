"""The tiles of one image through the scorer: while one batch is scored, the next is cut and the one before stitched.

scorer   | score 0 | score 1         | score 2         | ...
beside   | cut 1   | stitch 0, cut 2 | stitch 1, cut 3 | ...
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.scorers import Scorer
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.strips.grid_band import GridBand

Image = NDArray[Any]
Results = tuple[NDArray[np.float32], Image]  # what a scorer returns


class Stopwatch:
    """Milliseconds by stage. Stages that run side by side are each counted in full."""

    def __init__(self, milliseconds: dict[str, float] | None = None) -> None:
        self.milliseconds = dict(milliseconds or {})

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + (time.perf_counter() - start) * 1e3


class Buffers:
    """One batch on its way to the scorer."""

    def __init__(self, scorer: Scorer) -> None:
        self.tiles = np.zeros(scorer.batch_shape, scorer.dtype)
        shape = scorer.context_shape
        self.context = None if shape is None else np.zeros(shape, scorer.dtype)


@dataclass(frozen=True)
class TiledImage:
    """An image, or a band of it, with the places that its tiles come from and go to."""

    grid: TileGrid | GridBand
    pixels: Image  # C-contiguous
    context: Image | None  # of an aligned product
    heatmap: Stitcher
    reconstruction: Stitcher
    watch: Stopwatch

    def cut(self, first: int, buffers: Buffers) -> None:
        with self.watch("cut"):
            self.grid.cut(self.pixels, first, out=buffers.tiles)
            if self.context is not None and buffers.context is not None:
                self.grid.cut(self.context, first, out=buffers.context)

    def stitch(self, first: int, results: Results) -> None:
        with self.watch("stitch"):
            n = min(len(results[0]), len(self.grid) - first)  # the rest of a last batch holds no tile
            self.heatmap.add(first, results[0][:n])
            self.reconstruction.add(first, results[1][:n])


class TileLoop:
    """Runs one image at a time; its two buffers serve every batch of every image."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._buffers = Buffers(scorer), Buffers(scorer)
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="flawmap-tiles")

    def run(self, image: TiledImage) -> None:
        """Scores all tiles of `image`; ValueError for a score that is not finite."""
        firsts = range(0, len(image.grid), len(self._buffers[0].tiles))
        image.cut(0, self._buffers[0])
        done: tuple[int, Results] | None = None
        for number, first in enumerate(firsts):
            following = firsts[number + 1] if number + 1 < len(firsts) else None
            moved = self._beside.submit(self._move, image, done, following, self._buffers[(number + 1) % 2])
            try:
                with image.watch("score"):
                    buffers = self._buffers[number % 2]
                    results = self._scorer.score(buffers.tiles, buffers.context)
            finally:
                moved.result()  # after an error, too: the next image needs these buffers
            done = first, results
        assert done is not None
        image.stitch(*done)

    @staticmethod
    def _move(image: TiledImage, done: tuple[int, Results] | None, following: int | None, free: Buffers) -> None:
        if done is not None:
            image.stitch(*done)
        if following is not None:
            image.cut(following, free)
