"""Kinds of injected defects, and what each does to the pixels under it.

`spot`      brighter or darker, fading from the middle           `pit`       bright beside dark, as a dent
`hairline`  a thin curved line                                  `smudge`    a factor on the light, texture kept
`blur`      the texture out of focus or smeared                 `missing`   the texture gone, the rim's level instead

The first four have a contrast: the largest change of a pixel over the local standard deviation. The last two have
none: how much they change depends on what was there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.detection_limit.defect_profiles import Profile, hairline, patch, pit, soft_patch, spot
from flawmap.inspect.detection_limit.local_noise import Box, Image, Levels, planes

DRAW: dict[str, Callable[[np.random.Generator, float], Profile]] = {
    "spot": spot,
    "pit": pit,
    "hairline": hairline,
    "smudge": soft_patch,
    "blur": patch,
    "missing": patch,
}
WITH_CONTRAST = ("spot", "pit", "hairline", "smudge")
WITHOUT_CONTRAST = ("blur", "missing")
HALF = 0.5  # of the peak: where a defect ends
REACHED = 0.7  # of the contrast asked for that must be left after rounding and clipping
STRUCTURE = (
    2.0  # times the sensor's noise, RMS: texture that is lost must have been more than noise against noise (1.4)
)
STRONGEST_GAIN = 0.9  # of a smudge: nothing makes light from black
BLUR = 2.0  # px, standard deviation of being out of focus
SMEAR = 9  # px, length of being smeared
RIM = 3  # px around missing structure from which it is filled


@dataclass(frozen=True)
class Planned:
    """One defect that is to be injected somewhere."""

    number: int
    kind: str
    size_px: int
    contrast: float | None  # in local standard deviations
    place: str  # anywhere, edge or border
    seed: int

    def profile(self) -> Profile:
        """Always the same; not to be written to."""
        return _drawn(self)


@dataclass(frozen=True)
class Change:
    """What a defect makes of the pixels under it."""

    pixels: Image  # [h, w] or [h, w, 3], the image's dtype
    mask: NDArray[np.bool_]  # [h, w], half contrast and above
    levels: float  # grey levels, in the channel that changed most: of the pixel that did, without contrast the RMS
    deviations: float  # the same over the local standard deviation


@lru_cache(maxsize=1024)  # a small image has room for one or two at a time, and is gone through again and again
def _drawn(planned: Planned) -> Profile:
    profile = DRAW[planned.kind](np.random.default_rng((planned.seed, planned.number)), planned.size_px)
    profile.flags.writeable = False
    return profile


def half_contrast(profile: Profile) -> NDArray[np.bool_]:
    """The pixels [h, w] that count as the defect."""
    return np.abs(profile) >= HALF


def change(
    planned: Planned, profile: Profile, image: Image, box: Box, deviation: Levels, noise: Levels
) -> Change | None:
    """`planned` at `box` of `image`, which `profile` covers; None where it would not show as it was meant to.

    That is where clipping or rounding leaves too little of its contrast, where light or structure to change is missing,
    or where nothing varies (a contrast in standard deviations means nothing there). `deviation` and `noise`: [C].
    """
    if not (deviation > 0).all():
        return None
    rng = np.random.default_rng((planned.seed, planned.number, 1))
    y0, x0, y1, x1 = box
    before = planes(image[y0:y1, x0:x1])
    mask = half_contrast(profile)
    if planned.contrast is not None:
        signs = rng.permutation([-1.0, 1.0])
        for sign in signs:  # on white paper a bright spot is none: a dark one then
            after = _in_contrast(planned, sign, profile, before, deviation)
            made = _made(image, before, after, mask, deviation, rms=False)
            if made.deviations >= REACHED * planned.contrast:
                return made
        return None
    weight = profile[:, :, None]
    filling = _blurred(rng, image, box) if planned.kind == "blur" else _filled(rng, before, profile, noise)
    made = _made(image, before, before + weight * (filling - before), mask, deviation, rms=True)
    return made if made.levels > STRUCTURE * float(noise.min()) else None


def _in_contrast(
    planned: Planned, sign: float, profile: Profile, before: NDArray[np.float32], deviation: Levels
) -> NDArray[np.float32]:
    assert planned.contrast is not None
    peak = sign * planned.contrast * deviation
    if planned.kind == "smudge":
        level = float(np.abs(np.median(before, axis=(0, 1))).mean())
        gain = float(np.clip(peak.mean() / level, -STRONGEST_GAIN, STRONGEST_GAIN)) if level else 0.0
        return np.asarray(before * (1 + gain * profile[:, :, None]), np.float32)
    return np.asarray(before + profile[:, :, None] * peak, np.float32)


def _blurred(rng: np.random.Generator, image: Image, box: Box) -> NDArray[np.float32]:
    """What lies in `box`, out of focus or smeared along a row, a column or a diagonal; float32 [h, w, C]."""
    y0, x0, y1, x1 = box
    top, left = min(y0, 2 * SMEAR), min(x0, 2 * SMEAR)
    around = planes(image[y0 - top : y1 + 2 * SMEAR, x0 - left : x1 + 2 * SMEAR])
    line = np.eye(SMEAR, dtype=np.float32)
    straight = np.zeros((SMEAR, SMEAR), np.float32)
    straight[SMEAR // 2] = 1
    kernels = (line, line[::-1], straight, straight.T)
    focus = rng.random() < 0.5
    kernel = np.ascontiguousarray(kernels[rng.integers(len(kernels))]) / SMEAR
    if focus:
        blurred = cv2.GaussianBlur(around, (0, 0), BLUR, borderType=cv2.BORDER_REFLECT_101)
    else:
        blurred = cv2.filter2D(around, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred.reshape(around.shape)[top : top + y1 - y0, left : left + x1 - x0], np.float32)


def _filled(
    rng: np.random.Generator, before: NDArray[np.float32], profile: Profile, noise: Levels
) -> NDArray[np.float32]:
    """The rim's levels carried inward (weights 1 / distance^2, Shepard 1968), with the sensor's noise on top."""
    drawn = (profile > 0).astype(np.uint8)
    inner = cv2.erode(drawn, np.ones((2 * RIM + 1,) * 2, np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    rim_y, rim_x = np.nonzero((drawn == 1) & (inner == 0))
    levels = cv2.blur(before, (RIM, RIM), borderType=cv2.BORDER_REFLECT_101).reshape(before.shape)[rim_y, rim_x]
    filling = np.empty_like(before)
    columns = np.arange(before.shape[1])
    for y in range(before.shape[0]):
        squared = (y - rim_y)[None, :] ** 2 + (columns[:, None] - rim_x[None, :]) ** 2
        weights = 1 / (squared + 1.0)
        filling[y] = weights @ levels / weights.sum(axis=1, keepdims=True)
    return np.asarray(filling + rng.standard_normal(before.shape) * noise, np.float32)


def _made(
    image: Image,
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    mask: NDArray[np.bool_],
    deviation: Levels,
    *,
    rms: bool,
) -> Change:
    """Rounded and clipped to what the image can hold; float32 has no range to clip to."""
    if image.dtype.kind == "u":
        after = np.clip(np.rint(after), 0, float(np.iinfo(image.dtype).max))
    difference = np.abs(after - before)[mask]  # [n, C]
    levels = np.sqrt((difference.astype(np.float64) ** 2).mean(axis=0)) if rms else difference.max(axis=0)
    pixels = after.astype(image.dtype).reshape(*after.shape[:2], *image.shape[2:])
    return Change(pixels, mask, float(levels.max()), float((levels / deviation).max()))
