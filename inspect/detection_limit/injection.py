"""Which defects are injected, and where: seeded, far enough apart that no pixel of the network sees two of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.detection_limit.injected_defects import (
    WITH_CONTRAST,
    WITHOUT_CONTRAST,
    Planned,
    change,
    half_contrast,
)
from flawmap.inspect.detection_limit.local_noise import (
    Box,
    Image,
    deviation_floor,
    local_deviation,
    planes,
    sensor_noise,
)
from flawmap.inspect.true_defects import TrueDefect
from flawmap.tiling.look_map import Look

PLACES = ("anywhere", "edge", "border")
PLACE_SHARES = (0.7, 0.2, 0.1)
TRIES = 200  # random places looked at for one defect
SHOWN_TRIES = 12  # free places at which it is drawn, until it shows as it was meant to
EDGE_CANDIDATES = 32  # free places of which those with the steepest change of level are edges
FULL_AFTER = 20  # defects in a row that found no room: the image is full, the rest waits for the next time
EDGE_REACH = 7  # px around a place in which the level may change
QUIET = 16  # px between a defect and a region that was there without it


@dataclass(frozen=True)
class Design:
    """The experiment: every kind in every size, and in every contrast where it has one, equally often."""

    sizes_px: tuple[int, ...] = (3, 5, 7, 11, 17, 27, 41, 64)
    contrasts: tuple[float, ...] = (2.0, 3.0, 5.0, 8.0)
    per_image: int = 240  # what 26 megapixels hold at once
    gap_px: int = 200  # between two defects; the network's receptive field where that is larger
    seed: int = 20_231_117

    def plan(self, n_images: int) -> list[list[Planned]]:
        """What is to be injected into each image; every 144 defects (of the default) hold each combination once."""
        combinations: list[tuple[str, int, float | None]] = [
            (kind, size, contrast) for kind in WITH_CONTRAST for size in self.sizes_px for contrast in self.contrasts
        ]
        combinations += [(kind, size, None) for kind in WITHOUT_CONTRAST for size in self.sizes_px]
        rng = np.random.default_rng(self.seed)
        defects: list[Planned] = []
        while len(defects) < n_images * self.per_image:
            for index in rng.permutation(len(combinations)):
                kind, size, contrast = combinations[index]
                place = str(rng.choice(PLACES, p=PLACE_SHARES))
                defects.append(Planned(len(defects), kind, size, contrast, place, self.seed))
        return [defects[i * self.per_image : (i + 1) * self.per_image] for i in range(n_images)]


@dataclass(frozen=True)
class Placed:
    """One defect that is in an image."""

    planned: Planned
    defect: TrueDefect  # its pixels at half contrast and above
    deviation: float  # grey levels, of the surface around it; the mean over channels
    levels: float  # as in `Change`
    deviations: float


@dataclass(frozen=True)
class InjectedImage:
    """An image with defects, and those for which it had no room, or no place where they would show."""

    image: Image
    placed: list[Placed]
    no_room: list[Planned]  # beside the others: to be tried again on the untouched image
    not_showing: list[Planned]


class Injector:
    """Injects into one image, as often as it takes."""

    def __init__(self, image: Image, quiet_away_from: NDArray[np.int64], gap_px: int, look: Look | None = None) -> None:
        """What may be done to `image`, which stays as it is.

        Args:
            image: [H, W] or [H, W, 3], uint8, uint16 or float32.
            quiet_away_from: boxes [n, 4] (y0, x0, y1, x1) of regions that are there without any defect.
            gap_px: unchanged pixels between any two defects.
            look: uint8 [H, W], 0 where nothing counts and no defect is put; None: everything counts.
        """
        self._look = look
        self._image = image
        self._quiet_away_from = quiet_away_from
        self._gap_px = gap_px
        self._noise = sensor_noise(image)
        self._floor = deviation_floor(image, self._noise)

    def inject(self, planned: Sequence[Planned]) -> InjectedImage:
        """Puts as many of `planned` into a copy of the image as have room at the same time, the largest first.

        When nothing is placed, what found no room fits nowhere.
        """
        image = self._image
        injected = InjectedImage(image.copy(), [], [], [])
        taken = np.zeros((0, 4), np.int64)
        refused = 0
        for one in sorted(planned, key=lambda one: (-one.size_px, one.number)):
            if refused == FULL_AFTER and injected.placed:
                injected.no_room.append(one)
                continue
            profile = one.profile()
            mask_box = _extent(half_contrast(profile))
            corners = _free_corners(
                one, profile.shape, mask_box, image, self._look, (taken, self._gap_px), (self._quiet_away_from, QUIET)
            )
            for y, x in corners[:SHOWN_TRIES]:
                y0, x0, y1, x1 = box = _inside((y, x), profile.shape, image.shape)
                deviation = local_deviation(
                    image, _inside((y + mask_box[0], x + mask_box[1]), _sides(mask_box), image.shape), self._floor
                )
                made = change(one, profile[y0 - y : y1 - y, x0 - x : x1 - x], image, box, deviation, self._noise)
                if made is not None:
                    injected.image[y0:y1, x0:x1] = made.pixels
                    taken = np.vstack([taken, [box]])
                    defect = _true_defect(made.mask, y0, x0)
                    injected.placed.append(Placed(one, defect, float(deviation.mean()), made.levels, made.deviations))
                    break
            else:
                looked_well = len(corners) >= SHOWN_TRIES or (corners and not injected.placed)
                (injected.not_showing if looked_well else injected.no_room).append(one)
            refused = 0 if corners else refused + 1
        return injected


def _free_corners(
    one: Planned,
    profile: tuple[int, ...],
    mask_box: Box,
    image: Image,
    look: Look | None,
    *kept_away: tuple[NDArray[np.int64], int],
) -> list[tuple[int, int]]:
    """Where the first pixel of the profile may lie: random, for an edge the steepest first; empty where none is free.

    `look`: where all four corners of the defect's box must count. `kept_away`: boxes [n, 4] and the pixels that must
    lie between them and all that changes.
    """
    corners = _random_corners(np.random.default_rng((one.seed, one.number, 2)), one.place, mask_box, image.shape)
    if look is not None:
        for y in (mask_box[0], mask_box[2] - 1):
            for x in (mask_box[1], mask_box[3] - 1):
                corners = corners[look[corners[:, 0] + y, corners[:, 1] + x] > 0]
    boxes = np.concatenate([np.maximum(corners, 0), np.minimum(corners + profile[:2], image.shape[:2])], axis=1)
    for others, gap_px in kept_away:
        near = (boxes[:, None, :2] < others[:, 2:] + gap_px) & (boxes[:, None, 2:] > others[:, :2] - gap_px)
        clear = ~np.any(np.all(near, axis=2), axis=1)
        corners, boxes = corners[clear], boxes[clear]
    free: list[tuple[int, int]] = [(y, x) for y, x in corners.tolist()]
    if one.place == "edge":
        return sorted(free[:EDGE_CANDIDATES], key=lambda corner: -_step(image, corner, mask_box))
    return free


def _random_corners(rng: np.random.Generator, place: str, mask_box: Box, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """`TRIES` corners [n, 2] of the profile for which the defect is in the image; none where it is too large for it.

    What fades around the defect may be cut off by the image's border.
    """
    spare = np.array(shape[:2], np.int64) - np.array(_sides(mask_box), np.int64)
    if (spare < 0).any():
        return np.zeros((0, 2), np.int64)
    corners = rng.integers(spare + 1, size=(TRIES, 2))
    if place == "border":  # up to 2 px of good surface remain between the defect and the border
        rows, axis = np.arange(TRIES), rng.integers(2, size=TRIES)
        margin = np.minimum(rng.integers(3, size=TRIES), spare[axis])
        corners[rows, axis] = np.where(rng.random(TRIES) < 0.5, margin, spare[axis] - margin)
    return corners - mask_box[:2]


def _inside(corner: tuple[int, int], sides: tuple[int, ...], shape: tuple[int, ...]) -> Box:
    """The part in an image of `shape` of a box of `sides` px at `corner`."""
    y, x = corner
    return max(0, y), max(0, x), min(shape[0], y + sides[0]), min(shape[1], x + sides[1])


def _sides(box: Box) -> tuple[int, int]:
    return box[2] - box[0], box[3] - box[1]


def _step(image: Image, corner: tuple[int, int], mask_box: Box) -> float:
    """How much the smoothed level changes around the middle of the defect, in the channel where most."""
    y = corner[0] + (mask_box[0] + mask_box[2]) // 2
    x = corner[1] + (mask_box[1] + mask_box[3]) // 2
    window = planes(image[max(0, y - EDGE_REACH) : y + EDGE_REACH + 1, max(0, x - EDGE_REACH) : x + EDGE_REACH + 1])
    smooth = cv2.blur(window, (5, 5), borderType=cv2.BORDER_REPLICATE).reshape(window.shape)
    return float(np.ptp(smooth, axis=(0, 1)).max())


def _extent(mask: NDArray[np.bool_]) -> Box:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return y, x, y + height, x + width


def _true_defect(mask: NDArray[np.bool_], y: int, x: int) -> TrueDefect:
    """`mask` lies at (y, x) in the image."""
    y0, x0, y1, x1 = _extent(mask)
    return TrueDefect(y + y0, x + x0, y + y1, x + x1, int(mask.sum()), mask[y0:y1, x0:x1])
