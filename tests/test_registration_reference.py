"""The reference picture: no ghosts, a spread that is right, and what looks aligned at all."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.sample_data.dataset import Product
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.registration.aligned import Alignment, looks_aligned
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.reference import MOST_AVERAGED, average_aligned, build_reference, row_bands
from flawmap.tiling.registration.trimmed import fewest_known, n_trimmed, trimmed_statistics
from tests.layouts import as_dtype, board_scene, cell_scene, shot

Image = NDArray[Any]

SIDE = 300
NOISE = 4.0
LABEL = np.s_[120:160, 90:150]  # in the reference's plane


@cache
def scene(seed: int) -> Image:
    return board_scene(SIDE, seed)


def pictures(
    poses: list[Pose], kind: str = "uint8", blots: tuple[int, ...] = (), flip: tuple[int, ...] = ()
) -> list[Image]:
    """Shots of one board; those of `blots` have a large bright blot, those of `flip` a defect elsewhere."""
    made = []
    for number, pose in enumerate(poses):
        picture = shot(scene(4), pose, noise=NOISE, seed=number)
        if number in blots:
            picture[LABEL] = 250
        if number in flip:
            picture[30:50, 200:220] = 5
        made.append(as_dtype(picture, kind))
    return made


def some_poses(count: int, largest: float = 6.0) -> list[Pose]:
    rng = np.random.default_rng(count)
    return [
        Pose(*rng.uniform(-largest, largest, 2).tolist(), float(rng.uniform(-0.5, 0.5)), SIDE, SIDE)
        for _ in range(count)
    ]


@pytest.mark.parametrize("kind", ["uint8", "rgb"])
def test_reference_has_no_ghost_and_its_spread_is_the_sensors(kind: str) -> None:
    poses = some_poses(8)
    images = pictures(poses, kind, blots=(2,), flip=(5,))
    calls: list[tuple[int, int]] = []
    reference = build_reference([str(n) for n in range(8)], lambda n: images[int(n)], lambda *done: calls.append(done))
    assert reference.image.dtype == images[0].dtype and reference.image.shape == images[0].shape
    assert reference.spread.dtype == np.float32 and reference.spread.shape == reference.known.shape == (SIDE, SIDE)
    assert reference.averaged == tuple(range(8)) and len(reference.poses) == 8
    assert calls == [(n + 1, 32) for n in range(32)]
    # The reference's plane is the scene's, but for one pose that all images share.
    plane = reference.poses[0].inverse().after(poses[0])
    for true, found in zip(poses, reference.poses, strict=True):
        assert found.after(plane).farthest(true) < 0.2
    middle = [float(np.median([getattr(p, name) for p in reference.poses])) for name in ("dy", "dx", "angle")]
    assert Pose(*middle, SIDE, SIDE).farthest(Pose(0, 0, 0, SIDE, SIDE)) < 0.2
    clean = as_dtype(shot(scene(4), plane), kind)
    apart = np.abs(reference.image.astype(float) - clean.astype(float))
    inner = np.s_[20:-20, 20:-20]
    assert np.quantile(apart[inner], 0.99) < 8
    assert apart[LABEL].mean() < 3 and apart[30:50, 200:220].mean() < 3
    flat = reference.spread[inner]
    scale = 1.0 if kind == "uint8" else np.sqrt((0.25 + 1 + 1 / 9) / 3)
    assert np.median(flat) == pytest.approx(NOISE * scale * 0.9, rel=0.2)  # resampling takes a little noise away


def test_border_that_few_images_show_is_not_known() -> None:
    poses = [Pose(dy, dx, 0, SIDE, SIDE) for dy in (-12, 12) for dx in (-12, 12)] * 2
    images = pictures(poses)
    reference = build_reference(list("01234567"), lambda n: images[int(n)])
    assert reference.known[20:-20, 1:-1].all() and reference.known[1:-1, 20:-20].all()  # 4 of 8 images
    for corner in (np.s_[:8, :8], np.s_[-8:, :8], np.s_[:8, -8:], np.s_[-8:, -8:]):  # 2 of 8
        assert not reference.known[corner].any()


def test_bands_of_rows_give_what_the_whole_gives() -> None:
    poses = some_poses(5)
    images = pictures(poses, "rgb", blots=(1,))
    whole = average_aligned(images[0], poses, [(0, SIDE)], lambda n: images[n])
    banded = average_aligned(images[0], poses, [(0, 70), (70, 71), (71, SIDE)], lambda n: images[n])
    # A coordinate on the edge between two 1/32 px may fall either way.
    assert np.quantile(np.abs(whole[0].astype(int) - banded[0]), 0.99) <= 1
    assert np.quantile(np.abs(whole[1] - banded[1]), 0.99) < 0.5
    np.testing.assert_array_equal(whole[2], banded[2])


@given(height=st.integers(1, 9000), width=st.integers(1, 9000), colour=st.booleans(), count=st.integers(5, 24))
def test_bands_cover_every_row_and_bound_what_is_held(height: int, width: int, colour: bool, count: int) -> None:
    like = np.broadcast_to(np.uint8(0), (height, width, 3) if colour else (height, width))
    bands = row_bands(like, count)
    assert [y for y0, y1 in bands for y in range(y0, y1)] == list(range(height))
    assert max(y1 - y0 for y0, y1 in bands) * count * like[0].nbytes <= 400_000_000


def test_more_images_than_are_averaged() -> None:
    poses = some_poses(3)
    images = pictures(poses)
    reference = build_reference(list(range(30)), lambda n: images[n % 3])  # type: ignore[arg-type]
    assert len(set(reference.averaged)) == MOST_AVERAGED and len(reference.poses) == 30


def test_what_makes_no_reference() -> None:
    images = pictures(some_poses(5))
    with pytest.raises(UsageError, match="a reference needs at least 5 good images, not 4"):
        build_reference(list("0123"), lambda n: images[int(n)])
    images[3] = as_dtype(shot(scene(5), Pose(0, 0, 0, SIDE, SIDE)), "uint8")
    with pytest.raises(ImageError, match=r"^3: does not show the reference's layout"):
        build_reference(list("01234"), lambda n: images[int(n)])


@settings(max_examples=20)
@given(count=st.integers(1, 12), colour=st.booleans(), seed=st.integers(0, 1000))
def test_trimmed_statistics_are_those_of_sorted_values(count: int, colour: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = 4, 6
    stack = rng.integers(0, 256, (count, height, width, 3) if colour else (count, height, width), np.uint8)
    first = rng.integers(0, 3, (count, height))
    end = rng.integers(2, width + 1, (count, height))
    mean, variance = np.empty_like(stack[0]), np.empty((height, width), np.float32)
    counts = np.empty((height, width), np.uint8)
    trimmed_statistics(stack, first, end, mean, variance, counts)
    shown = (np.arange(width) >= first[..., None]) & (np.arange(width) < end[..., None])
    np.testing.assert_array_equal(counts, shown.sum(axis=0))
    for y, x in np.ndindex(height, width):
        values = stack[shown[:, y, x], y, x] if shown[:, y, x].any() else stack[:, y, x]
        cut = n_trimmed(len(values))
        expected = np.sort(values.astype(float), axis=0)[cut : len(values) - cut].mean(axis=0)
        np.testing.assert_allclose(mean[y, x], expected, atol=0.501)


def test_variance_of_normal_values_is_theirs() -> None:
    rng = np.random.default_rng(0)
    for count in (5, 8, 9, 16, 24):
        stack = rng.normal(100, 6, (count, 120, 120)).astype(np.float32)
        edge = np.zeros((count, 120), np.int64)
        mean, variance = np.empty((120, 120), np.float32), np.empty((120, 120), np.float32)
        trimmed_statistics(stack, edge, edge + 120, mean, variance, np.empty((120, 120), np.uint8))
        assert np.sqrt(variance.mean()) == pytest.approx(6, rel=0.02)
        stack[0] = 1e6  # one in `count` says something else altogether
        trimmed_statistics(stack, edge, edge + 120, mean, variance, np.empty((120, 120), np.uint8))
        assert abs(float(mean.mean()) - 100) < 3 and float(variance.max()) < 40**2


def test_counts_that_rule_the_average() -> None:
    assert [n_trimmed(n) for n in (0, 1, 2, 3, 5, 8, 9, 16, 17, 24)] == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert [fewest_known(n) for n in (2, 3, 5, 6, 7, 24)] == [2, 3, 3, 3, 4, 12]


def judged(images: list[Image]) -> Alignment:
    return looks_aligned([str(n) for n in range(len(images))], lambda n: images[int(n)])


def test_boards_look_aligned_and_cloth_and_metal_do_not() -> None:
    board = judged([Product("board", (400, 400), 1).good(n) for n in range(4)])
    assert board.aligned and not board.periods and min(board.qualities) > 0.8 and len(board.poses) == 3
    assert board.reason.startswith("the images show one layout (median quality 0.9")
    for surface in ("cloth", "metal"):
        other = judged([Product(surface, (400, 400), 1).good(n) for n in range(4)])
        assert not other.aligned and max(other.qualities) < 0.4
        assert other.reason.startswith("the images do not show one layout (median quality 0.")


@pytest.mark.parametrize("cell", [14, 40])
def test_strict_pattern_is_aligned_only_where_it_is_held(cell: int) -> None:
    panel = cell_scene(400, cell, seed=3)
    rng = np.random.default_rng(0)

    def seen(largest: float) -> Alignment:
        poses = [Pose(*rng.uniform(-largest, largest, 2).tolist(), 0.0, 400, 400) for _ in range(7)]
        return judged([as_dtype(shot(panel, pose, noise=3, seed=n), "uint8") for n, pose in enumerate(poses)])

    anywhere = seen(cell / 2)
    assert not anywhere.aligned and len(anywhere.periods) == 2 and min(anywhere.qualities) > 0.5
    assert all(np.hypot(*period) == pytest.approx(cell, abs=0.3) for period in anywhere.periods)
    assert "the picture repeats every (" in anywhere.reason
    assert seen(cell / 10).aligned


def test_what_cannot_be_aligned_is_said() -> None:
    image = as_dtype(scene(4), "uint8")
    assert judged([image]) == Alignment(False, "one image alone does not tell")
    blank = judged([np.full((300, 300), 9, np.uint8)] * 2)
    assert blank == Alignment(False, "too little structure to register images on")
    unlike = judged([image, image[:-1]])
    assert unlike.reason == "the images are of unlike sizes or kinds (420x420 mono uint8, 420x419 mono uint8)"
    assert not judged([image, image.astype(np.uint16)]).aligned
