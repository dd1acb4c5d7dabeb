"""A standardised score is 0 where good images show a peak once a megapixel and 1 where ten times rarer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.training.standardisation import BLOCK, SMALLEST_SCALE, Standardisation, block_peaks


def maps(seed: int, n: int = 40, side: int = 512) -> list[NDArray[np.float32]]:
    """Evidence of good tiles [2, side, side]: an exponential tail, and the same in other units."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        noise = rng.exponential(1.0, (side, side)).astype(np.float32)
        found.append(np.stack([noise, 1000 + 50 * noise]))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_score_is_0_once_a_megapixel_and_1_ten_times_rarer(seed: int) -> None:
    """Of an exponential, n megapixels hold a value above log(10^6 x) as often as n / x times."""
    measured = Standardisation.measure(maps(seed))
    for location, scale, zero, unit in zip(measured.location, measured.scale, (0, 1000), (1, 50), strict=True):
        assert (location - zero) / unit == pytest.approx(np.log(1e6), rel=0.06)
        assert scale / unit == pytest.approx(np.log(10), rel=0.25)


def test_units_do_not_matter() -> None:
    measured = Standardisation.measure(maps(7, n=4))
    scores = [(tile - np.array(measured.location)[:, None, None]) for tile in maps(8, n=2)]
    for score in scores:
        standard = score / np.array(measured.scale)[:, None, None]
        np.testing.assert_allclose(standard[0], standard[1], atol=1e-2)


@given(rows=st.integers(1, 100), columns=st.integers(1, 100), seed=st.integers(0, 1000))
def test_block_peaks_are_the_blocks_highest(rows: int, columns: int, seed: int) -> None:
    tile = np.random.default_rng(seed).standard_normal((2, rows, columns)).astype(np.float32)
    high, wide = min(rows, BLOCK), min(columns, BLOCK)
    expected = [
        tile[:, y : y + high, x : x + wide].max(axis=(1, 2))
        for y in range(0, rows - high + 1, high)
        for x in range(0, columns - wide + 1, wide)
    ]
    np.testing.assert_array_equal(block_peaks(tile), np.stack(expected, axis=1))


@pytest.mark.parametrize("value", [0.0, 3.0, -70.0])
def test_evidence_that_never_varies(value: float) -> None:
    measured = Standardisation.measure([np.full((2, 100, 100), value, np.float32)])
    assert measured.scale == pytest.approx((SMALLEST_SCALE, SMALLEST_SCALE))
    assert measured.location == pytest.approx((value, value), abs=0.05)


@given(side=st.integers(1, 40))
def test_a_handful_of_pixels_gives_finite_numbers(side: int) -> None:
    few = np.random.default_rng(1).standard_normal((3, side, side)).astype(np.float32)
    measured = Standardisation.measure([few])
    assert np.isfinite(measured.location + measured.scale).all()
    assert min(measured.scale) > 0


def tail(rng: np.random.Generator, below: float, above: float, corner: float) -> NDArray[np.float32]:
    """Peaks of one block each that fall off by 1 / `below` decades a unit up to `corner`, by 1 / `above` beyond it."""
    decades = -np.log10(rng.random((160, 160)))
    scores = np.where(decades < corner, decades * below, corner * below + (decades - corner) * above)
    return np.repeat(np.repeat(scores, BLOCK, 0), BLOCK, 1).astype(np.float32)[None]


@pytest.mark.parametrize(("above", "heavy"), [(4.0, True), (4.0, False), (0.3, False)])
def test_a_bent_line_gives_back_how_rare_a_peak_is(above: float, heavy: bool) -> None:
    """Of the blocks a share of 10 ** -decades reaches x; a block is 32 * 32 / 10^6 megapixels."""
    evidence = tail(np.random.default_rng(5), 1.0, above, 2.0)
    measured = Standardisation.measure_bent([evidence], (heavy,))
    decades = np.array([0.7, 1.5, 2.0, 2.5, 3.2])
    x = np.where(decades < 2, decades, 2.0 + (decades - 2) * above)
    z = (x - measured.location[0]) / measured.scale[0]
    score = measured.height[0] + np.where(z > 0, z, measured.below[0] * z)
    np.testing.assert_allclose(score, decades + np.log10(BLOCK**2 / 1e6), atol=0.15)


def test_a_heavy_map_never_bends_up() -> None:
    evidence = tail(np.random.default_rng(6), 1.0, 0.3, 2.0)
    assert Standardisation.measure_bent([evidence], (True,)).below[0] == pytest.approx(1.0)
    assert Standardisation.measure_bent([evidence], (False,)).below[0] < 0.5


@given(side=st.integers(1, 200), value=st.sampled_from([None, 0.0, -70.0]))
def test_a_bent_line_of_few_or_equal_peaks_is_finite_and_rises(side: int, value: float | None) -> None:
    few = np.random.default_rng(1).standard_normal((2, side, side)).astype(np.float32)
    if value is not None:
        few[:] = value
    measured = Standardisation.measure_bent([few], (False, True))
    for values in (measured.location, measured.scale, measured.below, measured.height):
        assert len(values) == 2 and np.isfinite(values).all()
    assert min(measured.scale) > 0 and min(measured.below) > 0
