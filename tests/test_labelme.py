"""LabelMe files: shapes become the pixels they were drawn around, and what is wrong with a file is said."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from flawmap.tiling.errors import UsageError
from flawmap.tiling.labelme import Shape, read_labelme
from tests.look_maps import box, write_labelme

HEIGHT, WIDTH = 40, 60
points = st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT))


@settings(max_examples=60)
@given(corners=st.lists(points, min_size=3, max_size=7))
def test_a_polygon_is_filled(corners: list[tuple[float, float]]) -> None:
    """Parity of the edges to the left of a pixel's middle, and matplotlib for triangles."""
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    Shape("any", np.array(corners)).fill(picture, 7)
    y, x = np.indices(picture.shape) + 0.5
    centres = np.column_stack([x.ravel(), y.ravel()])
    ring = np.array([*corners, corners[0]])
    inside, near = np.zeros(len(centres), bool), np.zeros(len(centres), bool)
    for (x0, y0), (x1, y1) in itertools.pairwise(ring):
        crosses = (y0 > centres[:, 1]) != (y1 > centres[:, 1])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            beside = centres[:, 0] - ((x1 - x0) * (centres[:, 1] - y0) / (y1 - y0) + x0)
        inside ^= crosses & (beside > 0)
        near |= crosses & (np.abs(beside) < 1e-6)
    near |= (np.abs(ring[:, 1] - centres[:, 1:]) < 1e-6).any(axis=1)
    filled = picture.ravel() == 7
    np.testing.assert_array_equal(filled[~near], inside[~near])
    if len(corners) == 3:  # where parity and winding number are the same
        outline = Outline(ring, closed=True)
        sure = outline.contains_points(centres, radius=1e-3) == outline.contains_points(centres, radius=-1e-3)
        np.testing.assert_array_equal(filled[sure & ~near], outline.contains_points(centres)[sure & ~near])


@given(x0=st.integers(0, 50), y0=st.integers(0, 30), width=st.integers(1, 10), height=st.integers(1, 10))
def test_a_box_is_its_pixels(x0: int, y0: int, width: int, height: int) -> None:
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    Shape("box", np.array(box(x0, y0, x0 + width, y0 + height))).fill(picture, 1)
    expected = np.zeros_like(picture)
    expected[y0 : y0 + height, x0 : x0 + width] = 1
    np.testing.assert_array_equal(picture, expected)


def test_rectangles_and_circles(tmp_path: Path) -> None:
    path = write_labelme(tmp_path / "a.json", HEIGHT, WIDTH, [("r", [[30.5, 20.5], [10.5, 5.5]])], kind="rectangle")
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    (shape,) = read_labelme(path).shapes
    shape.fill(picture, 1)
    assert picture[6:20, 11:30].all() and picture.sum() == 15 * 20
    path = write_labelme(tmp_path / "b.json", HEIGHT, WIDTH, [("c", [[30, 20], [30, 8]])], kind="circle")
    picture = np.zeros((HEIGHT, WIDTH), np.uint8)
    read_labelme(path).shapes[0].fill(picture, 1)
    y, x = np.indices(picture.shape) + 0.5
    distance = np.hypot(x - 30, y - 20)
    assert picture[distance < 11.9].all() and not picture[distance > 12].any()


def test_the_picture_is_found_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "1.png").write_bytes(b"")
    shapes = [("include", box(1, 1, 5, 5))]
    found = read_labelme(write_labelme(tmp_path / "a.json", 9, 9, shapes, picture="good\\1.png"))
    assert found.picture == tmp_path / "good" / "1.png" and (found.height, found.width) == (9, 9)
    assert read_labelme(write_labelme(tmp_path / "a.json", 9, 9, shapes, picture="gone.png")).picture is None


SHAPE = {"label": "include", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": [[1, 1], [61, 1], [5, 5]]},
         r"shape 1 \(`include`\) has a point \(x=61, y=1\) outside the picture of 60x40 px"),
        ({"points": [[1, -0.5], [6, 1], [5, 5]]},
         r"shape 1 \(`include`\) has a point \(x=1, y=-0.5\) outside the picture"),
        ({"label": "  "}, "shape 1 has no label: give it `include`, `exclude` or the name of a zone"),
        ({"label": None}, "shape 1 has no label"),
        ({"shape_type": "point"}, r"shape 1 \(`include`\) is a point: it must be a polygon, rectangle or circle"),
        ({"points": [[1, 1], [2, 2]]}, r"shape 1 \(`include`\), a polygon, has 2 points: it needs 3 at least"),
        ({"points": [[1, 1], [2, 2, 3]]}, r"shape 1 \(`include`\) must have `points` \[x, y\]"),
        ({"points": None}, r"shape 1 \(`include`\) must have `points`|has a point that is no number"),
        ({"points": [[1, 1], [float("nan"), 2], [3, 3]]}, r"shape 1 \(`include`\) has a point that is no number"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    content = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": [SHAPE | changes]}
    path = tmp_path / "regions.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=message) as error:
        read_labelme(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "is not a LabelMe file: it holds a list"),
        ('{"shapes": []}', "is not a LabelMe file: it needs `shapes`, `imageHeight` and `imageWidth`"),
        ('{"shapes": [], "imageHeight": 0, "imageWidth": 4}', "is not a LabelMe file"),
        ('{"shapes": [3], "imageHeight": 4, "imageWidth": 4}', "shape 1 is not a shape of LabelMe"),
    ],
)
def test_what_is_no_labelme_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        read_labelme(tmp_path / "a.json")
    with pytest.raises(UsageError, match=r"b.json cannot be read: No such file"):
        read_labelme(tmp_path / "b.json")
