"""Writes a product's images in the MVTec AD layout, with masks and a truth file."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.board import Board
from flawmap.sample_data.camera import photograph
from flawmap.sample_data.cloth import Cloth
from flawmap.sample_data.defects import SHAPES
from flawmap.sample_data.metal import Metal
from flawmap.sample_data.part import Surface
from flawmap.sample_data.placing import Defect, place_defects
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from flawmap.tiling.whole_file import write_text

SURFACES: dict[str, Callable[[int, int, np.random.Generator], Surface]] = {
    "metal": Metal,
    "cloth": Cloth,
    "board": Board,
}
SMALLEST_SIDE = 256
"""Shortest side in px of an image: below it a stain or a connector has no room."""

# First words of every random seed, so that no two things drawn share their numbers. Images count up after them.
_PRODUCT, _TRAIN_GOOD, _TEST_GOOD, _TEST_DEFECT, _KINDS = range(5)
_SCENE, _DEFECTS, _CAMERA = range(3)


class Product:
    """A product whose images can be drawn one by one, in any order.

    Raises UsageError for an unknown surface, an image under 256 px and a negative seed.
    """

    def __init__(self, surface: str, size: tuple[int, int] = (5120, 5120), seed: int = 0) -> None:
        if surface not in SURFACES:
            raise UsageError(f"`surface` (={surface}) must be one of {', '.join(SURFACES)}")
        if min(size) < SMALLEST_SIDE:
            raise UsageError(f"`size` (={size[0]}x{size[1]}) must be at least {SMALLEST_SIDE} px on each side")
        if seed < 0:
            raise UsageError(f"`seed` (={seed}) must not be negative")
        self.seed, self.height, self.width = seed, *size
        self._surface = SURFACES[surface](self.height, self.width, np.random.default_rng([seed, _PRODUCT]))

    def good(self, index: int, *, train: bool = False, dtype: type[np.generic] = np.uint8) -> NDArray[Any]:
        """Good image `index`, [H, W] of `dtype` (uint8 or uint16)."""
        split = _TRAIN_GOOD if train else _TEST_GOOD
        part = self._surface.part(self._rng(split, index, _SCENE))
        return photograph(part.scene, self._rng(split, index, _CAMERA), dtype)

    def defective(
        self, index: int, *, defects: bool = True, dtype: type[np.generic] = np.uint8
    ) -> tuple[NDArray[Any], NDArray[np.uint8], list[Defect]]:
        """Defective image `index` [H, W], its mask (0 or 255) and its defects.

        `defects=False` gives the same part under the same light and noise, before it was damaged.
        """
        part = self._surface.part(self._rng(_TEST_DEFECT, index, _SCENE))
        rng = self._rng(_TEST_DEFECT, index, _DEFECTS)
        large = min(self.height, self.width) >= 2048
        fewest, most = (6, 10) if large else (2, 3)
        count = int(rng.integers(fewest, most + 1)) if defects else 0
        spacing = min(150, min(self.height, self.width) // 8)
        found, mask = place_defects(part, self._kinds(part.structures, index, fewest, count), spacing, rng)
        return photograph(part.scene, self._rng(_TEST_DEFECT, index, _CAMERA), dtype), mask, found

    def _kinds(self, structures: tuple[str, ...], index: int, fewest: int, count: int) -> list[str]:
        """A dot first, since nothing is easier to lose; then the other kinds in turn, from image to image."""
        others = [*SHAPES[1:], *structures]
        order = np.random.default_rng([self.seed, _KINDS]).permutation(len(others))
        first = index * (fewest - 1)
        turns = [others[order[(first + k) % len(others)]] for k in range(count - 1)]
        return ["dot", *turns] if count else []

    def _rng(self, split: int, index: int, stage: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, split, index, stage])


def write_dataset(
    out: Path,
    *,
    surface: str,
    size: tuple[int, int] = (5120, 5120),
    train_good: int = 10,
    test_good: int = 3,
    test_defect: int = 5,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Writes one product into the folder `out`; `size` is (height, width) in px.

    `report(done, total)` is called after each image. truth.json lists, for every test image by its path, its defects:
    kind, box (y0, x0, y1, x1; half-open), area_px, grade and contrast in standard deviations of the local texture.
    The same arguments give the same bytes, and an image does not depend on how many are asked for.
    Raises UsageError for arguments that `Product` refuses and for a negative count.
    """
    counts = {"train_good": train_good, "test_good": test_good, "test_defect": test_defect}
    for name, count in counts.items():
        if count < 0:
            raise UsageError(f"`{name}` (={count}) must not be negative")
    product = Product(surface, size, seed)
    total, done = sum(counts.values()), 0
    truth: dict[str, list[dict[str, Any]]] = {}
    for split, count in (("train", train_good), ("test", test_good)):
        for i in range(count):
            path = Path(split, "good", f"{i:03d}.png")
            _write(out / path, product.good(i, train=split == "train"))
            if split == "test":
                truth[path.as_posix()] = []
            done += 1
            if report:
                report(done, total)
    for i in range(test_defect):
        path = Path("test", "defect", f"{i:03d}.png")
        image, mask, defects = product.defective(i)
        _write(out / path, image)
        _write(out / "ground_truth" / "defect" / f"{i:03d}_mask.png", mask)
        truth[path.as_posix()] = [asdict(defect) for defect in defects]
        done += 1
        if report:
            report(done, total)
    settings = {"surface": surface, "height": size[0], "width": size[1], "seed": seed}
    write_text(out / "truth.json", json.dumps({**settings, "images": truth}, indent=1) + "\n")


def _write(path: Path, image: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)
