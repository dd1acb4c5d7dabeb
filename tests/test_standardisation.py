"""Standardised evidence is 0 where good pixels are ordinary and 1 where they are rare, whatever the map measures."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from flawmap.training.standardisation import ORDINARY, RARE, SMALLEST_SCALE, Standardisation

N = 2_000_000


@pytest.fixture(scope="module")
def evidence() -> NDArray[np.float32]:
    """A light tail, a heavy one and a bounded one, in units that have nothing in common."""
    rng = np.random.default_rng(0)
    rows = [rng.exponential(2.0, N), 1000 + 50 * rng.pareto(4.0, N), rng.uniform(-7, 9, N)]
    return np.stack(rows).astype(np.float32)


def test_a_score_is_0_and_1_where_promised(evidence: NDArray[np.float32]) -> None:
    measured = Standardisation.measure(evidence)
    scores = (evidence - np.array(measured.location)[:, None]) / np.array(measured.scale)[:, None]
    for row in scores:
        assert np.sum(row > 0) == pytest.approx(N * (1 - ORDINARY), rel=0.01)
        assert np.sum(row > 1) == pytest.approx(N * (1 - RARE), abs=2)


def test_the_quantiles_are_the_distributions(evidence: NDArray[np.float32]) -> None:
    measured = Standardisation.measure(evidence)
    assert measured.location[0] == pytest.approx(stats.expon.ppf(ORDINARY, scale=2), rel=0.02)
    assert measured.location[2] == pytest.approx(stats.uniform.ppf(ORDINARY, -7, 16), rel=0.01)
    rare = np.array(measured.location) + np.array(measured.scale)
    assert rare[0] == pytest.approx(stats.expon.ppf(RARE, scale=2), rel=0.15)
    assert rare[2] == pytest.approx(9, rel=0.01)


@pytest.mark.parametrize("value", [0.0, 3.0, -70.0])
def test_evidence_that_never_varies(value: float) -> None:
    measured = Standardisation.measure(np.full((2, 1000), value, np.float32))
    assert measured.location == (value, value)
    assert measured.scale == pytest.approx((SMALLEST_SCALE, SMALLEST_SCALE))


def test_a_handful_of_pixels_gives_finite_numbers() -> None:
    few = np.random.default_rng(1).standard_normal((3, 7)).astype(np.float32)
    measured = Standardisation.measure(few)
    assert np.isfinite(measured.location + measured.scale).all()
    assert min(measured.scale) > 0
