"""What a shift and a turn leave over: panels that lie beside their place are found there, defects are not explained."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.grid import Box
from flawmap.tiling.registration.local import SMALL, LocalShifts, measure_local_shifts, warp_displaced
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.reference import build_reference
from flawmap.tiling.registration.warp import warp_box
from tests.layouts import as_dtype, board_scene

SIDE = 960
PANEL = np.s_[320:640, 320:640]
INNER = np.s_[12:18, 12:18]  # small blocks that lie inside the panel with their margins
HOME = Pose(0, 0, 0, SIDE, SIDE).to_reference


def board(seed: int = 3) -> NDArray[np.uint8]:
    return np.ascontiguousarray(as_dtype(board_scene(SIDE, seed), "uint8")[:SIDE, :SIDE])


def with_panel_at(picture: NDArray[np.uint8], dy: float, dx: float, corner: int = 320) -> NDArray[np.uint8]:
    """The panel of 320 px whose corner that is, the middle one, shows what lies (dy, dx) px beside its place."""
    moved, far = picture.copy(), corner + 320
    moved[corner:far, corner:far] = warp_box(picture, HOME, Box(corner, corner, far, far), dy, dx)
    return moved


def wrong(image: NDArray[np.uint8], shown: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.abs(image.astype(int) - shown.astype(int)) > 60


@pytest.mark.parametrize(("dy", "dx"), [(3, -5), (-9, 2), (0, 12), (4.5, 2.5)])
def test_a_panel_beside_its_place_is_found_there(dy: float, dx: float) -> None:
    reference = board()
    image = with_panel_at(reference, dy, dx)
    local = measure_local_shifts(reference, image, 12)
    np.testing.assert_allclose(np.median(local.shifts[INNER].reshape(-1, 2), axis=0), (dy, dx), atol=0.2)
    outside = np.ones(local.shifts.shape[:2], bool)
    outside[9:21, 9:21] = False
    assert not local.shifts[outside].any()
    assert local.largest == pytest.approx(np.hypot(dy, dx), abs=0.5)


def test_the_context_follows_a_panel() -> None:
    reference = board()
    image = with_panel_at(reference, -6, 7)
    context = ContextMap.of(reference, np.zeros((SIDE, SIDE), np.float32))
    rigid = context.seen_by(HOME)
    seen, local = context.laid_on(image, HOME, 12)

    assert wrong(image, seen[..., 0]).sum() < 0.1 * wrong(image, rigid[..., 0]).sum()
    # A tile of the context is what the whole shows, beyond its border too.
    np.testing.assert_array_equal(context.tile(HOME, 0, "replicate", 300, 310, 128, 96, local), seen[300:428, 310:406])
    padded = np.pad(seen, ((16, 16), (16, 16), (0, 0)), mode="edge")
    np.testing.assert_array_equal(context.tile(HOME, 16, "replicate", 0, 330, 64, 64, local), padded[:64, 330:394])


@pytest.mark.parametrize(("dy", "dx"), [(-8, -9), (7, -9), (5, 8)])
@pytest.mark.parametrize("corner", [0, 640])
def test_a_panel_at_the_pictures_border_is_found(dy: float, dx: float, corner: int) -> None:
    """There is less of the reference to look for it in."""
    reference = board()
    image = with_panel_at(reference, dy, dx, corner)
    local = measure_local_shifts(reference, image, 12)
    blocks = slice(corner // SMALL + 1, corner // SMALL + 9)
    found = local.shifts[blocks, blocks].reshape(-1, 2)
    np.testing.assert_allclose(np.median(found, axis=0), (dy, dx), atol=0.2)
    assert (np.abs(found - (dy, dx)).max(axis=1) < 0.5).mean() > 0.7  # a block may show nothing that could be moved


@pytest.mark.parametrize(("dy", "dx"), [(0, -9), (5, -9), (0, 9), (5, 9)])
def test_a_panel_of_few_edges_is_found_up_to_its_seam(dy: int, dx: int) -> None:
    """One edge beside the picture's border, where there is less to look for it in; one strip that the seam cuts."""
    reference = board()
    panel = reference[:640, :640]
    panel[:] = 220
    panel[100:540, 67:500] = panel[:, 628:640] = 40
    image = reference.copy()
    image[:640, :640] = warp_box(reference, HOME, Box(0, 0, 640, 640), dy, dx)
    rng = np.random.default_rng(2)
    noisy = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
    context = ContextMap.of(reference, np.zeros((SIDE, SIDE), np.float32))
    seen = context.laid_on(noisy, HOME, 12)[0][..., 0]
    assert wrong(noisy, seen).sum() < 0.05 * wrong(noisy, reference).sum()


@settings(max_examples=10, deadline=None)
@given(y=st.integers(340, 600), x=st.integers(340, 600), size=st.integers(5, 24), level=st.sampled_from([0, 255]))
def test_a_defect_on_a_displaced_panel_is_not_explained_away(y: int, x: int, size: int, level: int) -> None:
    reference = board()
    moved = with_panel_at(reference, -6, 7)
    image = moved.copy()
    image[y : y + size, x : x + size] = level
    context = ContextMap.of(reference, np.zeros((SIDE, SIDE), np.float32))
    seen = context.laid_on(image, HOME, 12)[0][..., 0]
    defect = wrong(image, moved)
    assert wrong(image, seen)[defect].sum() >= 0.9 * defect.sum()


def test_nothing_is_found_where_the_pose_fits() -> None:
    rng = np.random.default_rng(0)
    reference = board()
    noisy = np.clip(reference + rng.normal(0, 4, reference.shape), 0, 255).astype(np.uint8)
    assert not measure_local_shifts(reference, noisy, 12)
    assert not measure_local_shifts(reference, with_panel_at(reference, 5, 5), 0)  # not looked for
    assert measure_local_shifts(np.zeros((100, 90), np.uint8), np.zeros((100, 90), np.uint8), 12).largest == 0  # small


@settings(max_examples=12, deadline=None)
@given(y=st.integers(100, 800), x=st.integers(100, 800), size=st.integers(3, 40), level=st.sampled_from([0, 128, 255]))
def test_a_defect_is_not_explained_away(y: int, x: int, size: int, level: int) -> None:
    reference = board()
    image = reference.copy()
    image[y : y + size, x : x + size] = level
    assert not measure_local_shifts(reference, image, 12)


@settings(max_examples=60)
@given(seed=st.integers(0, 999), y=st.integers(0, 90), x=st.integers(0, 90), height=st.integers(1, 99))
def test_displaced_blocks_within_a_box(seed: int, y: int, x: int, height: int) -> None:
    """Pixel by pixel: what `warp_displaced` writes is each displaced block's own, everything else stays."""
    rng = np.random.default_rng(seed)
    shifts = rng.integers(-3, 4, (7, 7, 2)).astype(np.float32) * (rng.random((7, 7, 1)) < 0.3)
    local = LocalShifts(shifts)
    plane = rng.random((7 * SMALL + 20, 7 * SMALL + 20))  # 10 px around the picture

    def warp(box: tuple[int, int, int, int], dy: float, dx: float) -> NDArray[np.float64]:
        y0, x0, y1, x1 = box
        return np.asarray(plane[y0 + int(dy) + 10 : y1 + int(dy) + 10, x0 + int(dx) + 10 : x1 + int(dx) + 10])

    out = plane[y + 10 : y + 10 + height, x + 10 : x + 10 + 50].copy()
    warp_displaced(out, y, x, local, warp)
    for row in range(0, height, 7):
        for column in range(0, 50, 7):
            dy, dx = shifts[(y + row) // SMALL, (x + column) // SMALL].astype(int)
            assert out[row, column] == plane[y + row + 10 + dy, x + column + 10 + dx]


def test_the_reference_of_panels_that_lie_differently_is_sharp() -> None:
    """Four of nine pictures show the panel 6 px off: averaged where they lie, its edges would be seen twice."""
    reference = board()
    rng = np.random.default_rng(1)
    pictures = []
    for number in range(9):
        picture = with_panel_at(reference, 0, 6) if number % 2 else reference
        pictures.append(np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8))
    names = [str(n) for n in range(9)]
    rigid = build_reference(names, lambda name: pictures[int(name)])
    local = build_reference(names, lambda name: pictures[int(name)], reach=12)
    inside = np.s_[360:600, 360:600]
    assert local.spread[inside].mean() < 0.5 * rigid.spread[inside].mean()
