"""What a surface hands to the defects: one part before the camera, and how a change to it is written."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.fields import Field

Box = tuple[int, int, int, int]
"""Half-open (y0, x0, y1, x1) in the image."""


@dataclass(frozen=True)
class Change:
    """What a defect adds to the scene: float32 grey levels, its first pixel at image row `y0`, column `x0`."""

    y0: int
    x0: int
    grey: Field


class Part(Protocol):
    """One part as it lies before the camera."""

    @property
    def scene(self) -> Field:
        """Float32 [H, W], grey levels 0..255 under even light and without sensor noise; defects are added to it."""
        ...

    @property
    def box(self) -> Box:
        """The part in the image; outside of it is background, where no defect can be."""
        ...

    @property
    def has_layout(self) -> bool:
        """Whether a layout's edges cross the texture: contrast is then counted in the texture between the edges."""
        ...

    @property
    def structures(self) -> tuple[str, ...]:
        """The kinds of missing or extra structure that only this surface can have."""
        ...

    def structure(self, kind: str, y: int, x: int, level: float, rng: np.random.Generator) -> Change | None:
        """Missing or extra structure near (y, x); None where there is none to break.

        About `level` grey levels strong, or as strong as it gets where the surface sets that: it is scaled down later.
        """
        ...


class Surface(Protocol):
    """A product: everything that is the same in all of its images."""

    def part(self, rng: np.random.Generator) -> Part:
        """The next part off the line; `rng` decides all that differs between two good parts."""
        ...


def window(scene: Field, y0: int, x0: int, height: int, width: int) -> tuple[int, int, NDArray[np.float32]]:
    """The part of a window that lies in the scene: its first row, first column and pixels (a view)."""
    top, left = max(y0, 0), max(x0, 0)
    return top, left, scene[top : max(y0 + height, top), left : max(x0 + width, left)]
