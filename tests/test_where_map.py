"""From a part description to the pixels that count."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.export.part_record import read_part
from flawmap.export.where_map import draw_where
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from flawmap.tiling.look_map import EVERYWHERE, WhereToLook
from tests.look_maps import box, write_labelme, write_part

HEIGHT, WIDTH = 50, 70


def drawn(folder: Path, shapes: list[tuple[str, Any]] | None, **where: Any) -> WhereToLook:
    if shapes is not None:
        write_labelme(folder / "regions.json", HEIGHT, WIDTH, shapes)
        where["polygons"] = "regions.json"
    return draw_where(read_part(write_part(folder / "part.yaml", **where)).where, folder)


def pixels(where: WhereToLook) -> np.ndarray:
    assert where.look_map is not None
    return where.look_map.pixels


def test_nothing_said_is_everywhere(tmp_path: Path) -> None:
    assert drawn(tmp_path, None) == EVERYWHERE
    assert drawn(tmp_path, None, background="plain") == WhereToLook(plain_background=True)


def test_include_exclude_and_zones(tmp_path: Path) -> None:
    """What is not included does not count, zones do, the last zone and `exclude` win; in any order."""
    shapes = [
        ("exclude", box(20, 20, 30, 30)),
        ("rough", box(40, 5, 60, 25)),
        ("face", box(50, 5, 65, 25)),
        ("include", box(10, 10, 35, 40)),
    ]
    found = pixels(drawn(tmp_path, shapes, zones=[{"name": "rough"}, {"name": "face", "false_alarms": 0.01}]))
    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[10:40, 10:35] = 1
    expected[5:25, 40:60] = 2
    expected[5:25, 50:65] = 3
    expected[20:30, 20:30] = 0
    np.testing.assert_array_equal(found, expected)


def test_without_include_everything_else_counts(tmp_path: Path) -> None:
    found = pixels(
        drawn(tmp_path, [("exclude", box(0, 0, 70, 10)), ("face", box(5, 20, 9, 30))], zones=[{"name": "face"}])
    )
    assert (found[:10] == 0).all() and (found[20:30, 5:9] == 2).all()
    assert (found == 1).sum() == HEIGHT * WIDTH - 700 - 40


@pytest.mark.parametrize("kind", ["mono", "RGB", "16 bit"])
def test_a_mask_image(tmp_path: Path, kind: str) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint16 if kind == "16 bit" else np.uint8)
    mask[10:20, 30:50] = 255
    mask[15, 35] = 1
    write_image(tmp_path / "mask.png", np.dstack([mask, mask * 0, mask * 0]) if kind == "RGB" else mask)
    np.testing.assert_array_equal(pixels(drawn(tmp_path, None, mask="mask.png")), (mask > 0).astype(np.uint8))


def test_mask_and_polygons_must_both_allow_it(tmp_path: Path) -> None:
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, 25:] = 0
    write_image(tmp_path / "mask.png", mask)
    found = pixels(drawn(tmp_path, [("include", box(10, 10, 40, 20))], mask="mask.png"))
    assert (found[10:20, 10:25] == 1).all() and found.sum() == 150


def test_the_picture_that_was_drawn_on(tmp_path: Path) -> None:
    (tmp_path / "3.png").write_bytes(b"")
    write_labelme(tmp_path / "a.json", HEIGHT, WIDTH, [("include", box(1, 1, 5, 5))], picture="3.png")
    where = draw_where(read_part(write_part(tmp_path / "p.yaml", polygons="a.json")).where, tmp_path)
    assert where.drawn_on == tmp_path / "3.png"


BOX = box(5, 5, 20, 20)


@pytest.mark.parametrize(
    ("shapes", "where", "message"),
    [
        ([("includ", BOX)], {}, r"`where.polygons` \(=regions.json\): shape 1 has the label `includ`, which is neither "
         "`include` nor `exclude` nor the name of a zone in `where.zones`: did you mean `include`"),
        ([("include", BOX)], {"zones": [{"name": "face"}]},
         r"zone `face` is drawn nowhere: `where.polygons` \(=regions.json\) has no shape with that label"),
        ([("face", BOX), ("exclude", box(0, 0, 60, 40))], {"zones": [{"name": "face"}]},
         "zone `face` has no pixel left"),
        ([("a", BOX), ("b", BOX)], {"zones": [{"name": "a"}, {"name": "b"}]}, "zone `a` has no pixel left"),
        ([("exclude", box(0, 0, 70, 50))], {}, r"`where.polygons` \(=regions.json\) leaves nothing to look at"),
        ([], {}, r"`where.polygons` \(=regions.json\) holds no shape: draw one, or leave the key out"),
        (None, {"polygons": "none.json"}, r"none.json cannot be read: No such file"),
        (None, {"mask": "none.png"}, r"`where.mask` \(=.*none.png\) cannot be read: no such file"),
        (None, {"mask": "mask.jpg"},
         r"`where.mask` \(=.*mask.jpg\) must be PNG, BMP or TIFF: JPEG does not keep an exact 0"),
        (None, {"mask": "black.png"}, r"`where.mask` \(=black.png\) leaves nothing to look at"),
        ([("include", BOX)], {"mask": "small.png"}, r"`where.mask` \(=small.png\) is 20x10 px, the picture of "
         r"`where.polygons` \(=regions.json\) 70x50 px: they must be drawn on the same picture"),
        ([("include", BOX)], {"mask": "black.png"},
         r"`where.polygons` \(=regions.json\) and `where.mask` \(=black.png\) leave nothing to look at"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_said(tmp_path: Path, shapes: Any, where: dict[str, Any], message: str) -> None:
    write_image(tmp_path / "black.png", np.zeros((HEIGHT, WIDTH), np.uint8))
    write_image(tmp_path / "small.png", np.ones((10, 20), np.uint8))
    write_image(tmp_path / "mask.jpg", np.ones((HEIGHT, WIDTH), np.uint8))
    with pytest.raises(UsageError, match=message):
        drawn(tmp_path, shapes, **where)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"polygon": "a.json"}, "unknown setting `where.polygon`: did you mean `where.polygons`"),
        ({"polygons": "a.json", "zones": [{"false_alarms": 0.1}]}, "`where.zones.0.name` is missing"),
        ({"polygons": "a.json", "zones": [{"name": " "}]}, r"`where.zones.0.name` \(= \): must not be empty"),
        ({"polygons": "a.json", "zones": [{"name": "exclude"}]}, r"`where.zones.0.name` \(=exclude\): must be another"),
        ({"polygons": "a.json", "zones": [{"name": "a"}, {"name": "a "}]}, "`where.zones` holds `a` 2 times"),
        ({"polygons": "a.json", "zones": [{"name": "a", "false_alarms": 0}]}, r"`where.zones.0.false_alarms` \(=0\)"),
        ({"polygons": "a.json", "zones": [{"name": "a", "rate": 1}]}, "unknown setting `where.zones.0.rate`"),
        ({"mask": "a.png", "zones": [{"name": "a"}]}, r"`where.zones` \(=a\) needs `where.polygons`"),
        ({"background": "dark"}, r"`where.background` \(=dark\)"),
        ({"mask": ""}, r"`where.mask` \(=\)"),
    ],
)
def test_a_wrong_description_is_said(tmp_path: Path, where: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_part(write_part(tmp_path / "part.yaml", **where))
