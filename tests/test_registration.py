"""Registration finds a pose that another library's warp made, and refuses what is not the product."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.sample_data.dataset import Product
from flawmap.tiling.errors import ImageError
from flawmap.tiling.registration.levels import level_factors, make_levels
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.register import LOWEST_QUALITY, Registration
from tests.layouts import as_dtype, board_scene, cell_scene, shot

Image = NDArray[Any]

SIDE = 700
AT_HOME = Pose(0, 0, 0, SIDE, SIDE)

shifts = st.floats(-40, 40)
angles = st.floats(-1, 1)
seeds = st.integers(0, 2**31)


@cache
def scene(seed: int) -> Image:
    return board_scene(SIDE, seed)


@cache
def wide_scene() -> Image:
    return Product("board", (1520, 540), 2).good(0).astype(np.float64)


@cache
def registration(seed: int, kind: str = "uint8") -> Registration:
    return Registration(as_dtype(shot(scene(seed), AT_HOME, noise=2, seed=1), kind))


@settings(max_examples=14)
@given(
    dy=shifts,
    dx=shifts,
    angle=angles,
    board=st.integers(1, 3),
    kind=st.sampled_from(["uint8", "uint16", "float32", "rgb"]),
    noise=st.floats(0, 5),
    gain=st.floats(0.8, 1.2),
    offset=st.floats(-10, 10),
    seed=seeds,
)
def test_pose_is_found(
    dy: float, dx: float, angle: float, board: int, kind: str, noise: float, gain: float, offset: float, seed: int
) -> None:
    true = Pose(dy, dx, angle, SIDE, SIDE)
    picture = shot(scene(board), true, noise=noise, seed=seed) * gain + offset
    found = registration(board, kind).register(as_dtype(picture, kind))
    assert found.farthest(true) < 0.2
    assert abs(found.angle - angle) < 0.01 * 5120 / SIDE
    assert 0.5 < found.quality <= 1


@settings(max_examples=6)
@given(dy=shifts, dx=shifts, angle=angles, seed=seeds)
def test_defects_on_2_percent_of_the_pixels_do_not_move_it(dy: float, dx: float, angle: float, seed: int) -> None:
    true = Pose(dy, dx, angle, SIDE, SIDE)
    rng = np.random.default_rng(seed)
    picture = shot(scene(1), true, noise=3, seed=seed)
    for y, x in rng.integers(0, SIDE - 22, (20, 2)):  # 20 blots of 22x22 px
        picture[y : y + 22, x : x + 22] = rng.uniform(0, 255)
    assert registration(1).register(as_dtype(picture, "uint8")).farthest(true) < 0.2


@settings(max_examples=6)
@given(
    dy=shifts,
    dx=shifts,
    angle=angles,
    cell=st.sampled_from([30, 60, 90]),
    unique=st.sampled_from([{"outline": 60}, {"mark": 24}]),
    seed=st.integers(0, 1000),
)
def test_shift_by_a_cell_is_not_taken_for_the_true_one(
    dy: float, dx: float, angle: float, cell: int, unique: dict[str, int], seed: int
) -> None:
    panel = cell_scene(SIDE, cell, seed, **unique)
    first = Registration(as_dtype(shot(panel, AT_HOME, noise=3, seed=1), "uint8"))
    true = Pose(dy, dx, angle, SIDE, SIDE)
    assert first.register(as_dtype(shot(panel, true, noise=3, seed=2), "uint8")).farthest(true) < 0.2


def test_nearest_of_equal_places_is_taken() -> None:
    panel = cell_scene(SIDE, 60, seed=0)  # nothing tells one cell from the next
    first = Registration(as_dtype(shot(panel, AT_HOME, noise=3, seed=1), "uint8"))
    for seed, true in enumerate([Pose(8, -6, 0.5, SIDE, SIDE), Pose(-11, 12, -0.3, SIDE, SIDE)]):
        assert first.register(as_dtype(shot(panel, true, noise=3, seed=seed + 2), "uint8")).farthest(true) < 0.2


@pytest.mark.parametrize("size", [(128, 128), (150, 420), (333, 290), (1400, 260)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    height, width = size
    large = wide_scene()[: height + 120, : width + 120]
    first = Registration(as_dtype(shot(large, Pose(0, 0, 0, *size)), "uint8"))
    true = Pose(0.03 * height, -0.04 * width, 0.7, *size)
    assert first.register(as_dtype(shot(large, true), "uint8")).farthest(true) < 0.2


def test_same_picture_again_is_at_home() -> None:
    image = as_dtype(scene(1), "uint8")
    found = Registration(image).register(image)
    assert found.farthest(Pose(0, 0, 0, *image.shape)) < 0.05
    assert found.quality == pytest.approx(1, abs=1e-3)


def fine_noise() -> Image:
    return np.random.default_rng(0).standard_normal((SIDE, SIDE))


OTHER_PICTURES: dict[str, Callable[[], Image]] = {
    "another board": lambda: shot(scene(2), AT_HOME),
    "cloth": lambda: Product("cloth", (SIDE, SIDE), 1).good(0),
    "metal": lambda: Product("metal", (SIDE, SIDE), 1).good(0),
    "noise": lambda: 128 + 30 * fine_noise(),
    "negative": lambda: 255 - shot(scene(1), AT_HOME),
    "mirrored": lambda: shot(scene(1), AT_HOME)[:, ::-1],
    "all but blank": lambda: 200 + 3 * fine_noise(),
}


@pytest.mark.parametrize("name", list(OTHER_PICTURES))
def test_wrong_picture_is_refused_by_a_wide_gap(name: str) -> None:
    picture = as_dtype(OTHER_PICTURES[name](), "uint8")
    assert registration(1).best_pose(picture).quality < 0.6 * LOWEST_QUALITY
    with pytest.raises(ImageError, match=r"wrong\.png: does not show the reference's layout .*\(quality 0\.\d"):
        registration(1).register(picture, "wrong.png")


@pytest.mark.parametrize(
    ("turns", "words"),
    [(1, "by 90 degrees counter-clockwise"), (2, "by 180 degrees"), (3, "by 90 degrees clockwise")],
)
def test_part_turned_in_its_fixture_is_refused_and_said_so(turns: int, words: str) -> None:
    picture = np.rot90(as_dtype(shot(scene(1), AT_HOME), "uint8"), turns)
    with pytest.raises(ImageError, match=f"part is turned {words}"):
        registration(1).register(picture)


def test_what_cannot_be_registered_is_refused() -> None:
    first = registration(1)
    with pytest.raises(ImageError, match="701x700 px cannot be laid on a reference of 700x700 px"):
        first.register(np.zeros((700, 701), np.uint8))
    with pytest.raises(ImageError, match="mono uint16 cannot be laid on a reference of mono uint8"):
        first.register(np.zeros((700, 700), np.uint16))
    with pytest.raises(ImageError, match=r"RGB uint8 cannot be laid"):
        first.register(np.zeros((700, 700, 3), np.uint8))
    with pytest.raises(ImageError, match=r"dark\.png: a blank picture: nothing to register"):
        first.register(np.full((700, 700), 7, np.uint8), "dark.png")
    with pytest.raises(ImageError, match=r"300x127 px is too small to register on \(128 px a side at least\)"):
        Registration(np.zeros((127, 300), np.uint8))
    with pytest.raises(ImageError, match=r"40000x128 px is too long to register \(32766 px a side at most\)"):
        Registration(np.zeros((128, 40000), np.uint8))
    with pytest.raises(ImageError, match="reference: too little structure to register images on"):
        Registration(np.full((300, 300), 90, np.uint8))


@settings(max_examples=60)
@given(height=st.integers(128, 40_000), width=st.integers(128, 40_000))
def test_levels_nest_and_the_coarsest_is_small(height: int, width: int) -> None:
    factors = level_factors(height, width)
    assert factors[-1] == 1
    assert max(height, width) / factors[0] <= 320
    assert all(coarse % fine == 0 and coarse > fine for coarse, fine in pairwise(factors))


def test_level_pixel_lies_in_the_middle_of_its_cell() -> None:
    y, x = np.indices((1301, 1400)).astype(np.float32)
    for axis in (y, x):  # a slope: neither means nor blurring move it
        for level in make_levels(axis):
            middle = np.indices(level.pixels.shape)[0 if axis is y else 1] * level.factor + (level.factor - 1) / 2
            inner = np.s_[8:-8, 8:-8]
            np.testing.assert_allclose(level.pixels[inner], middle[inner], atol=0.01)
