"""Batches of tiles: a function of seed and step, from everywhere, hard places and borders included; and variation."""

import itertools
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.registration.local import LocalShifts
from flawmap.training.camera import Camera
from flawmap.training.config import VariationSettings
from flawmap.training.good_images import GoodImages, Normalisation, measure_normalisation
from flawmap.training.tile_batches import (
    DISPLACED_PX,
    DISPLACED_SHARE,
    REGISTRATION_ERROR,
    HardPlace,
    TileBatch,
    TileBatches,
    TileDrawer,
)
from flawmap.training.tile_batches import SUSPICIOUS_REACH as REACH
from flawmap.training.variation import Variation
from tests.products import SCALE, draw_good, good_images, tiny_config

STILL = {"flips": False, "brightness": 0, "contrast": 0}  # tiles as they are in the image
PLAIN = Normalisation((0.0,), (1.0,))


def drawer(images: GoodImages | None = None, *, noise: float = 0.1, **sections: Any) -> TileDrawer:
    images = images or good_images(3)
    return TileDrawer(images, measure_normalisation(images), Camera(noise, 0.5), tiny_config(**sections))


def coordinates(side: int = 200, border: int = 16) -> GoodImages:
    """A float image whose value tells the place, 1000 y + x of the padded image."""
    y, x = np.mgrid[0:side, 0:side]
    return GoodImages([Path("a")], [(1000 * y + x).astype(np.float32)], border, 0, [(0, 0)])


def corners(drawn: TileDrawer, batches: int = 40, n_tiles: int = 8) -> list[tuple[int, int]]:
    """(y, x) of the first pixel of every tile that is drawn from `coordinates`."""
    values = torch.cat([drawn.batch((0, i), n_tiles).good[:, 0, 0, 0] for i in range(batches)]).numpy()
    return [(int(v) // 1000, int(v) % 1000) for v in np.round(values)]


def at_places(**sections: Any) -> TileDrawer:
    return TileDrawer(coordinates(), PLAIN, Camera(0.0, 0.5), tiny_config(variation=STILL, **sections))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_batches_of_every_kind_of_image(channels: int, dtype: str) -> None:
    batch = drawer(good_images(3, channels=channels, dtype=dtype)).batch((1, 2), 6)
    assert batch.good.shape == batch.damaged.shape == (6, channels, 64, 64)
    assert batch.mask.shape == (6, 1, 64, 64)
    assert batch.context is None
    for part in batch[:3]:
        assert part.dtype == torch.float32
        assert part.is_contiguous()
        assert bool(torch.isfinite(part).all())
    assert set(batch.mask.unique().tolist()) <= {0.0, 1.0}
    assert abs(float(batch.good.mean())) < 0.5  # normalised
    assert 0.6 < float(batch.good.std()) < 1.6


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), step=st.integers(0, 10**6))
def test_a_batch_is_a_function_of_seed_and_step(seed: int, step: int) -> None:
    """Whatever the drawer drew before."""
    one, other = drawer(), drawer()
    other.batch((99, 99), 3)
    for a, b in zip(one.batch((seed, step), 4)[:3], other.batch((seed, step), 4)[:3], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.batch((seed, step), 4).good, one.batch((seed, step + 1), 4).good)


def test_a_resumed_loader_goes_on_with_the_same_batches() -> None:
    def loaded(first_step: int, count: int) -> list[TileBatch]:
        return list(islice(DataLoader(TileBatches(drawer(), 7, 3, first_step), batch_size=None), count))

    for a, b in zip(loaded(0, 5)[3:], loaded(3, 2), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a[:3], b[:3], strict=True))


def test_only_damage_differs_between_input_and_target() -> None:
    batch = drawer().batch((5,), 32)
    differs = (batch.damaged != batch.good).any(dim=1, keepdim=True)
    assert bool((differs | (batch.mask == 0)).all())  # no mask where nothing changed
    untouched = ~differs.flatten(1).any(dim=1)
    assert 0 < int(untouched.sum()) < 32
    assert float(batch.mask[untouched].sum()) == 0


@pytest.mark.parametrize("share", [0.0, 0.35, 1.0])
def test_the_share_of_untouched_tiles(share: float) -> None:
    batch = drawer(damage={"untouched_share": share}, tile={"train_size": 32}).batch((6,), 300)
    untouched = (batch.damaged == batch.good).flatten(1).all(dim=1).float().mean()
    assert float(untouched) == pytest.approx(share, abs=0.08)


def test_noise_goes_into_input_and_target_alike() -> None:
    blank = GoodImages([Path("a")], [np.full((96, 96), 0.5, np.float32)], 16, 0, [(64, 64)])
    drawn = TileDrawer(blank, PLAIN, Camera(0.2, 0.5), tiny_config(damage={"untouched_share": 1.0}, variation=STILL))
    batch = drawn.batch((1,), 8)
    assert torch.equal(batch.good, batch.damaged)
    assert float(batch.good.std()) == pytest.approx(0.1, rel=0.05)  # half the sensor's


def test_tiles_come_from_everywhere() -> None:
    ys, xs = np.array(corners(at_places(damage={"border_share": 0}))).T
    assert 0 <= min(ys) < 8
    assert 0 <= min(xs) < 8
    assert 128 < max(ys) <= 136  # 200 - 64
    assert 128 < max(xs) <= 136


def test_border_tiles_occur() -> None:
    """All of them within what lies beyond the border of one side, whichever side."""
    places = corners(at_places(damage={"border_share": 1}))
    last = 200 - 64
    sides = [(y <= 16, y >= last - 16, x <= 16, x >= last - 16) for y, x in places]
    assert all(any(side) for side in sides)
    assert all(np.array(sides).sum(axis=0) > 30)


def test_border_tiles_without_a_border_are_flush() -> None:
    drawn = TileDrawer(
        coordinates(border=0), PLAIN, Camera(0.0, 0.5), tiny_config(variation=STILL, damage={"border_share": 1})
    )
    assert all(y in (0, 136) or x in (0, 136) for y, x in corners(drawn, batches=5))


@settings(max_examples=30)
@given(y=st.integers(0, 199), x=st.integers(0, 199))
def test_a_hard_place_lies_well_inside_its_tile(y: int, x: int) -> None:
    drawn = at_places(damage={"hard_share": 1})
    drawn.hard_places = [HardPlace(0, y, x)]
    for top, left in corners(drawn, batches=2):
        assert 0 <= y - top < 64
        assert 0 <= x - left < 64
        for place, start in ((y, top), (x, left)):  # a quarter from the edge, unless the image ends
            assert 16 <= place - start <= 48 or start in (0, 136)


def test_hard_places_are_shown_as_often_as_configured_and_mostly_undamaged() -> None:
    drawn = at_places(damage={"hard_share": 0.5, "hard_untouched_share": 1.0, "untouched_share": 0.0})
    drawn.hard_places = [HardPlace(0, 100, 100)]
    batch = drawn.batch((3,), 300)
    untouched = (batch.damaged == batch.good).flatten(1).all(dim=1)
    assert float(untouched.float().mean()) == pytest.approx(0.5, abs=0.08)
    first = batch.good[untouched, 0, 0, 0].numpy().round()
    assert all(36 <= v // 1000 <= 84 and 36 <= v % 1000 <= 84 for v in first)


def test_the_hardest_places_are_shown_most_often() -> None:
    """Of four places with u ** 2 of a uniform u: the first as often as u < 1/2, the last as u > sqrt(3)/2."""
    drawn = at_places(damage={"hard_share": 1})
    drawn.hard_places = [HardPlace(0, y, x) for y in (40, 150) for x in (40, 150)]
    shown = [(y > 64, x > 64) for y, x in corners(drawn, batches=20)]
    for place, expected in (((False, False), 0.5), ((True, True), 1 - 3**0.5 / 2)):
        assert shown.count(place) / len(shown) == pytest.approx(expected, abs=0.1)


def test_an_image_smaller_than_the_tile() -> None:
    grid = TileGrid(11, 30, 64, 0, multiple=4, border=16)
    small = GoodImages([Path("a")], [grid.pad(draw_good(11, 30))], 16, 0, [(11, 30)])
    assert drawer(small).batch((0,), 4).good.shape == (4, 1, 64, 64)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_variation_keeps_shape_and_scale(dtype: str, channels: int) -> None:
    tile = draw_good(40, 40, channels=channels, dtype=dtype)
    varied = Variation(VariationSettings(), SCALE[dtype])
    for seed in range(8):
        varied.seed(seed)
        found = varied(tile)[0]
        assert found.shape == tile.shape
        assert found.dtype == np.float32
        assert found.flags["C_CONTIGUOUS"]
        level = tile.mean() / SCALE[dtype]
        # 0.02 of full scale and 5 % of contrast, on a level of about a half.
        assert abs(found.mean() / SCALE[dtype] - level) < 0.02 + 0.05 * level + 0.01
        assert 0 <= found.min() <= found.max() <= SCALE[dtype] * 1.0001


def test_variation_off_changes_nothing_and_flips_only_flip() -> None:
    tile = draw_good(16, 16)
    np.testing.assert_allclose(Variation(VariationSettings(**STILL), 255.0)(tile)[0], tile, atol=1e-4)
    flip = Variation(VariationSettings(flips=True, brightness=0, contrast=0), 255.0)
    wanted = {t.astype(np.float32).round(2).tobytes() for t in (tile, tile[::-1], tile[:, ::-1], tile[::-1, ::-1])}
    assert {flip(tile)[0].round(2).tobytes() for _ in range(60)} == wanted


def test_a_seed_fixes_the_variation() -> None:
    varied = Variation(VariationSettings(), 255.0)
    tile = draw_good(32, 32)

    def drawn(seed: int) -> list[bytes]:
        varied.seed(seed)
        return [varied(tile)[0].tobytes() for _ in range(5)]

    assert drawn(1) == drawn(1) != drawn(2)
    assert len(set(drawn(1))) > 1


def test_the_context_turns_with_its_tile_and_keeps_its_light() -> None:
    tile = draw_good(32, 32)
    context = np.dstack([tile, tile // 2])
    varied = Variation(VariationSettings(flips=True, brightness=0.3, contrast=0), 255.0)
    lights = set()
    for seed in range(20):
        varied.seed(seed)
        image, turned = varied(tile, context)
        assert turned is not None and turned.dtype == np.uint8
        turns = {way: tile[:: way[0], :: way[1]] for way in itertools.product((1, -1), repeat=2)}
        (way,) = (way for way, expected in turns.items() if np.array_equal(turned[..., 0], expected))
        np.testing.assert_array_equal(turned[..., 1], (tile // 2)[:: way[0], :: way[1]])
        gain, level = np.polyfit(turned[..., 0].ravel(), image.ravel(), 1)  # the same turn: what is left is the light
        np.testing.assert_allclose(image, gain * turned[..., 0] + level, atol=0.02)
        lights.add(round(float(image.mean())))
    assert len(lights) > 3


@settings(max_examples=20)
@given(y=st.integers(0, 199), x=st.integers(0, 199))
def test_a_place_left_out_is_shown_no_more(y: int, x: int) -> None:
    """As long as an image of 200 px has tiles of 64 px that stay clear of it; another image's place changes nothing."""
    drawn = at_places(damage={"border_share": 0})
    before = corners(drawn, batches=4)
    drawn.leave_out([HardPlace(1, y, x)])
    assert corners(drawn, batches=4) == before
    drawn.leave_out([HardPlace(0, y, x)])
    for top, left in corners(drawn, batches=4):
        assert not (top - REACH <= y < top + 64 + REACH and left - REACH <= x < left + 64 + REACH)


def test_a_place_that_is_not_sought_is_drawn_like_the_rest() -> None:
    """The tiles at hard places stay clear of it, the others are those that they were."""
    place = HardPlace(0, 100, 100)
    drawn = at_places(damage={"border_share": 0, "hard_share": 0})
    before = corners(drawn, batches=4)
    drawn.leave_out([], [place])
    assert corners(drawn, batches=4) == before
    drawn = at_places(damage={"border_share": 0, "hard_share": 1})
    drawn.hard_places = [place, HardPlace(0, 20, 20)]
    drawn.leave_out([], [place])
    assert all(y + 64 + REACH <= 100 or x + 64 + REACH <= 100 for y, x in corners(drawn, batches=4))


def test_an_image_that_is_left_out_all_over_is_still_drawn_from() -> None:
    drawn = at_places()
    drawn.leave_out([HardPlace(0, y, x) for y in range(0, 200, 20) for x in range(0, 200, 20)])
    assert len(corners(drawn, batches=1)) == 8


def reference_shifts(**sections: Any) -> np.ndarray:
    """(x, y) px by which the references of 400 tiles lie beside their places: their two channels tell the place."""
    side = 168
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) + 16
    images = coordinates(side + 32)
    reference = ContextMap(np.dstack([x, y]))
    aligned = replace(
        images, sizes=[(side, side)], reference=reference, shown=[reference], to_reference=[np.eye(2, 3)],
        local=[LocalShifts(np.zeros((6, 6, 2), np.float32))],
    )  # fmt: skip
    drawn = TileDrawer(aligned, PLAIN, Camera(0.0, 0.5), tiny_config(variation=STILL, **sections))
    found = []
    for i in range(50):
        batch = drawn.batch((0, i), 8)
        assert batch.context is not None
        middle = batch.good[:, 0, 32, 32].numpy()
        place = np.stack([middle % 1000, middle // 1000], axis=1)
        found.append(batch.context[:, 32, 32].numpy() - place)
    return np.concatenate(found)


def test_references_lie_beside_their_place_as_registrations_err_and_parts_of_a_layout_do() -> None:
    shifts = reference_shifts()
    far = np.abs(shifts).max(axis=1) > 5 * REGISTRATION_ERROR
    # Of those within +-3 px along both axes (3 of 10 tiles), 1 in 16 is within 0.75 px.
    assert far.mean() == pytest.approx(DISPLACED_SHARE * 15 / 16, abs=0.08)
    assert 2.5 < np.abs(shifts).max() < DISPLACED_PX + 0.05
    assert shifts[~far].std() == pytest.approx(REGISTRATION_ERROR, abs=0.06)
    assert np.abs(shifts.mean(axis=0)).max() < 0.3


def test_where_nothing_may_be_displaced_references_lie_in_their_place() -> None:
    assert np.abs(reference_shifts(alignment_slack=0)).max() < 6 * REGISTRATION_ERROR
    assert np.abs(reference_shifts(alignment_slack=1)).max() < 1.05
