"""Registration of an aligned product: how its layout lies in each image, to a fraction of a pixel.

From coarse to fine: phase correlation of the picture shrunk to 320 px finds shift and angle roughly; patches at that
size, at a middle one and at native size then measure what is left of both (docs/registration.md).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import describe
from flawmap.tiling.registration.coarse import LARGEST_ANGLE, CoarseSearch
from flawmap.tiling.registration.levels import Grey, Level, grey, make_levels
from flawmap.tiling.registration.patches import Patches, choose_centres
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.warp import LONGEST_SIDE

Image = NDArray[Any]

LOWEST_QUALITY = 0.5
"""Below it a picture does not show the reference's layout: right ones reach 0.9 or more, wrong ones 0.1 to 0.3."""
SMALLEST_SIDE = 128
"""px: a reference must be at least as high and as wide."""

_FEWEST_PATCHES = 6
_MOST_STEPS = 6  # at one level
_ENOUGH = 0.05  # level px: a step that moves no corner farther ends a level
_REFINED = 5  # candidates whose likeness is compared after a closer look
_TIE = 0.0007  # of likeness: equal cells differ by up to 0.0006 by chance; by 0.0013 or more with a mark of 12 px


class Registration:
    """Registers images onto one reference picture. Build it once, call `register` for each image.

    It keeps a few hundred small patches of the reference and Fourier transforms of it at 320 px: 30 to 60 MB.
    """

    def __init__(self, reference: Image, name: Path | str = "reference") -> None:
        """`reference`: [H, W] or [H, W, 3] (RGB), uint8, uint16 or float32, at native size.

        Raises ImageError (with `name`) for sides under 128 or over 32766 px, and for too little structure.
        """
        self.height, self.width = reference.shape[:2]
        self._kind = describe(reference)
        if min(self.height, self.width) < SMALLEST_SIDE:
            raise ImageError(
                name, f"{self.width}x{self.height} px is too small to register on ({SMALLEST_SIDE} px a side at least)"
            )
        if max(self.height, self.width) > LONGEST_SIDE:
            raise ImageError(
                name, f"{self.width}x{self.height} px is too long to register ({LONGEST_SIDE} px a side at most)"
            )
        levels = make_levels(reference)
        self._coarse_grey: Grey = grey(levels[0].pixels)
        self._factor = levels[0].factor
        self._search = CoarseSearch(self._coarse_grey, self._factor)
        self._patches = _patches(levels, name)

    def register(self, image: Image, name: Path | str = "image") -> Pose:
        """The pose of `image`: same size, dtype and channels as the reference.

        Parts are found up to a tenth of the picture's sides and 2 degrees away. Raises ImageError (with `name` and the
        reason) for an image of another size or kind, one without structure, and one that does not show the layout.
        """
        levels = self._levels(image, name)
        pose = self._pose(levels)
        if pose.quality >= LOWEST_QUALITY:
            return pose
        raise ImageError(name, self._reason(image, pose.quality))

    def best_pose(self, image: Image, name: Path | str = "image") -> Pose:
        """The pose in which `image` fits best, however badly: `register` without the limit to the quality."""
        return self._pose(self._levels(image, name))

    def refined(self, image: Image, pose: Pose, name: Path | str = "image") -> Pose:
        """The pose near `pose` (within a px or two) in which `image` fits best, with its quality."""
        return self._refined(Level(1, self._checked(image, name)), self._patches[-1], pose)

    def _checked(self, image: Image, name: Path | str) -> Image:
        height, width = image.shape[:2]
        if (height, width) != (self.height, self.width):
            raise ImageError(
                name, f"{width}x{height} px cannot be laid on a reference of {self.width}x{self.height} px"
            )
        if describe(image) != self._kind:
            raise ImageError(name, f"{describe(image)} cannot be laid on a reference of {self._kind}")
        return image

    def _levels(self, image: Image, name: Path | str) -> list[Level]:
        levels = make_levels(self._checked(image, name))
        if float(np.ptp(levels[0].pixels)) == 0:
            raise ImageError(name, "a blank picture: nothing to register")
        return levels

    def _pose(self, levels: list[Level]) -> Pose:
        pose = self._first_guess(levels[0])
        for level, patches in zip(levels, self._patches, strict=True):
            pose = self._refined(level, patches, pose)
        return pose

    def _refined(self, level: Level, patches: Patches, pose: Pose) -> Pose:
        """The quality is that of the pose tried last, a hundredth of a pixel from the one returned."""
        for _ in range(_MOST_STEPS):
            fit = patches.fit(level, pose)
            pose = replace(fit.pose, quality=fit.quality)
            if fit.step <= _ENOUGH * level.factor:
                break
        return pose

    def _first_guess(self, level: Level) -> Pose:
        """The most likely pose at the coarsest level.

        In a layout of equal cells, phase correlation peaks at every cell. Which peak is the part's is decided by what
        does not repeat (an outline, a mark, a label): by the likeness of the whole picture, each peak at its best.
        Where there is nothing of that kind, every peak shows the same picture, and the nearest is taken.
        """
        pixels = grey(level.pixels)
        found = self._search.candidates(pixels, self.height, self.width)
        if len(found) == 1:
            return found[0]
        found.sort(key=lambda pose: -self._likeness(pixels, pose))
        refined = [self._refined(level, self._patches[0], pose) for pose in found[:_REFINED]]
        likeness = [self._likeness(pixels, pose) for pose in refined]
        equals = [pose for pose, value in zip(refined, likeness, strict=True) if value >= max(likeness) - _TIE]
        return min(equals, key=lambda pose: np.hypot(pose.dy, pose.dx))

    def _likeness(self, pixels: Grey, pose: Pose) -> float:
        """Correlation of the reference with the coarse picture laid on it by `pose`, where the two overlap, -1 to 1."""
        matrix = pose.at_factor(self._factor)
        size = (pixels.shape[1], pixels.shape[0])
        laid = cv2.warpAffine(
            pixels, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=float("nan")
        )
        known = ~np.isnan(laid)
        ours, theirs = self._coarse_grey[known], laid[known]
        if ours.size < 16:
            return -1.0
        ours, theirs = ours - ours.mean(), theirs - theirs.mean()
        norm = float(np.sqrt((ours @ ours) * (theirs @ theirs)))
        return float(ours @ theirs) / norm if norm > 0 else -1.0

    def _reason(self, image: Image, quality: float) -> str:
        """Why an image was refused, for the person at the line."""
        for turns in (2, 1, 3):
            turned = np.ascontiguousarray(np.rot90(image, turns))
            if turned.shape == image.shape and self._pose(make_levels(turned)).quality >= LOWEST_QUALITY:
                how = {2: "by 180 degrees", 1: "by 90 degrees clockwise", 3: "by 90 degrees counter-clockwise"}[turns]
                return f"the part is turned {how}"
        return (
            f"does not show the reference's layout within {LARGEST_ANGLE:g} degrees and a tenth of the picture "
            f"(quality {quality:.2f}, {LOWEST_QUALITY:g} is the least)"
        )


def _patches(levels: list[Level], name: Path | str) -> list[Patches]:
    """The patches of every level, coarsest first."""
    made = []
    for number, level in enumerate(levels):
        cells, side = (8, 32) if number == 0 else (12, 48)
        if level.factor > 1 or len(levels) == 1:
            centres = choose_centres(Level(level.factor, grey(level.pixels)), side, cells)
        else:  # places at native size are looked for one level up: structure of 26 megapixels is not cheap
            above = levels[number - 1]
            f, side = above.factor, 64
            centres = np.round(choose_centres(above, max(8, -(-side // f)), cells) * f + (f - 1) / 2)
        if len(centres) < _FEWEST_PATCHES:
            raise ImageError(name, "too little structure to register images on")
        made.append(Patches(level, centres, side))
    return made
