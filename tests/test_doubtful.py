"""Pictures that may not be good: found by what the others do not show, left out where they are odd, shown to people."""

import csv
import logging
import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.images import write_image
from flawmap.tiling.look_map import LookMap
from flawmap.training import checkpoint as checkpoints
from flawmap.training.camera import Camera
from flawmap.training.config import SplitSettings
from flawmap.training.counted import Counted
from flawmap.training.doubtful import (
    CELL,
    FEWEST_PICTURES,
    OVERLAP,
    WINDOW,
    Cells,
    Doubtful,
    choose,
    find_doubtful,
    windows,
)
from flawmap.training.fit import train
from flawmap.training.good_images import GoodImages, Normalisation
from flawmap.training.hard_places import Peak
from flawmap.training.learner import Learner
from flawmap.training.split import split_images
from flawmap.training.tile_batches import HardPlace, TileDrawer
from tests.products import draw_good, good_images, silent, tiny_config, untrained_model

REPAIR = tiny_config()
FOREVER = math.inf


def cells_of(n_pictures: int, seed: int, n_windows: int = 2) -> list[Cells]:
    """Evidence of two kinds that falls off as exponentials of other means, 30 cells a window."""
    rng = np.random.default_rng(seed)
    y, x = np.divmod(np.arange(30), 6)
    return [
        Cells(
            image, np.stack([rng.exponential(2, 30) - 7, rng.exponential(0.1, 30)]).astype(np.float32), y * 32, x * 32
        )
        for _ in range(n_windows)
        for image in range(n_pictures)
    ]


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), n_pictures=st.integers(FEWEST_PICTURES, 60), data=st.data())
def test_what_stands_out_in_either_kind_is_doubtful(seed: int, n_pictures: int, data: st.DataObject) -> None:
    images, seen = good_images(n_pictures, side=16, border=0, tile_size=16), cells_of(n_pictures, seed)
    bad = data.draw(st.lists(st.integers(0, n_pictures - 1), min_size=1, max_size=n_pictures // 5, unique=True))
    where = {}
    for i in bad:
        kind, cell = data.draw(st.integers(0, 1)), data.draw(st.integers(0, 29))
        where[i] = cell
        seen[i].evidence[kind, cell] += (300, 15)[kind]
    doubtful = choose(images, seen, len(bad))
    assert sorted(peak.place.image for peak in doubtful.peaks) == sorted(bad)
    assert [p.logit for p in doubtful.peaks] == sorted((p.logit for p in doubtful.peaks), reverse=True)
    for peak in doubtful.peaks:
        assert divmod(where[peak.place.image], 6) == (peak.place.y // 32, peak.place.x // 32)
        assert peak.place in doubtful.places
    assert {place.image for place in doubtful.places} == set(bad)


@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100), offset=st.floats(-50, 50))
def test_the_units_of_evidence_do_not_matter(seed: int, factor: float, offset: float) -> None:
    images, seen = good_images(20, side=16, border=0, tile_size=16), cells_of(20, seed)
    before = choose(images, seen, 3)
    other = [
        Cells(c.image, c.evidence * np.float32([[factor], [1]]) + np.float32([[0], [offset]]), c.y, c.x) for c in seen
    ]
    assert [p.place for p in choose(images, other, 3).peaks] == [p.place for p in before.peaks]


def test_pictures_that_are_all_alike_are_not_doubtful() -> None:
    seen = [Cells(i, np.zeros((2, 4), np.float32), np.arange(4), np.arange(4)) for i in range(20)]
    doubtful = choose(good_images(20, side=16, border=0, tile_size=16), seen, 2)
    assert (doubtful.peaks, doubtful.places) == ([], [])


def scratched(count: int, bad: dict[int, tuple[int, int]], side: int = 96) -> GoodImages:
    """Good images, `bad` ones of them with a black bar of 24x5 px at (y, x) of the padded image."""
    images = good_images(count, side=side)
    for index, (y, x) in bad.items():
        images.padded[index][y : y + 5, x : x + 24] = 0
    return images


@pytest.mark.parametrize("n_pictures", [20, 31])
def test_a_scratch_is_left_out_all_along(n_pictures: int) -> None:
    """The residual of a network that learned nothing is the image itself: nothing else is as dark."""
    images = scratched(n_pictures, {4: (60, 40), 11: (20, 80)})
    doubtful = find_doubtful(untrained_model(REPAIR), images, 2 / n_pictures, (1,), FOREVER)
    assert {peak.place.image for peak in doubtful.peaks} == {4, 11}
    of_4 = [place for place in doubtful.places if place.image == 4]
    for x in range(40, 64):
        assert any(abs(place.x - x) <= CELL // 2 and abs(place.y - 62) <= CELL // 2 for place in of_4)


@pytest.mark.parametrize(("n_pictures", "share"), [(FEWEST_PICTURES - 1, 0.5), (20, 0.0)])
def test_of_few_pictures_and_of_no_share_none_is_doubtful(n_pictures: int, share: float) -> None:
    doubtful = find_doubtful(untrained_model(REPAIR), scratched(n_pictures, {4: (60, 40)}), share, (1,), FOREVER)
    assert doubtful.places == []


def test_out_of_time_every_picture_was_looked_at_once() -> None:
    images = scratched(12, {7: (60, 40)})
    assert find_doubtful(untrained_model(REPAIR), images, 0.1, (1,), 0.0).peaks[0].place.image == 7


def test_what_does_not_count_is_not_doubtful() -> None:
    """The lower half alone: the scratch above it is nobody's concern."""
    images = scratched(12, {7: (24, 40), 9: (90, 40)})
    drawn = np.ones((96, 96), np.uint8)
    drawn[:48] = 0
    sizes = [image.shape[:2] for image in images.padded]
    counted = Counted(images.sizes, sizes, images.border, images.padding, look_map=LookMap(drawn))
    doubtful = find_doubtful(untrained_model(REPAIR), replace(images, counted=counted), 0.1, (1,), FOREVER)
    assert [peak.place.image for peak in doubtful.peaks] == [9]


@given(n=st.integers(8, 9000), stride=st.sampled_from([4, 8]))
def test_windows_cover_a_side_with_room_for_their_edges(n: int, stride: int) -> None:
    found = windows(n, stride)
    assert found[0][0] == 0 and found[-1][0] + found[-1][1] == n - n % stride
    assert all(start % stride == 0 and length <= WINDOW for start, length in found)
    for (a, length), (b, _) in pairwise(found):
        assert a < b <= a + length - OVERLAP + stride


def test_a_training_doubts_the_scratch_and_shows_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From files to doubtful.csv."""
    folder = tmp_path / "good"
    folder.mkdir()
    paths = [folder / f"{i:03}.png" for i in range(20)]
    bad = split_images(paths, SplitSettings(), 0).train[3]
    for i, path in enumerate(paths):
        image = draw_good(96, 96, seed=i)
        if path == bad:
            image[40:45, 30:60] = 0
        write_image(path, image)
    with caplog.at_level(logging.INFO, logger="flawmap"):
        checkpoint = train(paths, tiny_config(), tmp_path / "work", device="cpu", report=silent)
    with (tmp_path / "work" / "doubtful.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["image"] == bad.name
    assert 30 - CELL <= int(row["x"]) <= 60 + CELL and abs(int(row["y"]) - 42) <= CELL
    assert (tmp_path / "work" / "doubtful.png").is_file()
    assert checkpoints.load(checkpoint).provenance["doubtful_images"] == 1
    assert re.search(
        r"of 1 of 12 good images the oddest places were not shown again as hard ones.*doubtful\.png shows", caplog.text
    )


def test_a_training_that_goes_on_has_forgotten_nothing(tmp_path: Path) -> None:
    def learner() -> Learner:
        model, images = untrained_model(REPAIR), good_images(12)
        normalisation = Normalisation((0.0,), (1.0,))
        drawer = TileDrawer(images, normalisation, Camera.measure(images, normalisation), REPAIR)
        return Learner(model, REPAIR, drawer, tmp_path / "resume.ckpt", silent)

    killed, resumed, state = learner(), learner(), dict[str, Any]()
    killed.suspicious = [Peak(3.5, HardPlace(2, 10, 20))]
    killed.doubtful = Doubtful([Peak(9.5, HardPlace(1, 30, 40))], [HardPlace(1, 30, 40), HardPlace(1, 60, 70)])
    killed.on_save_checkpoint(state)
    torch.save(state, tmp_path / "state")
    resumed.on_load_checkpoint(torch.load(tmp_path / "state", weights_only=True))
    assert (resumed.doubtful, resumed.suspicious) == (killed.doubtful, killed.suspicious)
    assert {k: v.tolist() for k, v in resumed.drawer.left_out.items()} == {2: [[10, 20]]}
    assert {k: v.tolist() for k, v in resumed.drawer.not_sought.items()} == {1: [[30, 40], [60, 70]]}
