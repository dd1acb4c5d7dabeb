"""Training draws its tiles where pixels count, and measures nothing elsewhere."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from flawmap.tiling.look_map import LookMap, WhereToLook
from flawmap.tiling.padding import Padding
from flawmap.training.camera import Camera
from flawmap.training.checkpoint import load
from flawmap.training.classical.good_squares import good_squares
from flawmap.training.config import ImageSettings
from flawmap.training.counted import Counted
from flawmap.training.counting import count
from flawmap.training.fit import _identity, train
from flawmap.training.good_images import GoodImages, Normalisation, measure_normalisation
from flawmap.training.hard_places import find_peaks
from flawmap.training.scoring import RawTile, evidence_of_tiles, raw_tile
from flawmap.training.standardisation import Standardisation, block_peaks
from flawmap.training.tile_batches import TileDrawer
from tests.look_maps import looks
from tests.naive_tiling import NUMPY_MODES
from tests.products import draw_good, good_images, silent, tiny_config, untrained_model, write_good

SIDE = 96
ONE_CORNER = np.zeros((SIDE, SIDE), np.uint8)
ONE_CORNER[10:40, 50:90] = 1


def told(look: NDArray[np.uint8], images: GoodImages | None = None) -> GoodImages:
    images = images or good_images(3, side=SIDE)
    return count(images, images, WhereToLook(LookMap(look)), ImageSettings())[0]


def counted_of(images: GoodImages) -> Counted:
    assert images.counted is not None
    return images.counted


@settings(max_examples=40)
@given(
    look=looks(SIDE, SIDE),
    padding=st.sampled_from(sorted(NUMPY_MODES)),
    seed=st.integers(0, 1000),
    size=st.sampled_from([16, 32, 64]),
)
def test_something_counts_in_every_tile_drawn(look: NDArray[np.uint8], padding: Padding, seed: int, size: int) -> None:
    images = told(look, good_images(3, side=SIDE, padding=padding))
    counted, rng = counted_of(images), np.random.default_rng(seed)
    for _ in range(10):
        index = images.draw(rng)
        y, x = counted.draw(rng, index, size, size)
        height, width = images.padded[index].shape
        assert 0 <= y <= height - size and 0 <= x <= width - size
        tile = counted.look(index, y, x, size, size)
        assert tile.any()
        padded = np.pad(look, images.border, mode=NUMPY_MODES[padding])
        np.testing.assert_array_equal(tile, padded[y : y + size, x : x + size])


def test_every_corner_that_counts_is_drawn() -> None:
    images, rng = told(ONE_CORNER), np.random.default_rng(0)
    hits = np.zeros((SIDE + 32, SIDE + 32), bool)
    for _ in range(400):
        y, x = counted_of(images).draw(rng, images.draw(rng), 16, 16)
        hits[y : y + 16, x : x + 16] = True
    assert hits[16:-16, 16:-16][ONE_CORNER > 0].all()


def test_training_tiles_show_what_counts() -> None:
    """The value of a pixel tells its place: no tile of a batch is from elsewhere, borders and donors included."""
    y, x = np.mgrid[0 : SIDE + 32, 0 : SIDE + 32]
    image = (1000 * y + x).astype(np.float32)
    images = told(ONE_CORNER, GoodImages([Path("a")], [image], 16, 0, [(SIDE, SIDE)]))
    config = tiny_config(tile={"train_size": 32}, variation={"flips": False, "brightness": 0, "contrast": 0})
    drawer = TileDrawer(images, Normalisation((0.0,), (1.0,)), Camera(0.0, 0.5), config)
    for i in range(20):
        for tile in drawer.batch((0, i), 8).good[:, 0]:
            first = round(float(tile[0, 0]))
            top, left = first // 1000 - 16, first % 1000 - 16
            assert top + 32 > 10 and top < 40 and left + 32 > 50 and left < 90
        donor = drawer._donor(np.random.default_rng(i))
        assert donor.shape == (32, 32, 1)


def test_hard_places_count() -> None:
    images = told(ONE_CORNER)
    peaks, _ = find_peaks(untrained_model(tiny_config()).eval(), images, (0,), time.monotonic())
    assert peaks
    for peak in peaks:
        assert counted_of(images).look(peak.place.image, peak.place.y, peak.place.x, 1, 1)[0, 0] > 0


def test_hard_places_lie_in_the_picture() -> None:
    images = good_images(2, side=SIDE)
    peaks, _ = find_peaks(untrained_model(tiny_config()).eval(), images, (0,), time.monotonic())
    assert peaks
    for peak in peaks:
        assert 16 <= peak.place.y < 16 + SIDE and 16 <= peak.place.x < 16 + SIDE


def test_evidence_elsewhere_is_none() -> None:
    images = told(ONE_CORNER)
    model = untrained_model(tiny_config()).eval()
    tile = raw_tile(images, 0, 20, 40, 64, 64)
    assert tile.look is not None
    (found,) = evidence_of_tiles(model, [tile], 8)
    (everywhere,) = evidence_of_tiles(model, [RawTile(tile.pixels)], 8)
    inner = tile.look[8:-8, 8:-8] > 0
    np.testing.assert_array_equal(found[:, inner], everywhere[:, inner])
    assert inner.any() and (found[:, ~inner] == -np.inf).all()


def test_a_standardisation_of_what_counts() -> None:
    """Half of every map at -inf gives what the other half alone gives."""
    rng = np.random.default_rng(0)
    maps = [rng.exponential(1, (2, 64, 64)).astype(np.float32) for _ in range(40)]
    halves = [np.where(np.arange(64) < 32, m, np.float32(-np.inf)).astype(np.float32) for m in maps]
    assert Standardisation.measure(halves) == Standardisation.measure(m[:, :, :32] for m in maps)
    assert block_peaks(halves[0]).shape == (2, 2)


def test_normalisation_and_squares_of_what_counts() -> None:
    images = good_images(2, side=SIDE)
    outside = [np.where(counted_of(told(ONE_CORNER)).look(0, 0, 0, *p.shape) > 0, p, 255) for p in images.padded]
    wild = told(ONE_CORNER, GoodImages(images.paths, outside, 16, 0, images.sizes))
    assert measure_normalisation(wild) == measure_normalisation(told(ONE_CORNER, images))
    assert measure_normalisation(wild) != measure_normalisation(images)
    for _, square in zip(range(20), good_squares(wild, 32, 4, seed=0), strict=False):
        assert square.counted.any() and (square.pixels[~square.counted] == 255).all()


def test_a_product_that_counts_in_one_corner_trains(tmp_path: Path) -> None:
    """What lies outside is another dtype's noise in all but name; the numbers of the model are those of the corner."""
    paths = write_good(tmp_path / "good", 6, side=SIDE)
    for i, path in enumerate(paths):
        image = draw_good(SIDE, SIDE, seed=i)
        noise = np.random.default_rng(i).integers(0, 256, image.shape).astype(np.uint8)
        write_image(path, np.where(ONE_CORNER > 0, image, noise))
    where = WhereToLook(LookMap(ONE_CORNER))
    checkpoint = load(train(paths, tiny_config(), tmp_path / "work", device="cpu", report=silent, where=where))
    assert float(checkpoint.model.std) < 30 < 70 < float(torch.tensor(noise).float().std())


def test_images_of_another_size_than_the_map(tmp_path: Path) -> None:
    paths = write_good(tmp_path / "good", 4, side=SIDE)
    where = WhereToLook(LookMap(np.ones((SIDE, SIDE + 4), np.uint8)))
    with pytest.raises(UsageError, match=r"drawn on a picture of 100x96 px, .*\.tif has 96x96 px"):
        train(paths, tiny_config(), tmp_path / "work", device="cpu", report=silent, where=where)


def test_another_place_is_another_training(tmp_path: Path) -> None:
    paths, config = write_good(tmp_path / "good", 4), tiny_config()
    said = [WhereToLook(), WhereToLook(LookMap(ONE_CORNER)), WhereToLook(plain_background=True)]
    assert len({_identity(paths, config, where) for where in said}) == 3
