"""How large tiles may be on a GPU: what fits its memory decides, image size by image size, not what suits a processor.

Any tile size gives the same scores (to rounding) while the overlap covers what the network sees, so that an image goes
through as one tile where the card has room for it.
"""

import math
import threading

from flawmap.export.bundle import BundleInfo
from flawmap.tiling.fewest_tiles import least_work_tile_size, tile_work

MOST_TILES = 32  # at once
USUAL_TILES = 8  # at once, where their number changes from image to image
AGAIN = 1.5  # a size that is in use already may cost so many times the best: another one would tune kernels anew
EXACT_SIZES = 3  # fit their images to the pixel; further ones are multiples of...
COARSE = 256  # px


class CardFullError(Exception):
    """The GPU has no memory left for what was to be scored."""


class TileRoom:
    """What one lane may score at once. Any number of threads may ask.

    `note` says what a card without room for it has changed, empty for nothing.
    """

    def __init__(self, info: BundleInfo, most_pixels: int, *, batch: int | None = None, fitted: bool = True) -> None:
        """`most_pixels`: of all tiles together. `batch`: the only one that the model takes. `fitted`: to each image's
        size; else tiles are of the bundle's size.
        """
        self._info = info
        self._most_pixels = most_pixels
        self._batch = batch
        self._fitted = fitted
        self._chosen: dict[tuple[int, int], int] = {}
        self._lock = threading.Lock()
        self.note = ""

    def tile_size(self, height: int, width: int) -> int:
        """Px, for an image of `height` x `width` px; the same answer for the same size until `shrink`."""
        if not self._fitted:
            return self._info.tile.size
        with self._lock:
            size = self._chosen.get((height, width))
            if size is None:
                size = self._chosen[height, width] = self._choose(height, width)
            return size

    def batch(self, tile_size: int, n_tiles: int, *, whole: bool = True) -> int:
        """Tiles that are scored at once, of `n_tiles` in all: as few batches as there is room for, alike in size.

        `whole`: they are those of a whole image, in the size fitted to it. Else, and where none is fitted, their number
        says nothing about the next image's, and the answer does not depend on it: each other one would tune kernels.
        """
        if self._batch is not None:
            return self._batch
        most = max(1, self._most_pixels // tile_size**2)
        if not (whole and self._fitted):
            return min(most, USUAL_TILES)
        most = min(most, n_tiles, MOST_TILES)
        return -(-n_tiles // -(-n_tiles // most))

    def shrink(self, tile_size: int, batch: int) -> None:
        """After `batch` tiles of `tile_size` px had no room: from now on at most half as many pixels at once."""
        with self._lock:
            self._most_pixels = min(self._most_pixels, batch * tile_size**2 // 2)
            self._chosen.clear()
            self.note = (
                f"the card had no memory left for {batch} x {tile_size} x {tile_size} px at once: "
                "inspected with fewer and smaller tiles, which takes longer"
            )

    def _choose(self, height: int, width: int) -> int:
        tile, stride = self._info.tile, self._info.network.stride
        geometry = tile.overlap, stride, tile.border
        most = self._most_pixels // (self._batch or 1)
        best, least = least_work_tile_size(height, width, *geometry, most)
        known = {size: tile_work(height, width, size, *geometry) for size in set(self._chosen.values())}
        again = min(known, key=lambda size: (known[size], size), default=best)
        if again in known and known[again] <= AGAIN * least:
            return again
        if len(known) >= EXACT_SIZES:  # images of any size come: the next ones shall find theirs in use
            coarse = best + -best % math.lcm(COARSE, stride)
            return coarse if coarse**2 <= most else best
        return best
