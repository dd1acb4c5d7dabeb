"""Synthetic damage and its outlines: local, visible where the mask says so, the same for the same seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.training import shapes
from flawmap.training.camera import Camera
from flawmap.training.config import DamageSettings
from flawmap.training.damage import (
    DRAW_SHAPE,
    SHAPE_SHARES,
    SPOTS,
    THICKEST,
    VISIBLE,
    damage_tile,
    local_deviation,
    other_material,
    thickness_of,
)

SEEDS = st.integers(0, 10**9)
ONE = DamageSettings(most_per_tile=1)
# Smallest and largest height or width in px that each docstring allows, margins of the outline included.
LIMITS = {
    shapes.dot: (3, 10 + 3),
    shapes.line: (3, 150 + 16 + 6),
    shapes.blob: (4, 96 + 3),
    shapes.polygon: (4, 48 + 3),
    shapes.rectangle: (2, 48),
    shapes.coarse_noise: (6, 48),
}


def tile(seed: int, side: int = 48, channels: int = 1, level: float = 1.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return level * rng.standard_normal((side, side, channels), dtype=np.float32)


def test_every_shape_has_its_share() -> None:
    assert set(DRAW_SHAPE) == set(LIMITS)
    assert len(SHAPE_SHARES) == len(DRAW_SHAPE)
    assert sum(SHAPE_SHARES) == pytest.approx(1)


@settings(max_examples=60)
@pytest.mark.parametrize("shape", LIMITS, ids=lambda shape: shape.__name__)
@given(seed=SEEDS)
def test_a_shape_is_an_opacity_of_its_size(shape: object, seed: int) -> None:
    patch = shape(np.random.default_rng(seed))  # type: ignore[operator]
    low, high = LIMITS[shape]  # type: ignore[index]
    assert patch.dtype == np.float32
    assert patch.ndim == 2
    assert low <= min(patch.shape) <= max(patch.shape) <= high
    assert np.isfinite(patch).all()
    assert 0 <= patch.min() <= patch.max() <= 1
    np.testing.assert_array_equal(patch, shape(np.random.default_rng(seed)))  # type: ignore[operator]


@pytest.mark.parametrize("shape", LIMITS, ids=lambda shape: shape.__name__)
def test_shapes_are_seldom_invisible(shape: object) -> None:
    patches = [shape(np.random.default_rng(seed)) for seed in range(200)]  # type: ignore[operator]
    assert np.mean([patch.max() > 0.3 for patch in patches]) > 0.9


def test_dots_and_lines_are_as_small_and_as_large_as_said() -> None:
    """Measured on what is drawn, not on the patch around it."""
    areas = [float(shapes.dot(np.random.default_rng(seed)).sum()) for seed in range(500)]
    assert min(areas) < 2.6**2 * np.pi / 4 * 1.5
    assert max(areas) < 10**2 * np.pi / 4 * 1.5
    longest = [max(np.ptp(axis) for axis in np.nonzero(shapes.line(np.random.default_rng(s)))) for s in range(500)]
    assert min(longest) < 16
    assert 100 < max(longest) <= 150 + 8


@settings(max_examples=60)
@pytest.mark.parametrize("shape", LIMITS, ids=lambda shape: shape.__name__)
@given(seed=SEEDS, blur=st.floats(0, 2))
def test_softening_keeps_the_strength_and_spreads_it(shape: object, seed: int, blur: float) -> None:
    patch = shape(np.random.default_rng(seed))  # type: ignore[operator]
    soft = shapes.soften(np.random.default_rng(seed), patch, blur)
    reach = (np.array(soft.shape) - patch.shape) // 2
    assert reach[0] == reach[1]
    assert 0 <= reach[0] <= np.ceil(2.5 * 1.2 * blur)
    assert soft.dtype == np.float32
    assert soft.min() >= 0
    assert float(soft.max()) == pytest.approx(float(patch.max()), rel=1e-4)
    if reach[0]:
        assert np.abs(np.diff(soft, axis=0)).max() <= np.abs(np.diff(np.pad(patch, 1), axis=0)).max() + 1e-6


def test_a_sharp_camera_leaves_outlines_crisp() -> None:
    dot = shapes.dot(np.random.default_rng(0))
    assert all(shapes.soften(np.random.default_rng(seed), dot, 0.2) is dot for seed in range(50))


@given(low=st.floats(0.5, 10), factor=st.floats(1.0, 20), seed=SEEDS)
def test_log_uniform_stays_within(low: float, factor: float, seed: int) -> None:
    value = shapes.log_uniform(np.random.default_rng(seed), low, low * factor)
    assert low * 0.999 <= value <= low * factor * 1.001


def test_log_uniform_is_uniform_in_the_logarithm() -> None:
    rng = np.random.default_rng(0)
    values = [shapes.log_uniform(rng, 3, 48) for _ in range(4000)]
    assert np.mean(np.array(values) < 12) == pytest.approx(0.5, abs=0.03)  # 12 is the geometric middle


@settings(max_examples=60)
@given(seed=SEEDS, side=st.sampled_from([32, 33, 64]), channels=st.sampled_from([1, 3]), noise=st.floats(0.01, 0.5))
def test_damage_is_local_and_the_input_is_left_alone(seed: int, side: int, channels: int, noise: float) -> None:
    good, donor = tile(1, side, channels), tile(2, side, channels)
    kept = good.copy()
    damaged, mask = damage_tile(np.random.default_rng(seed), good, lambda: donor, Camera(noise, 1.0), ONE)
    np.testing.assert_array_equal(good, kept)
    assert damaged.shape == good.shape
    assert damaged.dtype == np.float32
    assert mask.shape == (side, side)
    assert mask.dtype == np.bool_
    assert np.isfinite(damaged).all()
    change = np.abs(damaged - good).max(axis=2)
    assert (change[mask] > 0).all()  # what the mask says has changed
    # Local deviation is at most that of the wildest neighbourhood; what changed by so much is in the mask.
    assert mask[change > VISIBLE * 4].all()


@settings(max_examples=100)
@given(seed=SEEDS, channels=st.sampled_from([1, 3]), noise=st.floats(0.05, 1.0))
def test_the_mask_is_exactly_what_visibly_changed(seed: int, channels: int, noise: float) -> None:
    """On a flat tile the local deviation is known: the noise, for a damage of some thickness averaged over it."""
    good = np.full((40, 40, channels), 0.25, np.float32)
    donor = good + np.float32(0.5)
    damaged, mask = damage_tile(np.random.default_rng(seed), good, lambda: donor, Camera(noise, 1.0), ONE)
    change = np.abs(damaged - good).max(axis=2)
    levels = [VISIBLE * noise / np.sqrt(thickness) for thickness in range(1, THICKEST + 1)]
    # Not on the line, where rounding decides.
    assert any((mask == (change > level))[np.abs(change - level) > 1e-4].all() for level in levels)


@settings(max_examples=40)
@given(seed=SEEDS, most=st.integers(1, 8))
def test_the_same_seed_gives_the_same_damage(seed: int, most: int) -> None:
    good, donor = tile(3), tile(4)
    wanted = DamageSettings(most_per_tile=most)
    first = damage_tile(np.random.default_rng(seed), good, lambda: donor, Camera(0.1, 0.5), wanted)
    again = damage_tile(np.random.default_rng(seed), good, lambda: donor, Camera(0.1, 0.5), wanted)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


@settings(max_examples=40)
@given(seed=SEEDS, noise=st.sampled_from([0.0, 1e-6, 0.3]))
def test_a_blank_tile_gives_no_nan(seed: int, noise: float) -> None:
    blank = np.zeros((32, 32, 1), np.float32)
    damaged, mask = damage_tile(np.random.default_rng(seed), blank, lambda: blank, Camera(noise, 0.5), DamageSettings())
    assert np.isfinite(damaged).all()
    assert (np.abs(damaged[..., 0])[mask] > 0).all()


def test_most_damage_is_visible_and_more_places_change_more() -> None:
    def changed(most: int) -> list[int]:
        wanted = DamageSettings(most_per_tile=most)
        return [
            int(damage_tile(np.random.default_rng(s), tile(5), lambda: tile(6), Camera(0.1, 0.5), wanted)[1].sum())
            for s in range(120)
        ]

    few, many = changed(1), changed(8)
    assert np.mean(np.array(few) > 0) > 0.85
    assert np.mean(many) > 1.5 * np.mean(few)


def test_pieces_of_the_donor_appear() -> None:
    """One damage in three: a donor of a level of its own, as a piece or a material (grain has lost its mean)."""
    good, donor = tile(7, level=0.1), tile(8, level=0.1) + np.float32(1000)
    foreign = [
        damage_tile(np.random.default_rng(seed), good, lambda: donor, Camera(0.1, 0.5), ONE)[0].max() > 100
        for seed in range(300)
    ]
    assert 0.25 < np.mean(foreign) < 0.45


def test_damage_reaches_every_part_of_a_tile() -> None:
    touched = np.zeros((32, 32), int)
    for seed in range(600):
        damaged, _ = damage_tile(np.random.default_rng(seed), tile(9, 32), lambda: tile(10, 32), Camera(0.1, 0.5), ONE)
        touched += (damaged != tile(9, 32)).any(axis=2)
    assert touched.min() > 0


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (np.ones((5, 5)), 5),
        (np.ones((4, 40)) * 0.3, 4),  # strength does not count
        (np.eye(40), 1),
        (np.ones((60, 60)), THICKEST),
        (np.zeros((5, 5)), 1),
    ],
    ids=["square", "bar", "diagonal", "large", "nothing"],
)
def test_thickness_of_a_damage(patch: NDArray[np.float64], expected: int) -> None:
    assert thickness_of(patch.astype(np.float32)[..., None]) == expected


def test_a_broad_damage_shows_on_a_weave_at_less_contrast() -> None:
    """A chequerboard of 1 px: rough to a dot, even to whatever covers many of its fields."""
    y, x = np.mgrid[:64, :64]
    weave = ((x + y) % 2 * 2 - 1).astype(np.float32)[..., None]
    assert float(local_deviation(weave, 1)[0]) == pytest.approx(1)
    assert float(local_deviation(weave, 9)[0]) == pytest.approx(1 / 81, rel=0.2)  # one field of 81 is left over
    stain = np.repeat(np.repeat(tile(0, 4), 16, axis=0), 16, axis=1)  # as coarse as what is looked for: nothing changes
    assert float(local_deviation(stain, 5)[0]) > 0.7 * float(stain.std())


@given(seed=SEEDS)
def test_another_material_is_the_one_least_like_the_surroundings(seed: int) -> None:
    two = np.zeros((32, 32, 2), np.float32)
    two[:, 16:] = 1
    found = other_material(np.random.default_rng(seed), two, np.zeros(2, np.float32))
    rng = np.random.default_rng(seed)
    ys, xs = rng.integers(0, 30, SPOTS), rng.integers(0, 30, SPOTS)
    brightest = max(two[y : y + 3, x : x + 3, 0].mean() for y, x in zip(ys, xs, strict=True))
    np.testing.assert_allclose(found, brightest)
