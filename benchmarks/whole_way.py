"""The whole way without a network: cut, residual, merge, regions; by flawmap and as others would put it together.

A tile of one grey level stands for the network's answer, whatever the tile: it costs nothing, and so everything that
is timed is work around the network. `flawmap` and `hand_tuned` write to a heatmap that is given, as a folder's run does
for image after image, or to a new one, whose pages the system has to clear first.
"""

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from benchmarks import region_peers, tile_peers
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.regions import find_regions
from flawmap.tiling.stitch import Stitcher

LEVEL = 128
GROW = 60.0


def picture(size: int, count: int) -> np.ndarray:
    """uint8 [size, size]: noise around LEVEL that stays below GROW, and `count` squares of 1 to 80 px above it."""
    random = np.random.default_rng(4)
    image = random.integers(LEVEL - 20, LEVEL + 21, (size, size)).astype(np.uint8)
    for side in random.integers(1, min(81, size // 4), count):
        y, x = random.integers(0, size - side, 2)
        image[y : y + side, x : x + side] = random.integers(200, 256, (side, side))
    return image


class Ways:
    """One image, and the grid and the answer that all ways share."""

    def __init__(self, size: int) -> None:
        self.image = picture(size, round(168 * (size / 5120) ** 2))
        self.grid = TileGrid(size, size, tile_size=256, overlap=64)
        self.boxes = self.grid.owned_boxes.tolist()
        self.answer = np.full((tile_peers.BATCH, 256, 256), LEVEL, np.uint8)
        self.tiles = np.zeros_like(self.answer)

    def flawmap(self, heatmap: np.ndarray | None = None) -> np.ndarray:
        stitcher = Stitcher(self.grid, heatmap)
        for first in range(0, len(self.grid), len(self.tiles)):
            n = self.grid.cut(self.image, first, self.tiles)
            stitcher.add_residual(first, self.tiles[:n], self.answer[:n])
        return find_regions(stitcher.result(), grow=GROW, seed=GROW)

    def hand_tuned(self, heatmap: np.ndarray | None = None) -> np.ndarray:
        """numpy slices and OpenCV, with reused buffers, the overlap left out of the residual, and crops of contours."""
        size = self.grid.tile_size
        if heatmap is None:
            heatmap = np.empty(self.image.shape, np.float32)
        for first in range(0, len(self.grid), len(self.tiles)):
            corners = self.grid.starts[first : first + len(self.tiles)].tolist()
            for k, (y, x) in enumerate(corners):
                self.tiles[k] = self.image[y : y + size, x : x + size]
            for tile, answer, box in zip(
                self.tiles, self.answer, self.boxes[first : first + len(corners)], strict=False
            ):
                y0, x0, y1, x1, image_y0, image_x0, image_y1, image_x1 = box
                residual = cv2.absdiff(tile[y0:y1, x0:x1], answer[y0:y1, x0:x1])
                heatmap[image_y0:image_y1, image_x0:image_x1] = residual
        return region_peers.regions_with_contours(heatmap, GROW, GROW)

    def tiler_and_skimage(self) -> np.ndarray:
        from tiler import Merger, Tiler

        tiler = Tiler(self.image.shape, (256, 256), self.grid.overlap, mode="reflect")
        merger = Merger(tiler, window="boxcar")  # its overlap-tile window leaves the picture's border at 0
        for number, batch in tiler.iterate(self.image, batch_size=len(self.answer)):
            answer = self.answer[: len(batch)].astype(np.float32)
            merger.add_batch(number, len(self.answer), np.abs(batch.astype(np.float32) - answer))
        heatmap = np.asarray(merger.merge(unpad=True, dtype=np.float32))
        return region_peers.regions_with_skimage(heatmap, GROW, GROW)

    def anomalib_like(self) -> np.ndarray:
        """All tiles at once in float32 by unfold, the mean where they overlap by fold, labels by scikit-image."""
        size, stride = 256, 256 - self.grid.overlap
        missing = -(self.grid.height - size) % stride
        image = F.pad(torch.from_numpy(self.image)[None, None].float(), (0, missing, 0, missing))
        tiles = F.unfold(image, size, stride=stride)[0].T.reshape(-1, 1, size, size).contiguous()
        residual = (tiles - float(LEVEL)).abs()
        flat, output = residual.reshape(len(tiles), -1).T[None], tuple(image.shape[2:])
        merged = F.fold(flat, output, size, stride=stride) / F.fold(torch.ones_like(flat), output, size, stride=stride)
        heatmap = np.ascontiguousarray(merged[0, 0, : self.grid.height, : self.grid.width].numpy())
        return region_peers.regions_with_skimage(heatmap, GROW, GROW)
