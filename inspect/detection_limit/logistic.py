"""The logistic curve of found or not found over a logarithm, with confidence bounds: hit/miss analysis.

After MIL-HDBK-1823A, Nondestructive Evaluation System Reliability Assessment (2009): log-odds of finding
grow linearly with log size, maximum likelihood, bounds by the likelihood ratio. Data in which every defect above some
size is found and none below has no finite maximum; the conjugate penalty of Rigon and Aliverti (Conjugate priors and
bias reduction for logistic regression models, 2023), close to Firth's (1993), gives one: it adds to the experiment one
hit and one miss, spread evenly over all that was tried.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

PARAMETERS = 2
ONE_SIDED_95 = 2.7055  # chi-square, one degree of freedom, 90 %: 5 % on each side
NEWTON_STEPS = 60
CONVERGED = 1e-10
BISECTIONS = 26
STEEPEST = 1e3  # log-odds a log unit
FARTHEST = 60.0  # log-odds a bound may lie from the curve


@dataclass(frozen=True)
class LogisticCurve:
    """`log-odds(x) = intercept + slope * log(x)`, and the data it came from."""

    intercept: float
    slope: float
    log_x: Values  # [k], distinct
    hits: Values  # [k], with the penalty's share
    trials: Values  # [k], likewise

    def probability(self, x: Values) -> Values:
        """Of being found, at sizes or contrasts `x` of any shape."""
        return _sigmoid(self._log_odds(x))

    def bounds(self, x: Values) -> tuple[Values, Values]:
        """One-sided 95 % confidence bounds on `probability(x)`, lower and upper; `x` [n]."""
        middle = self._log_odds(x)
        limits = []
        for sign in (-1.0, 1.0):
            inside, outside = np.zeros_like(middle), np.full_like(middle, FARTHEST)
            for _ in range(BISECTIONS):
                between = (inside + outside) / 2
                fits = self.deviance(x, middle + sign * between) <= ONE_SIDED_95
                inside, outside = np.where(fits, between, inside), np.where(fits, outside, between)
            limits.append(_sigmoid(middle + sign * inside))
        return limits[0], limits[1]

    def surely_above(self, x: Values, probability: float) -> NDArray[np.bool_]:
        """Whether the lower bound at each of `x` [n] is at least `probability`."""
        log_odds = float(np.log(probability / (1 - probability)))
        above = self._log_odds(x) >= log_odds
        return np.asarray(above & (self.deviance(x, np.full(x.shape, log_odds)) >= ONE_SIDED_95), np.bool_)

    def deviance(self, x: Values, log_odds: Values) -> Values:
        """Twice the likelihood lost when the curve is made to pass through `log_odds` at each of `x` [n]."""
        distance = self.log_x[None, :] - np.log(x)[:, None]  # [n, k]
        slope = np.full(x.shape, self.slope)
        low, high = np.full(x.shape, -STEEPEST), np.full(x.shape, STEEPEST)
        for _ in range(NEWTON_STEPS):
            probability = _sigmoid(log_odds[:, None] + slope[:, None] * distance)
            gradient = ((self.hits - self.trials * probability) * distance).sum(axis=1)
            curvature = (self.trials * probability * (1 - probability) * distance**2).sum(axis=1)
            # Newton's step where it stays between the slopes known to be too small and too large, else their middle.
            low, high = np.where(gradient > 0, slope, low), np.where(gradient > 0, high, slope)
            better = slope + gradient / np.maximum(curvature, 1e-12)
            better = np.where((better >= low) & (better <= high), better, (low + high) / 2)
            converged = np.abs(better - slope).max() < CONVERGED
            slope = better
            if converged:
                break
        best = _log_likelihood(self.hits, self.trials, self.intercept + self.slope * self.log_x)
        held = _log_likelihood(self.hits, self.trials, log_odds[:, None] + slope[:, None] * distance)
        return np.asarray(np.maximum(2 * (best - held), 0), np.float64)

    def _log_odds(self, x: Values) -> Values:
        return np.asarray(self.intercept + self.slope * np.log(x), np.float64)


def fit(x: Values, hits: Values, trials: Values) -> LogisticCurve:
    """The most likely curve through `hits[i]` of `trials[i]` found at size or contrast `x[i]`; all [k], k >= 2.

    Newton's method; the penalty keeps the maximum finite. ValueError for fewer than two distinct `x`.
    """
    if len(np.unique(x)) < 2:
        raise ValueError(f"`x` (={x.tolist()}) must hold at least two sizes: one does not make a curve")
    log_x = np.log(x)
    share = PARAMETERS / trials.sum()
    hits, trials = hits + trials * share / 2, trials * (1 + share)
    centre = np.average(log_x, weights=trials)
    design = np.stack([np.ones_like(log_x), log_x - centre], axis=1)
    odds = hits.sum() / (trials.sum() - hits.sum())
    beta = np.array([np.log(odds), 0.0])
    likelihood = _log_likelihood(hits, trials, design @ beta)
    for _ in range(NEWTON_STEPS):
        probability = _sigmoid(design @ beta)
        gradient = design.T @ (hits - trials * probability)
        information = design.T @ (design * (trials * probability * (1 - probability))[:, None])
        step = np.linalg.solve(information, gradient)
        while (better := _log_likelihood(hits, trials, design @ (beta + step))) < likelihood - 1e-12:
            step = step / 2
        beta, likelihood = beta + step, better
        if np.abs(step).max() < CONVERGED:
            break
    return LogisticCurve(float(beta[0] - beta[1] * centre), float(beta[1]), log_x, hits, trials)


def wilson(hits: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Two-sided 95 % interval of a share (Wilson 1927); `trials` > 0."""
    share = hits / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return float(middle - half) if hits else 0.0, float(middle + half) if hits < trials else 1.0


def _sigmoid(log_odds: Values) -> Values:
    return np.asarray(0.5 * (1 + np.tanh(log_odds / 2)), np.float64)  # never overflows


def _log_likelihood(hits: Values, trials: Values, log_odds: Values) -> Values:
    """Summed over the last axis."""
    return np.asarray((hits * log_odds - trials * np.logaddexp(0, log_odds)).sum(axis=-1), np.float64)
