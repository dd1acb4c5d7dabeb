"""Look maps move with the part, and are seen beyond the border as images are."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.look_map import EVERYWHERE, LookMap, WhereToLook
from flawmap.tiling.padding import BORDER_TYPES, Padding
from flawmap.tiling.registration.pose import Pose

HEIGHT, WIDTH = 60, 80


def some_look(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    look = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value in (1, 1, 2, 3):
        y, x = rng.integers(0, HEIGHT - 20), rng.integers(0, WIDTH - 30)
        look[y : y + rng.integers(4, 20), x : x + rng.integers(4, 30)] = value
    return look


def poses() -> st.SearchStrategy[Pose]:
    shift = st.floats(-6, 6)
    return st.builds(Pose, shift, shift, st.floats(-2, 2), st.just(HEIGHT), st.just(WIDTH))


@settings(max_examples=40)
@given(seed=st.integers(0, 1000), pose=poses())
def test_the_look_moves_with_the_part(seed: int, pose: Pose) -> None:
    """Against a pixel by pixel lookup by complex numbers; ties of rounding apart."""
    look = some_look(seed)
    found = LookMap(look).seen_by(pose.to_reference)
    y, x = np.indices(look.shape)
    centre = complex((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    source = (x + 1j * y - centre - complex(pose.dx, pose.dy)) * np.exp(1j * np.radians(pose.angle)) + centre
    column, row = source.real, source.imag
    clear = (np.abs(column % 1 - 0.5) > 0.07) & (np.abs(row % 1 - 0.5) > 0.07)  # OpenCV rounds to 1/32 px first
    nearest = look[np.clip(np.rint(row), 0, HEIGHT - 1).astype(int), np.clip(np.rint(column), 0, WIDTH - 1).astype(int)]
    np.testing.assert_array_equal(found[clear], nearest[clear])
    assert clear.mean() > 0.4 or abs(pose.angle) < 0.5


@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    pose=st.none() | poses(),
    padding=st.sampled_from(sorted(BORDER_TYPES)),
    y=st.integers(0, 60),
    x=st.integers(0, 70),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
)
def test_a_tile_of_the_look_is_cut_from_the_padded_look(
    seed: int, pose: Pose | None, padding: Padding, y: int, x: int, height: int, width: int
) -> None:
    look_map = LookMap(some_look(seed))
    matrix = None if pose is None else pose.to_reference
    grid = TileGrid(HEIGHT, WIDTH, 32, 0, multiple=4, border=12, padding=padding)
    padded = grid.pad(look_map.seen_by(matrix))
    tile = look_map.tile(matrix, 12, padding, y, x, height, width)
    expected = padded[y : y + height, x : x + width]
    # A moved tile is computed from another corner: OpenCV's fixed point may round a border pixel the other way.
    assert (tile != expected).mean() <= (0 if pose is None else 0.05)


def test_a_map_of_shrunk_images() -> None:
    look = some_look(3)
    half = LookMap(look).shrunk(40)
    assert half.shape == (30, 40)
    assert set(np.unique(half.pixels)) <= set(np.unique(look))
    assert LookMap(look).shrunk(None).pixels is look and LookMap(look).shrunk(80).pixels is look


def test_digests_tell_what_counts() -> None:
    one, other = LookMap(some_look(1)), LookMap(some_look(2))
    assert one.digest == LookMap(some_look(1)).digest != other.digest
    assert LookMap(np.zeros((2, 3), np.uint8)).digest != LookMap(np.zeros((3, 2), np.uint8)).digest
    said = [EVERYWHERE, WhereToLook(one), WhereToLook(other), WhereToLook(plain_background=True)]
    assert EVERYWHERE.digest == ""
    assert len({where.digest for where in said}) == len(said)
