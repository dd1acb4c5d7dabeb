"""One image, from pixels to a verdict; nothing here knows about files, commands or reports.

image -> grid tiles -> score tiles -> stitch -> heatmap -> regions -> verdict

In three steps, so that a folder can work on several images at once: `prepare` (align) and `judge` (regions, verdict)
need no scorer and may run in other threads, while `score` keeps a lane busy, of which a GPU has two; within it, one
batch is cut and one is stitched while another is scored.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle
from flawmap.inspect.alignment import Aligner
from flawmap.inspect.calibration.border_zones import lower_border
from flawmap.inspect.defects import DefectScan
from flawmap.inspect.looking import Looking
from flawmap.inspect.rules.findings import Findings
from flawmap.inspect.rules.judge import Judge
from flawmap.inspect.run.records import Verdict
from flawmap.inspect.scoring.lanes import Lanes
from flawmap.inspect.scoring.scorers import Scorer
from flawmap.inspect.scoring.tile_loop import Stopwatch, TiledImage
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import describe
from flawmap.tiling.look_map import Look, resized
from flawmap.tiling.physical_size import PixelSize
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.shrink import enlarge, shrink
from flawmap.tiling.stitch import Stitcher

Image = NDArray[Any]
Heatmap = NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """What the pipeline decides on one image; the arrays are the caller's."""

    found: Findings  # [k], the worst first; those that rules dropped, last
    severities: NDArray[np.float64]  # [k]
    below: Findings  # [m <= CANDIDATES_MAX], candidates: too low for a region, the highest first
    severity: float  # of the highest score that no rule drops, whether or not it makes a region
    verdict: Verdict
    pixel_size: PixelSize | None  # what a pixel covers, as far as it is known
    milliseconds: dict[str, float]  # align, look, cut, score, stitch, regions
    pose: Pose | None  # where an aligned product lies in the image
    look: Look | None  # [H, W], what of it counts: elsewhere the heatmap is -inf; None where all of it does

    @property
    def counted_share(self) -> float:
        """Of the image's pixels, those that were to be looked at."""
        return 1.0 if self.look is None else float(np.count_nonzero(self.look) / self.look.size)

    @property
    def regions(self) -> NDArray[np.void]:
        """REGION_DTYPE [k]."""
        return self.found.regions

    @property
    def candidates(self) -> NDArray[np.void]:
        """REGION_DTYPE [m]."""
        return self.below.regions


@dataclass(frozen=True)
class Inspection(Outcome):
    """The same, with the arrays that it was drawn from; they are the caller's, too."""

    heatmap: Heatmap  # [H, W]
    reconstruction: Image  # the image's shape and dtype: what the network holds for good


@dataclass(frozen=True)
class Prepared:
    """An image, ready to be scored."""

    image: Image  # as the network takes it: shrunk where the bundle says so
    shape: tuple[int, int]  # height and width of the image that came
    pose: Pose | None
    context: Image | None  # [H, W, C + 1] of an aligned product: the reference as this image sees it
    look: Look | None  # [H, W], what of `image` counts; None where all of it does
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class Scored:
    """What the network says of an image, before anything is decided."""

    heatmap: Heatmap  # [H, W]
    reconstruction: Image
    pose: Pose | None
    look: Look | None  # [H, W], where the other two mean something; None: everywhere
    tile_size: int  # px, of the tiles that it was scored in
    milliseconds: dict[str, float]


class Pipeline:
    """Inspects images of any size. Any number of threads may use it; those that `score` take turns at the lanes."""

    def __init__(self, bundle: Bundle, scorer: Scorer | Lanes, thresholds: Thresholds | None = None) -> None:
        """`scorer`: one, or lanes of them. `thresholds` may be left out where only heatmaps are wanted, as calibration
        does.
        """
        self.info = bundle.info
        self.lanes = scorer if isinstance(scorer, Lanes) else Lanes([scorer])
        self.thresholds = thresholds
        self.aligner = Aligner(bundle) if bundle.info.alignment else None
        self.looking = Looking(bundle, thresholds)

    @property
    def needs_whole(self) -> str:
        """What of the bundle needs whole pictures, so that none can be inspected in bands; empty for nothing."""
        if self.info.alignment is not None:
            return "alignment"
        if self.looking.background is not None:
            return "`where.background`"
        return "`image.longest_side`" if self.info.image.longest_side is not None else ""

    def heatmap(self, image: Image) -> tuple[Heatmap, Image]:
        """(heatmap float32 [H, W], reconstruction like `image`); `image` is [H, W] or [H, W, C] in the bundle's dtype.

        As the network scores it: the border is not lowered yet, since calibration decides by how much.

        Raises ImageError for an image of another kind than the bundle's, ValueError for a score that is not finite.
        """
        scored = self.score(self.prepare(image))
        return scored.heatmap, scored.reconstruction

    def inspect(
        self, image: Image, *, recycle: Inspection | None = None, stated: PixelSize | None = None
    ) -> Inspection:
        """Everything the product says about `image` ([H, W] or [H, W, C] in the bundle's dtype).

        `recycle`: an earlier inspection that the caller is done with; its arrays are written over where they fit, which
        keeps a folder of equal images from allocating a heatmap each. Without it all arrays are new. `stated`: what the
        image's file says a pixel covers.

        Raises ImageError for an image of another kind than the bundle's, ValueError for a score that is not finite.
        """
        return self.judge(self.score(self.prepare(image), recycle=recycle), image, stated)

    def prepare(self, image: Image) -> Prepared:
        """`image` ([H, W] or [H, W, C] in the bundle's dtype), shrunk and aligned where the bundle says so.

        Raises ImageError for an image of another kind or size than the bundle's, one that cannot be aligned, and one
        that shows nothing to look at.
        """
        check_image_kind(image, self.info.image.channels, self.info.image.dtype)
        self.looking.drawn(image.shape)
        watch = Stopwatch()
        shape, longest_side = image.shape[:2], self.info.image.longest_side
        if longest_side is not None and max(shape) > longest_side:
            with watch("shrink"):
                image = shrink(image, longest_side)
        pose = context = None
        if self.aligner is not None:
            with watch("align"):
                pose, context = self.aligner.align(image)
        look = None
        if not self.looking.everywhere:
            with watch("look"):
                look = self.looking.look(image, pose)
        return Prepared(image, shape, pose, context, look, watch.milliseconds)

    def score(self, prepared: Prepared, *, recycle: Inspection | Scored | None = None) -> Scored:
        """The heatmap and the reconstruction; `recycle` as in `inspect`. ValueError for a score that is not finite."""
        watch = Stopwatch(prepared.milliseconds)
        if prepared.image.shape[:2] == prepared.shape:
            heatmap, reconstruction, tile_size = self._tiled(prepared, recycle, watch)
        else:
            *small, tile_size = self._tiled(prepared, None, watch)
            with watch("enlarge"):  # boxes are in px of the image that came
                heatmap = enlarge(small[0], prepared.shape, recycle.heatmap if recycle else None)
                reconstruction = enlarge(small[1], prepared.shape, recycle.reconstruction if recycle else None)
        look = prepared.look if prepared.look is None else resized(prepared.look, prepared.shape)
        return Scored(heatmap, reconstruction, prepared.pose, look, tile_size, watch.milliseconds)

    def judge(self, scored: Scored, image: Image, stated: PixelSize | None = None) -> Inspection:
        """Regions and verdict; the arrays of `scored` go over to the inspection, the border of its heatmap lowered.

        `image` as it came to `prepare`, `stated` as in `inspect`. ImageError where a rule needs the size of a pixel
        that nobody states.
        """
        thresholds = self.sure_thresholds()
        watch = Stopwatch(scored.milliseconds)
        heatmap = scored.heatmap
        with watch("regions"):
            lower_border(heatmap, thresholds.calibration.border)
            self.looking.scale_scores(heatmap, scored.look)
            scan = DefectScan(heatmap.shape[1], thresholds)
            scan.add(heatmap, (image, scored.reconstruction))
        outcome = self.decide(scan, watch, stated, scored.pose, scored.look)
        return Inspection(heatmap=heatmap, reconstruction=scored.reconstruction, **vars(outcome))

    def sure_thresholds(self) -> Thresholds:
        """ValueError where there are none."""
        if self.thresholds is None:
            raise ValueError("`thresholds` are needed to inspect: this pipeline was made for heatmaps only")
        return self.thresholds

    def decide(
        self, scan: DefectScan, watch: Stopwatch, stated: PixelSize | None, pose: Pose | None, look: Look | None
    ) -> Outcome:
        """What a heatmap that `scan` has seen all of means; `stated` and errors as of `judge`."""
        thresholds = self.sure_thresholds()
        with watch("regions"):
            judged = Judge(self.info.part, thresholds).judge(scan.result(), stated, look)
        return Outcome(
            found=judged.regions,
            severities=thresholds.severities(judged.regions.regions["score_max"]),
            below=judged.candidates,
            severity=float(thresholds.severities(np.asarray(judged.peak, np.float32))),
            verdict=judged.verdict,
            pixel_size=judged.pixel_size,
            milliseconds=watch.milliseconds,
            pose=pose,
            look=look,
        )

    def tile_size(self, prepared: Prepared) -> int:
        """Of the tiles that an image is cut into: fitted to its size on a GPU, unless not all of it counts."""
        room = self.lanes.room
        if room is None or prepared.look is not None:
            return self.info.tile.size
        height, width = prepared.image.shape[:2]
        return room.tile_size(height, width)

    def _tiled(
        self, prepared: Prepared, recycle: Inspection | Scored | None, watch: Stopwatch
    ) -> tuple[Heatmap, Image, int]:
        """(heatmap, reconstruction, tile size)"""
        pixels = np.ascontiguousarray(prepared.image)
        context = None if prepared.context is None else np.ascontiguousarray(prepared.context)

        def tiled() -> TiledImage:
            grid = self.looking.grid(prepared.image, prepared.look, self.tile_size(prepared))
            return TiledImage(grid, pixels, context, *self._stitchers(grid, prepared, recycle), watch)

        done = self.lanes.run(tiled)
        return done.heatmap.result(), done.reconstruction.result(), done.grid.tile_size

    def _stitchers(
        self, grid: TileGrid, prepared: Prepared, recycle: Inspection | Scored | None
    ) -> tuple[Stitcher, Stitcher]:
        heatmap = reconstruction = None
        image = prepared.image
        kind = image.shape, image.dtype
        if recycle is not None and (recycle.reconstruction.shape, recycle.reconstruction.dtype) == kind:
            heatmap, reconstruction = recycle.heatmap, recycle.reconstruction
        if prepared.look is not None:  # no tile writes everywhere: what is left is numbers at least, and the image
            heatmap = np.zeros(image.shape[:2], np.float32) if heatmap is None else heatmap
            reconstruction = np.empty_like(image) if reconstruction is None else reconstruction
            np.copyto(reconstruction, image)
        channels = image.shape[2] if image.ndim == 3 else None
        return Stitcher(grid, heatmap), Stitcher(grid, reconstruction, dtype=image.dtype, channels=channels)


def check_image_kind(image: Image, channels: int, dtype: str) -> None:
    """ImageError, naming both kinds, unless `image` has the channels and the dtype that the bundle was trained on."""
    expected_ndim = 2 if channels == 1 else 3
    if image.ndim != expected_ndim or image.dtype != dtype or (image.ndim == 3 and image.shape[2] != channels):
        trained = describe(np.empty((1, 1) if channels == 1 else (1, 1, channels), dtype))
        raise ImageError("image", f"the image is {describe(image)}, the bundle was trained on {trained}")
