"""Pictures of aligned products for the registration tests: boards and repeated cells, shot in a known pose."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.transform import warp

from flawmap.sample_data.dataset import Product
from flawmap.tiling.registration.pose import Pose

Image = NDArray[Any]

MARGIN = 60  # px on every side of a scene that a picture of it does not show: what moves in from there is real


def board_scene(side: int, seed: int) -> Image:
    """[side + 2 MARGIN, ...] float64 grey levels: one board of the sample data."""
    size = side + 2 * MARGIN
    return Product("board", (size, size), seed).good(0).astype(np.float64)


def cell_scene(side: int, cell: int, seed: int, *, outline: int = 0, mark: int = 0) -> Image:
    """Equal cells of `cell` px; with an outline of `outline` px around the panel, or one mark of `mark` px on it."""
    rng = np.random.default_rng([seed, cell, outline, mark])
    size = side + 2 * MARGIN
    blocks = (rng.random((cell // 4 + 1, cell // 4 + 1)) > 0.5).repeat(4, 0).repeat(4, 1)[:cell, :cell]
    one = cv2.GaussianBlur(blocks * 120.0 + 60, (0, 0), 1)
    scene = np.tile(one, (size // cell + 1, size // cell + 1))[:size, :size]
    if outline:
        inset = MARGIN + outline
        inside = np.zeros_like(scene, bool)
        inside[inset:-inset, inset:-inset] = True
        scene = np.where(inside, scene, 40.0)
    if mark:
        y, x = rng.integers(2 * MARGIN, side - MARGIN, 2)
        scene[y : y + mark, x : x + mark] = 220
    return scene


def shot(scene: Image, pose: Pose, *, noise: float = 0.0, seed: int = 0) -> Image:
    """`scene` [H + 2 MARGIN, W + 2 MARGIN] as a picture [H, W] float64 shows it in `pose`, by scikit-image's warp.

    Where a pixel comes from is worked out with complex numbers: a turn is a product, y points down.
    """
    y, x = np.indices((pose.height, pose.width)).astype(float)
    centre = complex((pose.width - 1) / 2, (pose.height - 1) / 2)
    there = x + 1j * y - centre - complex(pose.dx, pose.dy)
    source = there * np.exp(1j * np.radians(pose.angle)) + centre
    picture = warp(scene, np.stack([source.imag, source.real]) + MARGIN, order=3, preserve_range=True)
    return np.asarray(picture + np.random.default_rng(seed).normal(0, noise, picture.shape))


def as_dtype(picture: Image, kind: str) -> Image:
    """Grey levels 0 to 255 as a camera of `kind` ("uint8", "uint16", "float32" or "rgb") would write them."""
    if kind == "uint16":
        return np.clip(picture * 16, 0, 65535).astype(np.uint16)
    if kind == "float32":
        return (picture / 255).astype(np.float32)
    grey = np.clip(picture, 0, 255).astype(np.uint8)
    return np.dstack([grey // 2, grey, 255 - grey // 3]) if kind == "rgb" else grey
