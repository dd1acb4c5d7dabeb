"""What the operator gets to see of suspicious good images."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from flawmap.training.good_images import GoodImages
from flawmap.training.hard_places import Peak
from flawmap.training.suspicious import AROUND, PICTURE, TABLE, _crop, write_suspicious
from flawmap.training.tile_batches import HardPlace
from tests.products import draw_good

BORDER = 16
HOSTILE = "wörk $\\frac$ \udcff.png"  # no UTF-8, and no formula either


def images(channels: int = 1) -> GoodImages:
    padded = [draw_good(300, 260, channels=channels, seed=seed) for seed in range(2)]
    return GoodImages([Path("a.png"), Path(HOSTILE)], list(padded), BORDER, 0, [p.shape[:2] for p in padded])


@pytest.mark.parametrize("channels", [1, 3])
def test_places_stand_in_px_of_the_image_the_worst_first(tmp_path: Path, channels: int) -> None:
    peaks = [Peak(1.5, HardPlace(0, 100, 40)), Peak(7.25, HardPlace(1, BORDER, 250)), Peak(2.0, HardPlace(0, 5, 5))]
    write_suspicious(tmp_path, peaks, images(channels))
    with (tmp_path / TABLE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["image"], r["x"], r["y"], float(r["logit"])) for r in rows] == [
        (HOSTILE, str(250 - BORDER), "0", 7.25),
        ("a.png", str(5 - BORDER), str(5 - BORDER), 2.0),
        ("a.png", str(40 - BORDER), str(100 - BORDER), 1.5),
    ]
    picture = cv2.imdecode(np.fromfile(tmp_path / PICTURE, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.std() > 10


def test_a_place_found_twice_is_shown_once(tmp_path: Path) -> None:
    peaks = [Peak(3.0, HardPlace(0, 100, 100)), Peak(4.0, HardPlace(0, 100 + AROUND - 1, 100))]
    write_suspicious(tmp_path, peaks, images())
    assert len((tmp_path / TABLE).read_text().splitlines()) == 2


@pytest.mark.parametrize(("y", "x"), [(0, 0), (150, 10), (299, 259)])
def test_what_lies_beyond_the_border_is_not_shown(y: int, x: int) -> None:
    """Everything but the picture is black: not to be seen."""
    padded = np.zeros((300, 260), np.uint8)
    padded[BORDER:-BORDER, BORDER:-BORDER] = np.random.default_rng(0).integers(100, 200, (268, 228))
    crop = _crop(padded, BORDER, y, x)
    assert min(crop.shape) >= 1 and max(crop.shape) <= 2 * AROUND
    assert len(np.unique(crop)) > 50 and np.count_nonzero(crop == 0) < 0.05 * crop.size


def test_nothing_suspicious_leaves_no_file_of_an_earlier_training(tmp_path: Path) -> None:
    write_suspicious(tmp_path, [Peak(3.0, HardPlace(0, 100, 100))], images())
    write_suspicious(tmp_path, [], images())
    assert list(tmp_path.iterdir()) == []
