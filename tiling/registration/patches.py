"""Sub-pixel: many small patches of the reference, each of which says how far the image is off where it lies.

A patch T and what the image shows at its place, S, differ by gain, offset and a small shift d: S = a T + b - a G d, G
the gradient of T (Lucas & Kanade 1981). That is linear in (a, a d), and T and G belong to the reference alone, so the
pseudo-inverse is made once (the inverse-compositional form of Baker & Matthews, IJCV 2004) and a step for a patch
costs three dot products. A rigid motion is then fitted to the shifts of all patches, robustly: a patch on a defect, a
label or a displaced component says something else, and is left out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.registration.levels import Grey, Level, grey
from flawmap.tiling.registration.pose import Pose

_RIM = 6  # px cut around a patch so that its blur is right up to its edge
_BLUR = 0.7  # native px: standard deviation of the Gaussian that slopes are taken through; shrunk levels have theirs
_FARTHEST = 3.0  # level px that one step may move a patch: beyond it the step is not linear any more
_SMALLEST_SCALE = 0.03  # level px: no patch is off by less than this for a reason
_NOTHING = 1e-30  # keeps a division by a flat patch's contrast from failing


@dataclass(frozen=True)
class PatchFit:
    """What the patches said about a pose.

    `pose`: the pose that fits them best. `step`: px (native) by which it moved the farthest corner.
    `quality`: mean correlation of the patches inside the image with it, at the pose that was tried, 0 to 1; a negative
    one counts as 0.
    """

    pose: Pose
    step: float
    quality: float


class Patches:
    """The patches of one level of the reference."""

    def __init__(self, level: Level, centres: NDArray[np.float64], side: int) -> None:
        """`centres`: [P, 2] float64, (y, x) in level px, whole; a patch is [side, side] px."""
        self._factor, self._side, self._centres = level.factor, side, centres
        offset = np.arange(side) - side // 2
        self._ys = (centres[:, 0, None, None] + offset[None, :, None]).astype(np.float32)
        self._xs = (centres[:, 1, None, None] + offset[None, None, :]).astype(np.float32)
        bell = np.exp(-(offset**2) / (2 * (side / 3) ** 2))
        weight = np.outer(bell, bell).ravel()
        self._weight = (weight / weight.sum()).astype(np.float32)
        self._solve(level)

    def _solve(self, level: Level) -> None:
        """The pseudo-inverse and the information of every patch."""
        count, size = len(self._centres), self._side**2
        self._inverse = np.empty((count, 3, size), np.float32)
        self._template = np.empty((count, size), np.float32)
        self._information = np.empty((count, 2, 2))
        for number, (y, x) in enumerate(self._centres):
            picture = _window(level.pixels, y, x, self._side)
            smooth = picture if self._factor > 1 else cv2.GaussianBlur(picture, (0, 0), _BLUR)
            gy, gx = (np.asarray(slope) for slope in np.gradient(smooth))
            inner = np.s_[_RIM:-_RIM, _RIM:-_RIM]
            columns = np.stack([picture[inner].ravel(), gy[inner].ravel(), gx[inner].ravel()]).astype(np.float64)
            columns -= columns @ self._weight[:, None]
            weighted = columns * self._weight
            normal = weighted @ columns.T
            spread = np.trace(normal) + _NOTHING
            self._inverse[number] = np.linalg.solve(normal + 1e-6 * spread * np.eye(3), weighted)
            self._template[number] = weighted[0] / np.sqrt(normal[0, 0] + _NOTHING)
            information = normal[1:, 1:]
            self._information[number] = information / (np.trace(information) + _NOTHING)

    def fit(self, level: Level, pose: Pose) -> PatchFit:
        """One step from `pose` towards the pose of the image whose `level` this is."""
        seen, inside = self._sample(level.pixels, pose)
        solved = np.einsum("pkn,pn->pk", self._inverse, seen)
        spread = np.sqrt(np.einsum("pn,n->p", seen**2, self._weight))
        alike = np.einsum("pn,pn->p", self._template, seen) / np.maximum(spread, _NOTHING)
        gain = np.where(np.abs(solved[:, 0]) > 1e-3, solved[:, 0], 1e-3)
        shifts = -solved[:, 1:] / gain[:, None]
        usable = inside & (solved[:, 0] > 1e-3) & (alike > 0.2)
        shifts = np.clip(shifts, -_FARTHEST, _FARTHEST)
        moved = pose.after(Pose(*self._rigid(shifts, usable, pose.centre), pose.height, pose.width))
        quality = float(np.maximum(alike[inside], 0).mean()) if inside.any() else 0.0
        return PatchFit(moved, pose.farthest(moved), quality)

    def _sample(self, pixels: NDArray[Any], pose: Pose) -> tuple[Grey, NDArray[np.bool_]]:
        """[P, side * side], their weighted mean taken off: what the image shows where `pose` puts the patches.

        And which of them lie inside the image.
        """
        matrix = pose.at_factor(self._factor)
        turn, shift = matrix[:, :2], matrix[:, 2]
        (a, b), (c, d) = turn.astype(np.float32)
        xs = a * self._xs + b * self._ys + np.float32(shift[0])
        ys = c * self._xs + d * self._ys + np.float32(shift[1])
        height, width = pixels.shape[:2]
        inside = (ys.min((1, 2)) >= 0) & (ys.max((1, 2)) <= height - 1)
        inside &= (xs.min((1, 2)) >= 0) & (xs.max((1, 2)) <= width - 1)
        flat = (-1, self._side)
        found = cv2.remap(
            pixels, xs.reshape(flat), ys.reshape(flat), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        seen = grey(found).reshape(len(self._centres), -1)
        return seen - (seen @ self._weight)[:, None], inside

    def _rigid(
        self, shifts: NDArray[np.float32], usable: NDArray[np.bool_], centre: tuple[float, float]
    ) -> tuple[float, float, float]:
        """The rigid motion (native px down, px right, degrees about the native `centre`) that fits the shifts best.

        Least squares, reweighted; a patch counts only along the directions that its edges can tell.
        """
        cx, cy = ((c - (self._factor - 1) / 2) / self._factor for c in centre)
        arm_y, arm_x = self._centres[:, 0] - cy, self._centres[:, 1] - cx
        reach = np.hypot(arm_y, arm_x).max() + 1e-9  # the angle is fitted as the px it moves the farthest patch
        basis = np.zeros((len(shifts), 2, 3))
        basis[:, 0, 0] = basis[:, 1, 1] = 1
        basis[:, 0, 2], basis[:, 1, 2] = -arm_x / reach, arm_y / reach
        motion = np.zeros(3)
        weight = usable.astype(np.float64)
        for turn in range(12):
            part = np.einsum("p,pij,pjk->pik", weight, self._information, basis)
            normal = np.einsum("pik,pil->kl", basis, part)
            motion = np.linalg.solve(normal + 1e-9 * np.eye(3), np.einsum("pik,pi->k", part, shifts))
            off = shifts - basis @ motion
            left = np.sqrt(np.einsum("pi,pij,pj->p", off, self._information, off))
            scale = max(_SMALLEST_SCALE, 1.4826 * float(np.median(left[usable]))) if usable.any() else 1.0
            # Least absolute values first, from wherever the start was; then Tukey's weights, which leave out.
            robust = 1 / (left + 0.1 * scale) if turn < 6 else np.maximum(0, 1 - (left / (4 * scale)) ** 2) ** 2
            weight = usable * robust
        dy, dx = motion[:2] * self._factor
        return float(dy), float(dx), float(np.degrees(motion[2] / reach))


def choose_centres(level: Level, side: int, cells: int) -> NDArray[np.float64]:
    """[P, 2] float64, (y, x) in px of `level`: the place with most structure in each of `cells` x `cells` parts.

    Structure is the smaller eigenvalue of the structure tensor (Shi & Tomasi 1994): edges in two directions. Parts
    with hardly any against the others give none.
    """
    picture = level.pixels
    height, width = picture.shape
    strength = cv2.cornerMinEigenVal(picture, side, ksize=3)
    edge = side // 2 + 1
    ys, xs = (np.linspace(edge, length - edge, cells + 1).astype(int) for length in (height, width))
    found = []
    for y0, y1 in pairwise(ys):
        for x0, x1 in pairwise(xs):
            part = strength[y0:y1, x0:x1]
            if part.size:
                y, x = np.unravel_index(int(part.argmax()), part.shape)
                found.append((float(part[y, x]), y0 + y, x0 + x))
    strengths = np.array([f[0] for f in found])
    places = np.array([f[1:] for f in found], np.float64)
    return np.asarray(places[strengths > 0.02 * np.median(strengths)])


def _window(pixels: NDArray[Any], y: float, x: float, side: int) -> Grey:
    """[side + 2 rim, side + 2 rim] float32 around (y, x), blurred; reflected beyond the picture."""
    y0, x0 = int(y) - side // 2 - _RIM, int(x) - side // 2 - _RIM
    size = side + 2 * _RIM
    top, left = max(0, -y0), max(0, -x0)
    piece = grey(pixels[max(0, y0) : y0 + size, max(0, x0) : x0 + size])
    bottom, right = size - top - piece.shape[0], size - left - piece.shape[1]
    if top or left or bottom or right:
        piece = np.asarray(cv2.copyMakeBorder(piece, top, bottom, left, right, cv2.BORDER_REFLECT_101), np.float32)
    return piece
