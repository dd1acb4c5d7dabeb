"""The hit/miss curve against a general optimiser, brute force, and simulated experiments whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats

from flawmap.inspect.detection_limit.logistic import ONE_SIDED_95, fit, wilson

SIZES = np.array([3, 5, 7, 11, 17, 27, 41, 64], float)
counts = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=8, max_size=8).filter(
    lambda rows: sum(hit + miss for hit, miss in rows) >= 4 and sum(hit + miss > 0 for hit, miss in rows) >= 2
)


def penalised_loss(beta: NDArray, rows: list[tuple[float, float]]) -> float:
    """Minus the log-likelihood plus that of one hit and one miss that every trial shares equally."""
    total = sum(hit + miss for hit, miss in rows)
    loss = 0.0
    for size, (hit, miss) in zip(SIZES, rows, strict=True):
        share = (hit + miss) / total
        log_odds = beta[0] + beta[1] * np.log(size)
        loss += (hit + share) * np.logaddexp(0, -log_odds) + (miss + share) * np.logaddexp(0, log_odds)
    return float(loss)


def fitted(rows: list[tuple[int, int]]):
    tried = np.array([hit + miss for hit, miss in rows], float)
    used = tried > 0
    return fit(SIZES[used], np.array([hit for hit, _ in rows], float)[used], tried[used])


@settings(max_examples=30, deadline=None)
@given(rows=counts)
def test_the_curve_is_the_optimisers(rows: list[tuple[int, int]]) -> None:
    curve = fitted(rows)
    best = optimize.minimize(penalised_loss, [0.0, 0.0], args=(rows,), method="Nelder-Mead", options={
        "xatol": 1e-9, "fatol": 1e-12, "maxiter": 6000, "maxfev": 6000,
    })  # fmt: skip
    assert penalised_loss(np.array([curve.intercept, curve.slope]), rows) <= best.fun + 1e-7
    assert np.isfinite([curve.intercept, curve.slope]).all()


@settings(max_examples=25, deadline=None)
@given(rows=counts, size=st.sampled_from([3.0, 4.0, 10.0, 30.0, 64.0]), log_odds=st.floats(-6, 6))
def test_deviance_is_twice_the_likelihood_lost(rows: list[tuple[int, int]], size: float, log_odds: float) -> None:
    """The slope by a one-dimensional search over a curve that is held at one point."""
    curve = fitted(rows)

    def held(slope: float) -> float:
        return penalised_loss(np.array([log_odds - slope * np.log(size), slope]), rows)

    best = min(optimize.minimize_scalar(held, bounds=b, method="bounded", options={"xatol": 1e-10}).fun
               for b in ((-300, 0), (-20, 20), (0, 300)))  # fmt: skip
    expected = 2 * (best - penalised_loss(np.array([curve.intercept, curve.slope]), rows))
    found = curve.deviance(np.array([size]), np.array([log_odds]))[0]
    assert found == pytest.approx(max(expected, 0), abs=1e-4, rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(rows=counts)
def test_bounds_lie_where_the_deviance_is_that_of_one_sided_95(rows: list[tuple[int, int]]) -> None:
    """At the sizes that were tried and between them."""
    curve = fitted(rows)
    tried = np.exp(curve.log_x)
    sizes = SIZES[(tried.min() - 1e-9 <= SIZES) & (tried.max() + 1e-9 >= SIZES)]
    low, high = curve.bounds(sizes)
    middle = curve.probability(sizes)
    assert (low <= middle).all() and (middle <= high).all()
    for bound in (low, high):
        inside = (bound > 1e-6) & (bound < 1 - 1e-6)
        log_odds = np.log(bound[inside] / (1 - bound[inside]))
        np.testing.assert_allclose(curve.deviance(sizes[inside], log_odds), ONE_SIDED_95, rtol=2e-3)
    for probability in (0.3, 0.9):
        surely = curve.surely_above(sizes, probability)
        clear = np.abs(low - probability) > 1e-4
        assert (surely == (low >= probability))[clear].all()


def test_the_level_is_that_of_a_chi_square() -> None:
    assert pytest.approx(stats.chi2.ppf(0.90, 1), abs=1e-3) == ONE_SIDED_95


def test_data_that_separate_give_a_finite_curve() -> None:
    """Nothing below 10 px, everything above: the plain maximum is an infinitely steep step."""
    curve = fit(SIZES, np.where(SIZES > 10, 5.0, 0.0), np.full(8, 5.0))
    low, _ = curve.bounds(SIZES)
    assert 3 < curve.slope < 30
    assert curve.probability(np.array([7.0]))[0] < 0.3 < 0.7 < curve.probability(np.array([11.0]))[0]
    assert low[-1] > 0.9


@pytest.mark.parametrize("found", [0, 5])
def test_all_alike_gives_a_flat_curve(found: int) -> None:
    curve = fit(SIZES, np.full(8, float(found)), np.full(8, 5.0))
    assert curve.slope == pytest.approx(0, abs=1e-9)
    assert curve.probability(SIZES) == pytest.approx((8 * found + 1) / 42)  # one hit and one miss beside the 40


def test_one_size_makes_no_curve() -> None:
    with pytest.raises(ValueError, match=r"`x` \(=\[5.0, 5.0\]\) must hold at least two sizes"):
        fit(np.array([5.0, 5.0]), np.array([1.0, 2.0]), np.array([3.0, 3.0]))


def test_the_bound_covers_the_truth_as_often_as_it_says() -> None:
    """300 experiments on a known curve: the true size of 90 % lies at or below the 95 % limit in 95 of 100."""
    rng = np.random.default_rng(5)
    truth = 1 / (1 + np.exp(-(-6 + 2.6 * np.log(SIZES))))
    size_90 = np.exp((6 + np.log(9)) / 2.6)
    grid = np.array([size_90])
    too_good = 0
    for _ in range(300):
        curve = fit(SIZES, rng.binomial(6, truth).astype(float), np.full(8, 6.0))
        too_good += bool(curve.surely_above(grid, 0.9 + 1e-9)[0])  # the limit promises more than is true
    assert 0.01 <= too_good / 300 <= 0.08


@given(trials=st.integers(1, 200), share=st.floats(0, 1))
def test_wilson_is_where_the_score_test_just_accepts(trials: int, share: float) -> None:
    hits = round(share * trials)
    low, high = wilson(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1
    for bound in (low, high):
        if 1e-9 < bound < 1 - 1e-9:
            score = abs(hits / trials - bound) / np.sqrt(bound * (1 - bound) / trials)
            assert score == pytest.approx(1.96, rel=1e-6)
