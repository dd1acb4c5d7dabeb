"""Cutting an image into tiles and merging them again, as the usual libraries do it, each as well as it allows.

Libraries of the extra `bench` are imported where they are used: what is not installed is left out and said so.

Every `cut_...` yields arrays that hold tiles, in the order of rows; every `merge_...` returns the merged map [H, W].
Peers that cannot lay the last tile flush with the edge pad the picture by reflection to the next regular size.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from flawmap.tiling.grid import TileGrid

BATCH = 16


def cut_with_flawmap(grid: TileGrid, image: np.ndarray, out: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(grid), len(out)):
        yield out[: grid.cut(image, first, out)]


def cut_with_numpy(grid: TileGrid, image: np.ndarray, out: np.ndarray) -> Iterator[np.ndarray]:
    size = grid.tile_size
    for first in range(0, len(grid), len(out)):
        corners = grid.starts[first : first + len(out)].tolist()
        for k, (y, x) in enumerate(corners):
            out[k] = image[y : y + size, x : x + size]
        yield out[: len(corners)]


def cut_with_tiler(grid: TileGrid, image: np.ndarray) -> Iterator[np.ndarray]:
    from tiler import Tiler

    tiler = Tiler(image.shape, (grid.tile_size, grid.tile_size), grid.overlap, mode="reflect")
    for _, batch in tiler.iterate(image, batch_size=BATCH):
        yield batch


def cut_with_patchify(grid: TileGrid, image: np.ndarray, out: np.ndarray) -> Iterator[np.ndarray]:
    from patchify import patchify

    size, stride = grid.tile_size, grid.tile_size - grid.overlap
    tiles = patchify(_regular(grid, image), (size, size), stride)  # a view
    for row in tiles:
        for first in range(0, len(row), len(out)):
            part = row[first : first + len(out)]
            out[: len(part)] = part
            yield out[: len(part)]


def cut_with_sahi(grid: TileGrid, image: np.ndarray, out: np.ndarray) -> Iterator[np.ndarray]:
    from sahi.slicing import slice_image

    size, ratio = grid.tile_size, grid.overlap / grid.tile_size
    sliced = slice_image(
        image, slice_height=size, slice_width=size, overlap_height_ratio=ratio, overlap_width_ratio=ratio
    )
    tiles = sliced.images  # views
    for first in range(0, len(tiles), len(out)):
        part = tiles[first : first + len(out)]
        for k, tile in enumerate(part):
            out[k] = tile
        yield out[: len(part)]


def cut_with_monai(grid: TileGrid, image: np.ndarray) -> Iterator[np.ndarray]:
    from monai.inferers import SlidingWindowSplitter

    splitter = SlidingWindowSplitter((grid.tile_size,) * 2, overlap=grid.overlap, pad_mode="reflect")
    for tile, _ in splitter(torch.from_numpy(image)[None, None]):
        yield tile[0].numpy()


def cut_with_unfold(grid: TileGrid, image: np.ndarray) -> Iterator[np.ndarray]:
    """All tiles in one batch of float32, as anomalib's tiler holds them."""
    regular = torch.from_numpy(_regular(grid, image))[None, None].float()
    stride = grid.tile_size - grid.overlap
    columns = F.unfold(regular, grid.tile_size, stride=stride)  # [1, t * t, n]
    yield columns[0].T.reshape(-1, grid.tile_size, grid.tile_size).contiguous().numpy()


def cut_with_blended_tiling(grid: TileGrid, image: np.ndarray) -> Iterator[np.ndarray]:
    module = _blended_tiling(grid)
    yield module.split_into_tiles(torch.from_numpy(image)[None, None].float())[:, 0].numpy()


def merge_with_numpy(boxes: list[list[int]], tiles: Iterable[np.ndarray], image: np.ndarray) -> np.ndarray:
    """The same ownership as the stitcher's, without its look for NaN, missing and repeated tiles."""
    for tile, (y0, x0, y1, x1, image_y0, image_x0, image_y1, image_x1) in zip(tiles, boxes, strict=True):
        image[image_y0:image_y1, image_x0:image_x1] = tile[y0:y1, x0:x1]
    return image


def merge_by_counting(grid: TileGrid, tiles: Iterable[np.ndarray]) -> np.ndarray:
    """The loop that most people write: sums and counts, then one division."""
    size = grid.tile_size
    sums = np.zeros((grid.height, grid.width), np.float32)
    counts = np.zeros((grid.height, grid.width), np.float32)
    for tile, (y, x) in zip(tiles, grid.starts.tolist(), strict=True):
        sums[y : y + size, x : x + size] += tile
        counts[y : y + size, x : x + size] += 1
    mean: np.ndarray = sums / counts
    return mean


def numpy_blender(grid: TileGrid, image: np.ndarray) -> Callable[[Iterable[np.ndarray]], np.ndarray]:
    """The mean where tiles overlap, by weights that were divided by their sum before."""
    size = grid.tile_size
    counts = np.zeros_like(image)
    for y, x in grid.starts.tolist():
        counts[y : y + size, x : x + size] += 1
    weights = [1 / counts[y : y + size, x : x + size] for y, x in grid.starts.tolist()]

    def merge(tiles: Iterable[np.ndarray]) -> np.ndarray:
        image[:] = 0
        for tile, weight, (y, x) in zip(tiles, weights, grid.starts.tolist(), strict=True):
            image[y : y + size, x : x + size] += tile * weight
        return image

    return merge


def tiler_merger(grid: TileGrid, heatmap: np.ndarray, window: str) -> Callable[[], np.ndarray]:
    from tiler import Merger, Tiler

    tiler = Tiler(heatmap.shape, (grid.tile_size, grid.tile_size), grid.overlap, mode="reflect")
    batches = [batch.copy() for _, batch in tiler.iterate(heatmap, batch_size=BATCH)]

    def merge() -> np.ndarray:
        merger = Merger(tiler, window=window)
        for number, batch in enumerate(batches):
            merger.add_batch(number, BATCH, batch)
        return np.asarray(merger.merge(unpad=True, dtype=np.float32))

    return merge


def monai_merger(grid: TileGrid, tiles: np.ndarray) -> Callable[[], np.ndarray]:
    from monai.inferers.merger import AvgMerger

    patches = torch.from_numpy(tiles)[:, None, None]

    def merge() -> np.ndarray:
        merger = AvgMerger((1, 1, grid.height, grid.width))
        for patch, corner in zip(patches, grid.starts.tolist(), strict=True):
            merger.aggregate(patch, corner)
        return np.asarray(merger.finalize()[0, 0].numpy())

    return merge


def fold_merger(grid: TileGrid, heatmap: np.ndarray) -> Callable[[], np.ndarray]:
    size, stride = grid.tile_size, grid.tile_size - grid.overlap
    regular = torch.from_numpy(_regular(grid, heatmap))[None, None]
    tiles = F.unfold(regular, size, stride=stride)[0].T.contiguous().reshape(-1, size, size)
    output = tuple(regular.shape[2:])
    counts = F.fold(torch.ones(1, size * size, len(tiles)), output, size, stride=stride)

    def merge() -> np.ndarray:
        merged = F.fold(tiles.reshape(len(tiles), -1).T[None], output, size, stride=stride) / counts
        return np.asarray(merged[0, 0, : grid.height, : grid.width].numpy())

    return merge


def blended_tiling_merger(grid: TileGrid, heatmap: np.ndarray) -> Callable[[], np.ndarray]:
    module = _blended_tiling(grid)
    tiles = module.split_into_tiles(torch.from_numpy(heatmap)[None, None])
    return lambda: np.asarray(module.rebuild_with_masks(tiles)[0, 0].numpy())


def patchify_merger(grid: TileGrid, heatmap: np.ndarray) -> Callable[[], np.ndarray]:
    from patchify import patchify, unpatchify

    size, stride = grid.tile_size, grid.tile_size - grid.overlap
    regular = _regular(grid, heatmap)
    tiles = patchify(regular, (size, size), stride).copy()
    return lambda: np.asarray(unpatchify(tiles, regular.shape)[: grid.height, : grid.width])


def _blended_tiling(grid: TileGrid) -> Any:
    from blended_tiling import TilingModule

    return TilingModule(
        tile_size=grid.tile_size, tile_overlap=grid.overlap / grid.tile_size, base_size=[grid.height, grid.width]
    )


def _regular(grid: TileGrid, image: np.ndarray) -> np.ndarray:
    """Reflected to the next size that a whole number of strides fills."""
    stride = grid.tile_size - grid.overlap
    missing = [(0, -(length - grid.tile_size) % stride) for length in image.shape]
    return np.pad(image, missing, mode="reflect")
