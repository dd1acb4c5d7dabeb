"""What the others show: each picture is left out once, and has no say in what it is compared with."""

from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.tiling.context_map import SPREAD_STEPS
from flawmap.tiling.registration.left_out import PARTS, contexts_without
from flawmap.tiling.registration.local import LocalShifts, warp_displaced
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.reference import FEWEST_IMAGES, MOST_AVERAGED, ReferencePicture
from flawmap.tiling.registration.trimmed import trimmed_statistics
from flawmap.tiling.registration.warp import warp_box, warp_to_reference

HEIGHT, WIDTH = 40, 50
INNER = np.s_[10:-10, 10:-10]  # where every picture has data


def pose_of(number: int) -> Pose:
    return Pose(number % 5 - 2, 3 - number % 7, 0, HEIGHT, WIDTH)


def local_of(number: int) -> LocalShifts:
    """The upper left block of every third picture lies a little beside its place, each by another distance."""
    shifts = np.zeros((2, 2, 2), np.float32)
    shifts[0, 0] = (number % 3 == 0) * np.array([1 + number % 2, 1 - number % 4])
    return LocalShifts(shifts)


def built_from(count: int, averaged: tuple[int, ...], displaced: bool) -> ReferencePicture:
    """As `build_reference` makes it; its picture is not looked at."""
    nothing = np.zeros((HEIGHT, WIDTH))
    poses = tuple(pose_of(number) for number in range(count))
    local = tuple(local_of(number) for number in averaged) if displaced else ()
    return ReferencePicture(nothing, nothing.astype(np.float32), nothing > 0, poses, averaged, local)


def laid(picture: NDArray[np.uint8], number: int, displaced: bool) -> NDArray[np.uint8]:
    """The picture as it lies in the reference's plane."""
    seen = warp_to_reference(picture, pose_of(number), cubic=True)
    if displaced:
        warp_displaced(seen, 0, 0, local_of(number), partial(warp_box, picture, pose_of(number).to_image, cubic=True))
    return seen


@settings(max_examples=25, deadline=None)
@given(count=st.integers(6, 30), colour=st.booleans(), displaced=st.booleans(), seed=st.integers(0, 99))
def test_each_picture_is_left_out_once_and_the_others_are_averaged(
    count: int, colour: bool, displaced: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3) if colour else (count, HEIGHT, WIDTH)).astype(np.uint8)
    averaged = tuple(sorted(rng.choice(count, min(count, MOST_AVERAGED), replace=False).tolist()))
    names = [str(n) for n in range(count)]
    built = built_from(count, averaged, displaced)
    found = list(contexts_without(built, names, lambda name: pictures[int(name)]))
    assert len(found) == PARTS
    assert sorted(number for numbers, _ in found for number in numbers) == list(averaged)
    for numbers, context in found:
        others = np.stack([laid(pictures[n], n, displaced) for n in averaged if n not in numbers])
        mean, variance = np.empty_like(others[0]), np.empty((HEIGHT, WIDTH), np.float32)
        everywhere = np.zeros((len(others), HEIGHT), np.int64)
        trimmed_statistics(others, everywhere, everywhere + WIDTH, mean, variance, np.empty((HEIGHT, WIDTH), np.uint8))
        np.testing.assert_array_equal(context.image[INNER], mean[INNER])
        spread = np.minimum(np.sqrt(cv2.blur(variance, (3, 3))) * SPREAD_STEPS, 255)
        assert np.abs(context.pixels[..., -1].astype(float) - spread)[INNER].max() < 0.51


@pytest.mark.parametrize(("count", "parts"), [(5, 0), (6, PARTS), (7, PARTS), (24, PARTS)])
def test_the_others_are_as_many_as_make_a_reference(count: int, parts: int) -> None:
    pictures = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    built = built_from(count, tuple(range(count)), displaced=False)
    found = list(contexts_without(built, list(map(str, range(count))), lambda name: pictures[int(name)]))
    assert len(found) == parts
    assert all(count - len(numbers) >= FEWEST_IMAGES for numbers, _ in found)
