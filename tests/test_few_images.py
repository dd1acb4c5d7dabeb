"""The benchmark of calibrations from few images: which choices it makes, and what it takes for found."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.few_images import Defective, choices, judged, near_defect
from flawmap.inspect.calibration.calibrate import Seen
from flawmap.inspect.calibration.hot_pixels import HotPixels
from flawmap.inspect.true_defects import NEAR, TrueDefect
from tests.bundles import calibration


@given(n_images=st.integers(1, 12), n=st.integers(1, 12), most=st.integers(1, 100))
def test_choices_are_all_or_so_many(n_images: int, n: int, most: int) -> None:
    n = min(n, n_images)
    made = choices(n_images, n, most)
    assert all(len(set(chosen)) == n and set(chosen) <= set(range(n_images)) for chosen in made)
    possible = math.comb(n_images, n)
    assert len(made) == (possible if possible <= most else most)
    assert possible > most or len({tuple(sorted(chosen)) for chosen in made}) == possible


@given(seed=st.integers(0, 999))
def test_near_is_within_three_px_of_the_defect(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.random((3, 5)) < 0.3
    pixels[1, 2] = True
    y0, x0 = rng.integers(0, 18, 2).tolist()
    defect = TrueDefect(y0, x0, y0 + 3, x0 + 5, int(pixels.sum()), pixels)
    hot = HotPixels.of(rng.random((20, 24)).astype(np.float32))
    places = np.argwhere(pixels) + np.array([y0, x0])
    at = np.stack(np.divmod(hot.indices, 24), axis=1)
    distances = np.abs(at[:, None] - places).max(axis=2).min(axis=1)
    np.testing.assert_array_equal(near_defect(hot, defect), np.flatnonzero(distances <= NEAR))


def test_false_regions_and_found_defects_are_counted_at_the_rate_that_is_allowed() -> None:
    known = calibration()
    ng = known.score_at(-math.log10(0.1))
    low, high = np.full((40, 40), known.grow - 1, np.float32), np.full((40, 40), known.grow - 1, np.float32)
    high[5, 5] = high[30, 30] = ng + 0.01
    low[20, 20] = ng - 0.01
    hot = HotPixels.of(high)
    defects = [TrueDefect(y, y, y + 1, y + 1, 1, np.ones((1, 1), bool)) for y in (8, 20)]
    image = Defective(hot, [near_defect(hot, defect) for defect in defects])
    assert judged(known, [Seen.of(high), Seen.of(low)], [image], 0.1) == (1.0, 0.5)
