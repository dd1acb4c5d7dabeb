"""Which tile size scores an image with the least work: overlaps and padding are pixels scored twice or for nothing."""

from flawmap.tiling.grid import TileGrid

SMALLEST, LARGEST = 256, 1280  # px: below, overlaps eat everything; above, working memory leaves the 1.2 GiB budget
PIXELS_PER_CALL = 20_000  # what a call of the network costs beyond its pixels, measured in pixels


def choose_tile_size(image_sizes: list[tuple[int, int]], overlap: int, stride: int, border: int) -> int:
    """The multiple of `stride` that scores images of `image_sizes` (height, width) with the least work.

    Works for mixed sizes and for images smaller than any tile; without images it answers 1024 or the nearest that holds
    twice the overlap.
    """
    smallest = max(SMALLEST, 2 * overlap)
    smallest += -smallest % stride
    if not image_sizes:
        return max(1024 - 1024 % stride, smallest)

    def work(size: int) -> int:
        n_tiles = sum(len(TileGrid(h, w, size, overlap, multiple=stride, border=border)) for h, w in image_sizes)
        return n_tiles * (size * size + PIXELS_PER_CALL)

    return min(range(smallest, max(LARGEST, smallest) + 1, stride), key=work)
