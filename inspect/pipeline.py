"""One image, from pixels to a verdict; nothing here knows about files, commands or reports.

image -> grid tiles -> score tiles -> stitch -> heatmap -> regions -> verdict
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle
from flawmap.inspect.alignment import Aligner
from flawmap.inspect.border_zones import lower_border
from flawmap.inspect.records import Verdict
from flawmap.inspect.scorers import Scorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import describe
from flawmap.tiling.regions import REGION_DTYPE, TooManyRunsError, find_regions
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.shrink import enlarge, shrink
from flawmap.tiling.stitch import Stitcher

Image = NDArray[Any]
Heatmap = NDArray[np.float32]

FRAGMENT_REACH = 3  # px, Chebyshev: fragments of one defect this near are one region
CANDIDATES_MAX = 300  # of one image


@dataclass(frozen=True)
class Inspection:
    """What the pipeline says about one image; the arrays are the caller's."""

    heatmap: Heatmap  # [H, W]
    reconstruction: Image  # the image's shape and dtype: what the network holds for good
    regions: NDArray[np.void]  # REGION_DTYPE [k], the most severe first
    severities: NDArray[np.float64]  # [k]
    candidates: NDArray[np.void]  # REGION_DTYPE [m <= CANDIDATES_MAX]: too low for a region, the highest first
    severity: float  # of the highest score, whether or not it makes a region; the calibration's floor at the least
    verdict: Verdict
    milliseconds: dict[str, float]  # align, cut, score, stitch, regions
    pose: Pose | None  # where an aligned product lies in the image


class _Scored(NamedTuple):
    heatmap: Heatmap
    reconstruction: Image
    pose: Pose | None


class Pipeline:
    """Inspects images of any size, one at a time (not from several threads at once)."""

    def __init__(self, bundle: Bundle, scorer: Scorer, thresholds: Thresholds | None = None) -> None:
        """`thresholds` may be left out where only heatmaps are wanted, as calibration does."""
        self.info = bundle.info
        self.scorer = scorer
        self.thresholds = thresholds
        self.aligner = Aligner(bundle) if bundle.info.alignment else None
        # Every batch of every image goes through these.
        self._batch = np.zeros(scorer.batch_shape, scorer.dtype)
        self._context = None if scorer.context_shape is None else np.zeros(scorer.context_shape, scorer.dtype)

    def heatmap(self, image: Image) -> tuple[Heatmap, Image]:
        """(heatmap float32 [H, W], reconstruction like `image`); `image` is [H, W] or [H, W, 3] in the bundle's dtype.

        As the network scores it: the border is not lowered yet, since calibration decides by how much.

        Raises ImageError for an image of another kind than the bundle's, ValueError for a score that is not finite.
        """
        heatmap, reconstruction, _ = self._heatmap(image, None, _Stopwatch())
        return heatmap, reconstruction

    def inspect(self, image: Image, *, recycle: Inspection | None = None) -> Inspection:
        """Everything the product says about `image` ([H, W] or [H, W, 3] in the bundle's dtype).

        `recycle`: an earlier inspection that the caller is done with; its arrays are written over where they fit, which
        keeps a folder of equal images from allocating a heatmap each. Without it all arrays are new.

        Raises ImageError for an image of another kind than the bundle's, ValueError for a score that is not finite.
        """
        if self.thresholds is None:
            raise ValueError("`thresholds` are needed to inspect: this pipeline was made for heatmaps only")
        watch = _Stopwatch()
        heatmap, reconstruction, pose = self._heatmap(image, recycle, watch)
        with watch("regions"):
            lower_border(heatmap, self.thresholds.calibration.border)
            regions, candidates = find_defects(heatmap, self.thresholds)
            peak = heatmap.max()  # of the worst region, and of an image without one: how near to one it came
        return Inspection(
            heatmap=heatmap,
            reconstruction=reconstruction,
            regions=regions,
            severities=self.thresholds.severities(regions["score_max"]),
            candidates=candidates,
            severity=float(self.thresholds.severities(peak)),
            verdict=self.thresholds.verdict(float(peak)),
            milliseconds=watch.milliseconds,
            pose=pose,
        )

    def _heatmap(self, image: Image, recycle: Inspection | None, watch: "_Stopwatch") -> "_Scored":
        check_image_kind(image, self.info.image.channels, self.info.image.dtype)
        longest_side = self.info.image.longest_side
        if longest_side is None or max(image.shape[:2]) <= longest_side:
            return self._tiled(image, recycle, watch)
        with watch("shrink"):
            small = shrink(image, longest_side)
        heatmap, reconstruction, pose = self._tiled(small, None, watch)
        with watch("enlarge"):  # boxes are in px of the image that came
            return _Scored(
                enlarge(heatmap, image.shape[:2], recycle.heatmap if recycle else None),
                enlarge(reconstruction, image.shape[:2], recycle.reconstruction if recycle else None),
                pose,
            )

    def _tiled(self, image: Image, recycle: Inspection | None, watch: "_Stopwatch") -> "_Scored":
        pose = context = None
        if self.aligner is not None:
            with watch("align"):
                pose, context = self.aligner.align(image)
        grid = self._grid(image)
        heatmap_of, reconstruction_of = self._stitchers(grid, image, recycle)
        with watch("cut"):
            padded = grid.pad(image)
            padded_context = None if context is None else grid.pad(context)
        for first in range(0, len(grid), len(self._batch)):
            with watch("cut"):
                n = grid.cut(padded, first, out=self._batch)
                if padded_context is not None and self._context is not None:
                    grid.cut(padded_context, first, out=self._context)
            with watch("score"):
                scores, repaired = self.scorer.score(self._batch, self._context)
            with watch("stitch"):
                heatmap_of.add(first, scores[:n])
                reconstruction_of.add(first, repaired[:n])
        return _Scored(heatmap_of.result(), reconstruction_of.result(), pose)

    def _grid(self, image: Image) -> TileGrid:
        height, width = image.shape[:2]
        tile = self.info.tile
        return TileGrid(height, width, tile.size, tile.overlap, multiple=self.info.network.stride, border=tile.border)

    def _stitchers(self, grid: TileGrid, image: Image, recycle: Inspection | None) -> tuple[Stitcher, Stitcher]:
        heatmap = reconstruction = None
        kind = image.shape, image.dtype
        if recycle is not None and (recycle.reconstruction.shape, recycle.reconstruction.dtype) == kind:
            heatmap, reconstruction = recycle.heatmap, recycle.reconstruction
        channels = image.shape[2] if image.ndim == 3 else None
        return Stitcher(grid, heatmap), Stitcher(grid, reconstruction, dtype=image.dtype, channels=channels)


def check_image_kind(image: Image, channels: int, dtype: str) -> None:
    """ImageError, naming both kinds, unless `image` has the channels and the dtype that the bundle was trained on."""
    expected_ndim = 2 if channels == 1 else 3
    if image.ndim != expected_ndim or image.dtype != dtype or (image.ndim == 3 and image.shape[2] != channels):
        trained = describe(np.empty((1, 1) if channels == 1 else (1, 1, channels), dtype))
        raise ImageError("image", f"the image is {describe(image)}, the bundle was trained on {trained}")


def find_defects(heatmap: Heatmap, thresholds: Thresholds) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Regions, REGION_DTYPE [k], and candidates, REGION_DTYPE [m <= CANDIDATES_MAX], the most severe first in both.

    A region is where `heatmap` (float32 [H, W]) reaches `review`, as far as `grow`; a candidate only `candidate`.

    A heatmap so full of hits that regions would take minutes to tell apart gives one region around everything at or
    above `review`, and no candidate: such a part is NG, and what is wrong with it needs no list.
    """
    try:
        found = find_regions(heatmap, grow=thresholds.grow, seed=thresholds.candidate, reach=FRAGMENT_REACH)
    except TooManyRunsError:
        return _one_region(heatmap, thresholds.review), np.zeros(0, REGION_DTYPE)
    # How far a region reaches does not depend on its seed: those from `review` on are what that seed alone would find.
    n_regions = int(np.count_nonzero(found["score_max"] >= np.float32(thresholds.review)))
    return found[:n_regions], found[n_regions : n_regions + CANDIDATES_MAX]


def _one_region(heatmap: Heatmap, seed: float) -> NDArray[np.void]:
    """One region (or none) that holds every pixel at or above `seed`; its box also holds what lies between them."""
    hit = heatmap >= seed
    rows, columns = np.flatnonzero(hit.any(axis=1)), np.flatnonzero(hit.any(axis=0))
    region = np.zeros(1 if len(rows) else 0, REGION_DTYPE)
    if not len(rows):
        return region
    y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    scores = heatmap[hit]
    peak_y, peak_x = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    counts_y, counts_x = hit.sum(axis=1), hit.sum(axis=0)
    fields = {
        "y0": y0, "x0": x0, "y1": y1, "x1": x1,
        "area_px": len(scores),
        "score_max": scores.max(),
        "score_mean": scores.mean(dtype=np.float64),
        "centroid_y": (counts_y * np.arange(len(counts_y))).sum() / len(scores),
        "centroid_x": (counts_x * np.arange(len(counts_x))).sum() / len(scores),
        "peak_y": peak_y, "peak_x": peak_x,
    }  # fmt: skip
    for name, value in fields.items():
        region[name] = value
    return region


class _Stopwatch:
    """Milliseconds by stage, summed over the batches of one image."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + (time.perf_counter() - start) * 1e3
