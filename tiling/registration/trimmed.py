"""Mean and variance of a stack of aligned images, pixel by pixel, the extremes left out."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.compiled import compiled

_SIMULATED = 20_000


def n_trimmed(count: int) -> int:
    """How many of `count` values are left out at either end: one in eight, and always at least one is kept."""
    return min((count - 1) // 2, -(-count // 8)) if count else 0


def fewest_known(count: int) -> int:
    """Images of `count` that must have data at a pixel for its mean to be trusted: half of them, and three."""
    return min(count, max(3, -(-count // 2)))


def trimmed_statistics(
    stack: NDArray[Any],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    mean: NDArray[Any],
    variance: NDArray[np.float32],
    counts: NDArray[np.uint8],
) -> None:
    """Trimmed mean, variance and number of values of each pixel, written into the last three arguments.

    `stack`: [N, h, W] or [N, h, W, 3] aligned images, N at most 255; `first`, `end`: [N, h] columns [first, end) with
    data. `mean`: [h, W] or [h, W, 3] in the stack's dtype; `variance`: [h, W] float32, of RGB the mean over the
    channels; `counts`: [h, W] uint8. Where no image has data, all of them count for the mean.

    The variance is that of the values kept, times what makes it right for normally distributed values.
    """
    n, height, width = stack.shape[:3]
    channels = stack[0, 0, 0].size
    trims = np.array([n_trimmed(count) for count in range(n + 1)])
    factors = np.array([_consistency(count) for count in range(n + 1)], np.float32)
    values = stack.reshape(n, height, width * channels)
    top = {"u": 2 ** (8 * stack.itemsize) - 1, "f": 0}[stack.dtype.kind]
    _trim(values, first, end, channels, trims, factors, top, mean.reshape(height, -1), variance, counts)


@cache
def _consistency(count: int) -> float:
    """By what a variance of the values kept must be multiplied: found by drawing normal values."""
    trim = n_trimmed(count)
    if count - 2 * trim < 2:
        return 0.0
    values = np.sort(np.random.default_rng(count).standard_normal((_SIMULATED, count)), axis=1)
    return float(1 / values[:, trim : count - trim].var(axis=1).mean())


@compiled
def _trim(
    stack: NDArray[Any],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    channels: int,
    trims: NDArray[np.int64],
    factors: NDArray[np.float32],
    top: int,
    mean: NDArray[Any],
    variance: NDArray[np.float32],
    counts: NDArray[np.uint8],
) -> None:
    """`top`: the largest value of an integer dtype, to which means are rounded; 0 for floats."""
    n, height, length = stack.shape
    held = np.empty(n, np.float32)
    for y in range(height):
        for x in range(length // channels):
            variance[y, x] = 0
        for i in range(length):
            x = i // channels
            count = 0
            for k in range(n):
                if first[k, y] <= x < end[k, y]:
                    value = np.float32(stack[k, y, i])
                    at = count
                    while at > 0 and held[at - 1] > value:
                        held[at] = held[at - 1]
                        at -= 1
                    held[at] = value
                    count += 1
            counts[y, x] = count
            if count == 0:
                for k in range(n):
                    held[k] = np.float32(stack[k, y, i])
                held.sort()
            known = count if count > 0 else n
            low, high = trims[known], known - trims[known]
            total = 0.0
            for k in range(low, high):
                total += held[k]
            centre = total / (high - low)
            squares = 0.0
            for k in range(low, high):
                squares += (held[k] - centre) ** 2
            if count > 0:
                variance[y, x] += np.float32(squares / (high - low) * factors[count] / channels)
            if top > 0:
                centre = min(max(np.floor(centre + 0.5), 0.0), float(top))
            mean[y, i] = centre
