"""What of each image counts: tiles are cut there alone, and what lies elsewhere never becomes a score."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import WHERE_MAP, Bundle, BundleInfo
from flawmap.inspect.calibration.zone_scale import ZoneScale
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.fitted_grid import FittedGrid
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_image
from flawmap.tiling.look_map import FIRST_ZONE, Look, LookMap
from flawmap.tiling.plain_background import enlarged
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.shrink import shrunk_size

Image = NDArray[Any]


class Looking:
    """Where a bundle's part description says to look, image by image."""

    def __init__(self, bundle: Bundle, thresholds: Thresholds | None) -> None:
        """UsageError for a map that cannot be read or is not what bundle.json says."""
        self.info = bundle.info
        self.zones = bundle.info.part.where.zones
        self.scale = ZoneScale(thresholds, self.zones)
        self.look_map = _read_map(bundle) if bundle.info.where else None
        calibration = bundle.info.calibration
        wanted = bundle.info.part.where.background == "plain"
        # Known from the good images of a calibration; until there was one, the background counts.
        self.background = calibration.background if wanted and calibration is not None else None
        self._grid: FittedGrid | None = None

    @property
    def everywhere(self) -> bool:
        """Whether all of every image counts."""
        return self.look_map is None and self.background is None

    def drawn(self, shape: tuple[int, ...]) -> Look | None:
        """The look as it was drawn, None where nobody drew one; ImageError for an image of another `shape` (H, W)."""
        where = self.info.where
        if where is not None and shape[:2] != (where.height, where.width):
            raise ImageError(
                "image",
                f"the image is {shape[1]}x{shape[0]} px, where to look was drawn on a picture of "
                f"{where.width}x{where.height} px",
            )
        return None if self.look_map is None else self.look_map.pixels

    def look(self, image: Image, pose: Pose | None) -> Look | None:
        """The look of an `image` as tiles are cut from it, uint8 [H, W]; None where all of it counts.

        `pose`: where an aligned product lies in it. ImageError where nothing is left that counts.
        """
        look = None
        if self.look_map is not None:
            look = self.look_map.seen_by(None if pose is None else pose.to_reference)
        if self.background is not None:
            part = ~enlarged(self.background.find(image), image.shape)
            look = part.astype(np.uint8) if look is None else look * part
            if not look.any():
                raise ImageError("image", "shows no part: all that should be looked at is plain background")
        if look is not None and not look.any():
            raise ImageError("image", "the part lies so that nothing of what should be looked at is in the picture")
        return look

    def grid(self, image: Image, look: Look | None, tile_size: int | None = None) -> TileGrid:
        """The tiles that `image` is cut into, where `look` says that it counts; of the bundle's size unless given."""
        before = self._grid  # once: another thread may put another one there
        if look is not None and before is not None and before.look is look:  # of a product that is not aligned
            return before
        height, width = image.shape[:2]
        grid = grid_of(self.info, height, width, look, tile_size)
        self._grid = grid if isinstance(grid, FittedGrid) else None
        return grid

    def scale_scores(self, heatmap: NDArray[np.float32], look: Look | None) -> None:
        """Brings the scores of all zones of `heatmap` [H, W] onto one scale, in place; what does not count is -inf."""
        if look is not None:
            self.scale.apply(heatmap, look)


def grid_of(
    info: BundleInfo, height: int, width: int, look: Look | None = None, tile_size: int | None = None
) -> TileGrid:
    """How an image of `height` x `width` px, shrunk already where the bundle says so, is tiled where `look` says.

    Tiles are of the bundle's size unless given.
    """
    tile = info.tile
    geometry = (height, width, tile_size or tile.size, tile.overlap, info.network.stride, tile.border, tile.padding)
    return TileGrid(*geometry) if look is None else FittedGrid(*geometry, look=look)


def _read_map(bundle: Bundle) -> LookMap:
    where, name = bundle.info.where, f"`bundle` (={bundle.folder}): {WHERE_MAP}"
    assert where is not None
    try:
        pixels = read_image(bundle.folder / WHERE_MAP)
    except ImageError as error:
        raise UsageError(f"{name} cannot be read: {error.reason}") from error
    expected = shrunk_size((where.height, where.width), bundle.info.image.longest_side)
    highest = FIRST_ZONE + len(bundle.info.part.where.zones) - 1
    if pixels.shape != expected or pixels.dtype != np.uint8 or pixels.max() > highest or not pixels.any():
        raise UsageError(f"{name} must be uint8 {list(expected)} with values of 0 to {highest} that are not all 0")
    return LookMap(pixels)
