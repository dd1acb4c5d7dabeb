"""Which tile size scores an image with the least work where a whole image may be scored at once, as on a GPU.

Along an axis, `n` tiles reach n * (tile_size - overlap) + overlap px: for every n the smallest size that is enough is
tried, and no other, as any size in between scores more pixels in as many tiles.

    one tile     [- - - - - - - - - - -]
    two tiles    [- - - - - -|- -]
                         [- -|- - - - - -]
"""

from collections.abc import Iterator

from flawmap.tiling.grid import TileGrid

SMALLEST, LARGEST = 256, 8192  # px: below, overlaps eat everything; above, a channel more and 2**31 values are passed
PIXELS_PER_CALL = 1_000_000  # what a tile costs a GPU beyond its pixels, in pixels: 0.5 ms of 15 ms for 26 megapixels


def least_work_tile_size(
    height: int, width: int, overlap: int, stride: int, border: int, most_pixels: int
) -> tuple[int, float]:
    """(tile size, its work) for an image of `height` x `width` px, in tiles of at most `most_pixels` px.

    The size is a multiple of `stride` larger than `overlap`, also where `most_pixels` is less than such a tile has; one
    tile holds the whole image where that is the least work.
    The work is in pixels scored, each tile a million dearer than its pixels.
    """
    sizes = sorted({_rounded(size, stride) for size in _enough(height, width, overlap, stride, border)})
    smallest = _rounded(max(overlap + 1, min(max(SMALLEST, 2 * overlap), sizes[-1])), stride)
    fitting = [s for s in sizes if smallest <= s <= LARGEST and s * s <= most_pixels] or [smallest]
    works = {size: tile_work(height, width, size, overlap, stride, border) for size in fitting}
    best = min(works, key=lambda size: works[size])
    return best, works[best]


def tile_work(height: int, width: int, tile_size: int, overlap: int, stride: int, border: int) -> float:
    """What the tiles of an image of `height` x `width` px cost, in pixels scored."""
    n_tiles = len(TileGrid(height, width, tile_size, overlap, multiple=stride, border=border))
    return n_tiles * (float(tile_size) ** 2 + PIXELS_PER_CALL)


def _enough(height: int, width: int, overlap: int, stride: int, border: int) -> Iterator[int]:
    """Sizes that are just enough for 1, 2, 3, ... tiles along one axis or the other, before rounding."""
    for length in {height, width}:
        padded = _rounded(length + 2 * border, stride)
        yield padded
        n_tiles = 2
        while (padded - overlap) // n_tiles + overlap >= max(SMALLEST, 2 * overlap):
            yield -(-(padded - overlap) // n_tiles) + overlap
            n_tiles += 1


def _rounded(length: int, stride: int) -> int:
    """Up to a multiple of `stride`."""
    return length + -length % stride
