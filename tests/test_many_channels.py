"""Pictures in several lights, pixel by pixel: every step treats a channel as it treats a mono picture."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from flawmap.inspect.report.display import shrink as shrink_shown
from flawmap.inspect.report.display import to_picture, window_of
from flawmap.inspect.report.pictures import in_telling_light
from flawmap.tiling.classical.local_median import LocalMedian
from flawmap.tiling.registration.levels import grey
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.register import Registration
from flawmap.tiling.registration.warp import warp_to_reference
from flawmap.tiling.shrink import area_means, enlarge, in_parts
from tests.turned_parts import picture

Array = NDArray[Any]


@st.composite
def stacks(draw: st.DrawFn, least_side: int = 4) -> Array:
    shape = (
        draw(st.integers(least_side, 40)),
        draw(st.integers(least_side, 40)),
        draw(st.sampled_from([2, 4, 5, 7, 9])),
    )
    dtype = draw(st.sampled_from(["uint8", "uint16", "float32"]))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, shape)
    return values.astype(dtype)


def channels(stack: Array) -> list[Array]:
    return [np.ascontiguousarray(stack[..., k]) for k in range(stack.shape[2])]


@given(stack=stacks(), height=st.integers(1, 40), width=st.integers(1, 40))
def test_area_means(stack: Array, height: int, width: int) -> None:
    height, width = min(height, stack.shape[0]), min(width, stack.shape[1])
    found = area_means(stack, height, width)
    expected = np.dstack([area_means(channel, height, width) for channel in channels(stack)])
    assert found.shape == (height, width, stack.shape[2]) and found.dtype == stack.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=0 if stack.dtype == np.float32 else 1)


@given(stack=stacks())
def test_parts_are_the_whole(stack: Array) -> None:
    parts = in_parts(stack)
    assert all(2 <= part.shape[2] <= 4 and part.flags.c_contiguous for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts, axis=2), stack)


@given(stack=stacks())
def test_enlarging(stack: Array) -> None:
    shape = (stack.shape[0] * 2 + 1, stack.shape[1] * 3)
    expected = np.dstack([enlarge(channel, shape) for channel in channels(stack)])
    np.testing.assert_allclose(enlarge(stack, shape), expected, atol=1e-3 if stack.dtype == np.float32 else 1)
    out = np.empty((*shape, stack.shape[2]), stack.dtype)
    assert enlarge(stack, shape, out) is out


@given(stack=stacks(least_side=8), cubic=st.booleans(), shift=st.floats(-3, 3), angle=st.floats(-3, 3))
def test_warping(stack: Array, cubic: bool, shift: float, angle: float) -> None:
    pose = Pose(shift, -shift, angle, *stack.shape[:2])
    expected = np.dstack([warp_to_reference(channel, pose, cubic=cubic) for channel in channels(stack)])
    found = warp_to_reference(stack, pose, cubic=cubic)
    assert found.dtype == stack.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3 if stack.dtype == np.float32 else 1)


@given(stack=stacks())
@settings(max_examples=30)
def test_the_local_median(stack: Array) -> None:
    ones = np.ones(4, np.float32)
    model = LocalMedian(window=7, low=0.0, high=255.0, unit=1.0, location=0 * ones, scale=ones)
    expected = np.dstack([model.background(channel) for channel in channels(stack)])
    np.testing.assert_array_equal(model.background(stack), expected)


@given(stack=stacks())
def test_grey_is_the_mean_of_the_lights(stack: Array) -> None:
    np.testing.assert_allclose(grey(stack), stack.astype(np.float64).mean(axis=2), rtol=1e-5)
    shown = to_picture(stack, window_of(stack))
    if stack.dtype == np.uint8:
        expected = np.rint(stack.astype(np.float64).mean(axis=2))
        assert np.abs(shown[..., 0] - expected).max() <= 1
    assert shown.shape == (*stack.shape[:2], 3) and (shown[..., 0] == shown[..., 2]).all()


@given(stack=hnp.arrays("uint8", (30, 50, 6)))
@settings(max_examples=10)
def test_an_overview_is_shrunk(stack: Array) -> None:
    assert shrink_shown(stack, 20).shape == (12, 20, 6)


def test_a_part_in_five_lights_is_registered_as_in_one() -> None:
    first, second = picture(0), picture(1)
    lights = np.array([1.0, 0.8, 0.6, 0.9, 0.7])

    def lit(mono: Array) -> Array:
        return np.rint(mono[..., None] * lights).astype(np.uint8)

    alone = Registration(first).register(second)
    stacked = Registration(lit(first)).register(lit(second))
    assert (stacked.dx, stacked.dy) == pytest.approx((alone.dx, alone.dy), abs=0.1)
    assert stacked.angle == pytest.approx(alone.angle, abs=0.02)


@given(light=st.integers(0, 4), dark=st.booleans(), y=st.integers(0, 16), x=st.integers(0, 16))
def test_the_light_that_shows_a_region(light: int, dark: bool, y: int, x: int) -> None:
    good = np.full((20, 20, 5), 100, np.uint8)
    image = good.copy()
    image[y + 1, x + 2, light] = 20 if dark else 180
    image[(y + 10) % 20, (x + 10) % 20, (light + 1) % 5] = 255  # elsewhere
    shown, expected = in_telling_light(image, good, (y, x, y + 4, x + 4))
    np.testing.assert_array_equal(shown, image[..., light])
    np.testing.assert_array_equal(expected, good[..., light])


def test_mono_and_rgb_are_shown_as_they_are() -> None:
    for image in (np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3), np.uint8)):
        shown, _ = in_telling_light(image, image, (2, 2, 6, 6))
        assert shown is image
