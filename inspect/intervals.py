"""95 % intervals of what people counted.

A share of n independent cases, k of which count (Wilson, "Probable inference, the law of succession, and statistical
inference", Journal of the American Statistical Association 22 (1927), 209-212), z the normal quantile:

    (k + z²/2 ± z sqrt(k (n - k) / n + z²/4)) / (n + z²)

A rate of k rare events over n images, exact (Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28
(1936), 437-442): the lowest mean under which k or more events have a chance of 2.5 %, the highest under which k or
fewer have it, over n. In terms of chi-squared quantiles q: q(0.025; 2k) / 2n to q(0.975; 2k + 2) / 2n.
"""

import math

from pydantic import BaseModel, ConfigDict

TAIL = 0.025  # beyond either end
NORMAL = 1.959963984540054  # quantile of 1 - TAIL
STEPS = 70  # of halving: a double has no more bits


class Estimate(BaseModel):
    """`count` of `of`, and between which bounds the true figure lies, 19 times out of 20."""

    model_config = ConfigDict(extra="forbid")

    count: int
    of: int
    value: float
    low: float
    high: float


def share(count: int, of: int) -> Estimate | None:
    """`count` of `of` cases with Wilson's interval; None without a case."""
    if not of:
        return None
    square = NORMAL**2
    middle = count + square / 2
    reach = NORMAL * math.sqrt(count * (of - count) / of + square / 4)
    low, high = ((middle + side) / (of + square) for side in (-reach, reach))
    # At either end the formula gives 0 or 1 but for the rounding.
    return Estimate(
        count=count,
        of=of,
        value=count / of,
        low=0.0 if count == 0 else low,
        high=1.0 if count == of else high,
    )


def rate(count: int, images: int) -> Estimate | None:
    """`count` events an image with Garwood's interval; None without an image."""
    if not images:
        return None
    low = 0.0 if count == 0 else _mean_with_chance(1 - TAIL, count - 1)
    high = _mean_with_chance(TAIL, count)
    return Estimate(count=count, of=images, value=count / images, low=low / images, high=high / images)


def _mean_with_chance(chance: float, count: int) -> float:
    """The mean under which a Poisson variable is at most `count` with probability `chance`, by halving."""
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _at_most(count, middle) > chance:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_most(count: int, mean: float) -> float:
    """Probability that a Poisson variable of `mean` is at most `count`."""
    if mean <= 0:
        return 1.0
    log_mean = math.log(mean)
    return math.fsum(math.exp(k * log_mean - mean - math.lgamma(k + 1)) for k in range(count + 1))
