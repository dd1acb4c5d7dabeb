"""HOG features of 64 px windows, judged by a support vector machine."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.classical.hog_features import hog_windows, map_of_windows
from flawmap.tiling.classical.kernel_machine import KernelMachine


@dataclass(frozen=True)
class HogMachine:
    """The fitted numbers.

    `sign`: -1 where the machine is large on good windows (one-class), 1 where on defective ones (regression).
    `location`, `scale`: of the signed decision on good windows.
    """

    machine: KernelMachine
    sign: float
    location: float
    scale: float

    def score(self, tile: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """[H, W] or [H, W, 3] -> score float32 [H, W], and the tile itself: nothing is reconstructed here."""
        return map_of_windows((self.evidence(tile) - self.location) / self.scale), tile

    def evidence(self, tile: NDArray[Any]) -> NDArray[np.float32]:
        """What the machine says about every window, higher is worse, float32 [rows, columns]; not standardised."""
        features = hog_windows(tile)
        decision = self.machine.decide(features.reshape(-1, features.shape[2]))
        return np.float32(self.sign) * decision.reshape(features.shape[:2])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """For model.npz."""
        numbers = {name: np.asarray(getattr(self, name)) for name in ("sign", "location", "scale")}
        return {**{name: np.asarray(value) for name, value in vars(self.machine).items()}, **numbers}

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> "HogMachine":
        """The inverse of `arrays`; KeyError where one is missing."""
        machine = KernelMachine(
            arrays["support"], arrays["coefficients"], float(arrays["intercept"]), float(arrays["gamma"])
        )
        return cls(machine, float(arrays["sign"]), float(arrays["location"]), float(arrays["scale"]))
