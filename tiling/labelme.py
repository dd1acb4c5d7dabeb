"""Polygons that people draw on a picture with LabelMe (https://github.com/wkentaro/labelme): its JSON files.

Coordinates are px from the picture's upper left corner, so that the middle of the first pixel is (0.5, 0.5).
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import UsageError

KINDS = ("polygon", "rectangle", "circle")
FEWEST_POINTS = {"polygon": 3, "rectangle": 2, "circle": 2}
CIRCLE_CORNERS = 128


@dataclass(frozen=True)
class Shape:
    """`label` says what it is for; `corners` are (x, y), float64 [n, 2]."""

    label: str
    corners: NDArray[np.float64]

    def fill(self, picture: NDArray[np.uint8], value: int) -> None:
        """Sets the pixels of `picture` [H, W] whose middle lies within the shape.

        A middle is inside where an odd number of edges lies to its left; OpenCV's fillPoly was up to 1.1 px off.
        """
        height, width = picture.shape
        edges_left_of = np.zeros((height, width + 1), np.bool_)  # whether an odd number begins to be there
        for (x0, y0), (x1, y1) in pairwise([*self.corners, self.corners[0]]):
            low, high = min(y0, y1), max(y0, y1)
            rows = np.arange(max(0, math.ceil(low - 0.5)), min(height, math.ceil(high - 0.5)))
            if len(rows):
                crossing = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                edges_left_of[rows, np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)] ^= True
        picture[np.logical_xor.accumulate(edges_left_of, axis=1)[:, :-1]] = value


@dataclass(frozen=True)
class Drawing:
    """What one LabelMe file holds, of a picture of `height` x `width` px; `picture` is that file, where it is there."""

    height: int
    width: int
    shapes: list[Shape]
    picture: Path | None


def read_labelme(path: Path) -> Drawing:
    """Reads the polygons, rectangles and circles in the LabelMe file `path`.

    UsageError names the file, the shape and what is wrong with it: no file, no LabelMe JSON, a shape without a label,
    of another kind, with too few corners or outside the picture.
    """
    content = _load(path)
    height, width, shapes = (content.get(key) for key in ("imageHeight", "imageWidth", "shapes"))
    if not isinstance(shapes, list) or not (isinstance(height, int) and isinstance(width, int)) or height * width <= 0:
        raise UsageError(f"{path} is not a LabelMe file: it needs `shapes`, `imageHeight` and `imageWidth`")
    picture = content.get("imagePath")
    # LabelMe writes the path as its own system does.
    found = path.parent / picture.replace("\\", "/") if isinstance(picture, str) and picture else None
    return Drawing(
        height=height,
        width=width,
        shapes=[_shape(f"{path}: shape {number}", one, height, width) for number, one in enumerate(shapes, start=1)],
        picture=found if found is not None and found.is_file() else None,
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a LabelMe file: it holds a {type(content).__name__}")
    return content


def _shape(name: str, content: Any, height: int, width: int) -> Shape:
    if not isinstance(content, dict):
        raise UsageError(f"{name} is not a shape of LabelMe")
    label = content.get("label")
    if not isinstance(label, str) or not label.strip():
        raise UsageError(f"{name} has no label: give it `include`, `exclude` or the name of a zone")
    label = label.strip()
    name = f"{name} (`{label}`)"
    kind = content.get("shape_type", "polygon")
    if kind not in KINDS:
        raise UsageError(f"{name} is a {kind}: it must be a {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    points = _points(name, content.get("points"))
    if len(points) < FEWEST_POINTS[kind]:
        raise UsageError(f"{name}, a {kind}, has {len(points)} points: it needs {FEWEST_POINTS[kind]} at least")
    corners = _corners(kind, points)
    if kind != "circle":  # of which a part may lie outside, as long as it was begun inside
        points = corners
    for x, y in points.tolist():
        if not (0 <= x <= width and 0 <= y <= height):
            raise UsageError(f"{name} has a point (x={x:g}, y={y:g}) outside the picture of {width}x{height} px")
    return Shape(label, corners)


def _points(name: str, points: Any) -> NDArray[np.float64]:
    try:
        found = np.array(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must have `points` [x, y]") from None
    if not np.isfinite(found).all():
        raise UsageError(f"{name} has a point that is no number")
    return found


def _corners(kind: str, points: NDArray[np.float64]) -> NDArray[np.float64]:
    if kind == "rectangle" and len(points) == 2:  # two corners across from each other
        (x0, y0), (x1, y1) = points
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    if kind == "circle":  # its middle and a point on its rim
        radius = math.dist(points[0], points[1])
        angle = np.arange(CIRCLE_CORNERS) * 2 * np.pi / CIRCLE_CORNERS
        return np.asarray(points[0] + radius * np.column_stack([np.cos(angle), np.sin(angle)]))
    return points
