"""What the others show: each picture is left out once, and has no say in what it is compared with."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.registration.left_out import PARTS, contexts_without
from flawmap.tiling.registration.local import LocalShifts
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.reference import FEWEST_IMAGES, MOST_AVERAGED, ReferencePicture
from flawmap.tiling.registration.trimmed import n_trimmed

HEIGHT, WIDTH = 12, 17


def built_from(count: int, averaged: tuple[int, ...]) -> ReferencePicture:
    """As `build_reference` makes it of pictures that all lie in the reference's place; its picture is not looked at."""
    nothing = np.zeros((HEIGHT, WIDTH))
    local: tuple[LocalShifts, ...] = ()
    poses = (Pose(0, 0, 0, HEIGHT, WIDTH),) * count
    return ReferencePicture(nothing, nothing.astype(np.float32), nothing > 0, poses, averaged, local)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(6, 30), colour=st.booleans(), seed=st.integers(0, 99))
def test_each_picture_is_left_out_once_and_the_others_are_averaged(count: int, colour: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (count, HEIGHT, WIDTH, 3) if colour else (count, HEIGHT, WIDTH)).astype(np.uint8)
    averaged = tuple(sorted(rng.choice(count, min(count, MOST_AVERAGED), replace=False).tolist()))
    names = [str(n) for n in range(count)]
    found = list(contexts_without(built_from(count, averaged), names, lambda name: pictures[int(name)]))
    assert len(found) == PARTS
    assert sorted(number for numbers, _ in found for number in numbers) == list(averaged)
    for numbers, context in found:
        others = np.sort(pictures[[n for n in averaged if n not in numbers]].astype(float), axis=0)
        trim = n_trimmed(len(others))
        expected = np.floor(others[trim : len(others) - trim].mean(axis=0) + 0.5)
        np.testing.assert_array_equal(context.image, expected)


@pytest.mark.parametrize(("count", "parts"), [(5, 0), (6, PARTS), (7, PARTS), (24, PARTS)])
def test_the_others_are_as_many_as_make_a_reference(count: int, parts: int) -> None:
    pictures = np.zeros((count, HEIGHT, WIDTH), np.uint8)
    built = built_from(count, tuple(range(count)))
    found = list(contexts_without(built, list(map(str, range(count))), lambda name: pictures[int(name)]))
    assert len(found) == parts
    assert all(count - len(numbers) >= FEWEST_IMAGES for numbers, _ in found)
