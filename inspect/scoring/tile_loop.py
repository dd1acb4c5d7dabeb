"""The tiles of one image through the scorer: while one batch is scored, the next is cut and the one before stitched.

scorer   | score 0 | score 1         | score 2         | ...
beside   | cut 1   | stitch 0, cut 2 | stitch 1, cut 3 | ...

On a GPU tiles are cut into page-locked memory, from which they go over the bus, and stitched from such memory.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.scoring.scorers import Scorer
from flawmap.inspect.scoring.tile_room import CardFullError, TileRoom
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.stitch import Stitcher
from flawmap.tiling.strips.grid_band import GridBand

Image = NDArray[Any]
Results = tuple[NDArray[np.float32], Image]  # what a scorer returns

KEPT_SHAPES = 2  # buffers of the last so many shapes of a batch are kept
# What ONNX Runtime, CUDA, cuDNN and the C++ library say when memory is gone.
OUT_OF_MEMORY = ("failed to allocate memory", "out of memory", "alloc_failed", "bad_alloc", "bad allocation")


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
    """One batch on its way through the network: `tiles` and `context` are to be filled, and scored then."""

    def __init__(self, scorer: Scorer, batch: int, tile_size: int) -> None:
        self._scorer = scorer
        self._bound = scorer.bind(batch, tile_size) if isinstance(scorer, TileScorer) and scorer.on_gpu else None
        self.context: Image | None = None
        if self._bound is not None:
            self.tiles, self.context = self._bound.inputs["tiles"], self._bound.inputs.get("context")
            return
        size = batch, tile_size, tile_size
        self.tiles = np.zeros((*size, *scorer.batch_shape[3:]), scorer.dtype)
        if scorer.context_shape is not None:
            self.context = np.zeros((*size, *scorer.context_shape[3:]), scorer.dtype)

    def score(self) -> Results:
        """Score and reconstruction of `tiles`; on a GPU the next call writes over them."""
        if self._bound is None:
            return self._scorer.score(self.tiles, self.context)
        self._bound.run()
        return self._bound.outputs["score"], self._bound.outputs["reconstruction"]


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
    """Runs one image at a time; the same two buffers serve every batch of every image that is tiled alike."""

    def __init__(self, scorer: Scorer, room: TileRoom | None = None) -> None:
        """`room`: decides how many tiles a batch has, the scorer where there is none."""
        self._scorer = scorer
        self._room = room
        self._buffers: dict[tuple[int, int], list[Buffers]] = {}  # by batch and tile size; of those used last
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="flawmap-tiles")

    def run(self, image: TiledImage) -> None:
        """Scores all tiles of `image`; ValueError for a score that is not finite.

        CardFullError where a GPU has no memory for them: its room has been told, and a grid of smaller tiles may do.
        """
        tile_size, n_tiles = image.grid.tile_size, len(image.grid)
        if self._room is None:
            batch = self._scorer.batch_shape[0]
        else:
            batch = self._room.batch(tile_size, n_tiles, whole=type(image.grid) is TileGrid)
        try:
            self._run(image, self._buffers_for(batch, tile_size, 2 if n_tiles > batch else 1))
        except Exception as error:
            if self._room is None or not out_of_memory(error):
                raise
            self._buffers.clear()
            self._room.shrink(tile_size, batch)
            raise CardFullError(f"the card has no memory for {batch} x {tile_size} x {tile_size} px at once") from None

    def _buffers_for(self, batch: int, tile_size: int, count: int) -> list[Buffers]:
        buffers = self._buffers.pop((batch, tile_size), [])
        while len(self._buffers) >= KEPT_SHAPES:
            del self._buffers[next(iter(self._buffers))]
        buffers += [Buffers(self._scorer, batch, tile_size) for _ in range(len(buffers), count)]
        self._buffers[batch, tile_size] = buffers
        return buffers

    def _run(self, image: TiledImage, buffers: list[Buffers]) -> None:
        firsts = range(0, len(image.grid), len(buffers[0].tiles))
        image.cut(0, buffers[0])
        done: tuple[int, Results] | None = None
        for number, first in enumerate(firsts):
            following = firsts[number + 1] if number + 1 < len(firsts) else None
            moved = self._beside.submit(self._move, image, done, following, buffers[(number + 1) % len(buffers)])
            try:
                with image.watch("score"):
                    results = buffers[number % len(buffers)].score()
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


def out_of_memory(error: Exception) -> bool:
    """Whether `error` says that memory could not be had: ONNX Runtime has no error of its own for it."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in OUT_OF_MEMORY)
