"""A fitted support vector machine with a Gaussian kernel, as numbers: no scikit-learn, no pickle on the line.

decision(x) = sum over i of coefficient[i] * exp(-gamma * |x - support[i]|^2) + intercept
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK = 2048  # windows at a time: their kernel with a few thousand support vectors stays within 64 MiB


@dataclass(frozen=True)
class KernelMachine:
    """`support` float32 [s, d], `coefficients` float32 [s]."""

    support: NDArray[np.float32]
    coefficients: NDArray[np.float32]
    intercept: float
    gamma: float

    def decide(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The decision function of `x`, float32 [n, d] -> float32 [n]."""
        # Distances do not change with the origin, but their rounding errors do.
        origin = self.support.mean(axis=0)
        support = self.support - origin
        squares = np.einsum("ij,ij->i", support, support)
        answers = [self._decide(x[i : i + CHUNK] - origin, support, squares) for i in range(0, len(x), CHUNK)]
        return np.concatenate(answers) if answers else np.empty(0, np.float32)

    def _decide(
        self, x: NDArray[np.float32], support: NDArray[np.float32], squares: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        distances = squares - 2 * (x @ support.T) + np.einsum("ij,ij->i", x, x)[:, None]
        kernel = np.exp(np.float32(-self.gamma) * np.maximum(distances, 0))
        return np.asarray(kernel @ self.coefficients + np.float32(self.intercept), np.float32)
