"""Poses and warping, against complex numbers and scikit-image."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.transform import warp

from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.warp import (
    columns_in_reference,
    warp_to_image,
    warp_to_reference,
)


@st.composite
def poses(draw: st.DrawFn, largest_side: int = 60) -> Pose:
    height, width = draw(st.integers(8, largest_side)), draw(st.integers(8, largest_side))
    near = st.floats(-5, 5)
    return Pose(draw(near), draw(near), draw(st.floats(-4, 4)), height, width)


def moved(pose: Pose, x: float, y: float) -> complex:
    """Where the reference's (x, y) lies in the image: y points down, so a turn to the left is a negative angle."""
    centre = complex((pose.width - 1) / 2, (pose.height - 1) / 2)
    return (complex(x, y) - centre) * np.exp(-1j * np.radians(pose.angle)) + centre + complex(pose.dx, pose.dy)


@given(pose=poses(), x=st.floats(-100, 5000), y=st.floats(-100, 5000))
def test_matrices_turn_about_the_centre_and_undo_one_another(pose: Pose, x: float, y: float) -> None:
    there = pose.to_image @ (x, y, 1)
    np.testing.assert_allclose(complex(*there), moved(pose, x, y), atol=1e-6)
    np.testing.assert_allclose(pose.to_reference @ (*there, 1), (x, y), atol=1e-6)


@given(pose=poses(), other=poses(), x=st.floats(-100, 100), y=st.floats(-100, 100))
def test_composition(pose: Pose, other: Pose, x: float, y: float) -> None:
    first = Pose(other.dy, other.dx, other.angle, pose.height, pose.width)
    between = moved(first, x, y)
    expected = moved(pose, between.real, between.imag)
    np.testing.assert_allclose(complex(*(pose.after(first).to_image @ (x, y, 1))), expected, atol=1e-6)
    at_home = Pose(0, 0, 0, pose.height, pose.width)
    assert pose.after(pose.inverse()).farthest(at_home) < 1e-9
    assert pose.inverse().after(pose).farthest(at_home) < 1e-9


@given(pose=poses(), factor=st.integers(1, 20), x=st.floats(0, 100), y=st.floats(0, 100))
def test_pose_of_shrunk_pictures(pose: Pose, factor: int, x: float, y: float) -> None:
    middle = (factor - 1) / 2
    there = moved(pose, factor * x + middle, factor * y + middle)
    expected = (there - complex(middle, middle)) / factor
    np.testing.assert_allclose(complex(*(pose.at_factor(factor) @ (x, y, 1))), expected, atol=1e-6)


def test_farthest_is_the_way_of_the_corner_that_moves_most() -> None:
    at_home = Pose(0, 0, 0, 41, 31)
    assert Pose(3, -4, 0, 41, 31).farthest(at_home) == 5
    turned = Pose(0, 0, 180, 41, 31)  # every corner moves by the diagonal
    assert abs(turned.farthest(at_home) - 50) < 1e-9


@settings(max_examples=30)
@given(pose=poses(200), dtype=st.sampled_from(["uint8", "uint16", "float32"]), seed=st.integers(0, 99))
def test_warp_is_that_of_scikit_image(pose: Pose, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (5, 5))
    rows, columns = np.linspace(0, 4, pose.height), np.linspace(0, 4, pose.width)
    picture = warp(coarse, np.array(np.meshgrid(rows, columns, indexing="ij")), order=3, mode="reflect").astype(dtype)
    # 1/32 px: how finely OpenCV divides a pixel.
    slope = max(float(np.abs(np.diff(picture.astype(float), axis=axis)).max()) for axis in (0, 1))
    for ours, matrix, covered in (
        (warp_to_image(picture, pose), pose.to_reference, within(pose, pose.to_reference) >= -1e-6),
        (warp_to_reference(picture, pose), pose.to_image, within(pose, pose.to_image) >= -1e-6),
    ):
        theirs = warp(picture.astype(float), np.vstack([matrix, (0, 0, 1)]), order=1, mode="reflect")
        assert ours.dtype == picture.dtype
        np.testing.assert_allclose(ours[covered], theirs[covered], atol=slope / 16 + 1.01)


def within(pose: Pose, source: NDArray[np.float64]) -> NDArray[np.float64]:
    """[H, W]: how far from the border of the other picture each pixel comes from; below 0 it lies beyond."""
    y, x = np.indices((pose.height, pose.width))
    there = source @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    inside = np.minimum(there, np.array([[pose.width - 1], [pose.height - 1]]) - there).min(0)
    return inside.reshape(pose.height, pose.width)


@given(pose=poses())
def test_the_columns_of_a_row_are_those_that_the_image_holds(pose: Pose) -> None:
    first, end = columns_in_reference(pose)
    column = np.arange(pose.width)
    ours = (first[:, None] <= column) & (column < end[:, None])
    inside = within(pose, pose.to_image)
    clear = np.abs(inside) > 1e-5  # within rounding of the border, either answer is right
    np.testing.assert_array_equal(ours[clear], (inside > 0)[clear])


@given(pose=poses(), cubic=st.booleans(), data=st.data())
def test_some_rows_are_those_of_the_whole(pose: Pose, cubic: bool, data: st.DataObject) -> None:
    y0 = data.draw(st.integers(0, pose.height - 1))
    y1 = data.draw(st.integers(y0 + 1, pose.height))
    picture = np.random.default_rng(0).integers(0, 256, (pose.height, pose.width, 3), np.uint8)
    for make in (warp_to_image, warp_to_reference):
        whole, some = make(picture, pose, cubic=cubic), make(picture, pose, (y0, y1), cubic=cubic)
        apart = np.abs(whole[y0:y1].astype(int) - some)
        # A coordinate on the edge between two 1/32 px may fall either way.
        assert np.quantile(apart, 0.9) <= 1 and apart.max() <= 20
    for whole, some in zip(columns_in_reference(pose), columns_in_reference(pose, (y0, y1)), strict=True):
        np.testing.assert_array_equal(whole[y0:y1], some)
