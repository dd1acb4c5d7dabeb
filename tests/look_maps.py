"""Looks, part descriptions and LabelMe files for the tests on where to look."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st
from numpy.typing import NDArray

Corners = list[tuple[float, float]]


def box(x0: float, y0: float, x1: float, y1: float) -> Corners:
    """Corners of a polygon that holds the pixels [y0, y1) x [x0, x1), and no others: a little inside their edges."""
    a = 0.25
    return [(x0 + a, y0 + a), (x1 - a, y0 + a), (x1 - a, y1 - a), (x0 + a, y1 - a)]


def write_labelme(
    path: Path, height: int, width: int, shapes: list[tuple[str, Any]], *, picture: str = "", kind: str = "polygon"
) -> Path:
    """As LabelMe 5 writes it: `shapes` are (label, points)."""
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {},
             "mask": None}
            for label, points in shapes
        ],
        "imagePath": picture,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_part(path: Path, **where: Any) -> Path:
    """A part description that says `where` to look, and nothing else."""
    path.write_text(yaml.safe_dump({"where": where}), encoding="utf-8")
    return path


@st.composite
def looks(draw: st.DrawFn, height: int, width: int) -> NDArray[np.uint8]:
    """A few boxes of a picture count, some of them as zones; something always does."""
    look = np.full((height, width), draw(st.sampled_from([0, 0, 1])), np.uint8)
    for _ in range(draw(st.integers(1, 4))):
        y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        y1, x1 = draw(st.integers(y0 + 1, height)), draw(st.integers(x0 + 1, width))
        look[y0:y1, x0:x1] = draw(st.sampled_from([0, 1, 1, 2, 3]))
    if not look.any():
        look[draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))] = 1
    return look
