"""A station of several cameras: its recipe, its bundles, and a folder of pictures that all of them took."""

from pathlib import Path
from typing import Any

import yaml

from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle

RECIPE: dict[str, Any] = {
    "part": "{part}_{camera}.*",
    "models": [{"camera": "top", "bundle": "top.bundle"}, {"camera": "side*", "bundle": "side.bundle"}],
    "expected": ["top", "side1", "side2"],
}
KINDS = {"top": {"channels": 1, "dtype": "uint8"}, "side": {"channels": 3, "dtype": "uint16"}}


def make_station(folder: Path) -> None:
    """Two bundles for cameras of different kinds."""
    for name, kind in KINDS.items():
        make_bundle(folder / f"{name}.bundle", **kind)


def write_recipe(station: Path, name: str = "board.yaml", **changes: Any) -> Path:
    """RECIPE with other or further keys; None leaves one out."""
    path = station / name
    values = {key: value for key, value in (RECIPE | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8")
    return path


def add_image(folder: Path, part: str, camera: str, *, defects: int = 0, side: int = 90) -> Path:
    """As `camera` would take it; all cameras give one shape, so that their arrays could be mixed up."""
    folder.mkdir(exist_ok=True)
    kind = KINDS["top" if camera == "top" else "side"]
    path = folder / f"{part}_{camera}.png"
    plain = folder / "plain.png"
    write_image(plain, good_image(side, side, seed=sum(map(ord, part + camera)) % 1000, defects=defects, **kind))
    plain.rename(path)
    return path


def write_mixed(folder: Path) -> None:
    """A is good, B has a dot on its top, C one on a side, D lacks a side."""
    for part in "ABCD":
        for camera in ("top", "side1", "side2"):
            if (part, camera) != ("D", "side2"):
                add_image(folder, part, camera, defects=(part, camera) in (("B", "top"), ("C", "side2")))
