"""A defect that is known to be there, drawn by a person or injected, and the one rule by which a region finds it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.run.records import CandidateRecord, RegionRecord

NEAR = 3  # px


@dataclass(frozen=True)
class TrueDefect:
    """One 8-connected piece of a mask; box half-open in px of the image."""

    y0: int
    x0: int
    y1: int
    x1: int
    area_px: int
    pixels: NDArray[np.bool_]  # [y1 - y0, x1 - x0]

    @property
    def size_px(self) -> int:
        """Longer side of the box."""
        return max(self.y1 - self.y0, self.x1 - self.x0)


def is_near(region: RegionRecord | CandidateRecord, defect: TrueDefect) -> bool:
    """Whether the region's box, `NEAR` px wider on every side, holds a pixel of the defect."""
    y0, x0 = max(region.y_min - NEAR - defect.y0, 0), max(region.x_min - NEAR - defect.x0, 0)
    y1, x1 = region.y_max + NEAR - defect.y0, region.x_max + NEAR - defect.x0
    if y1 <= 0 or x1 <= 0:
        return False
    return bool(defect.pixels[y0:y1, x0:x1].any())
