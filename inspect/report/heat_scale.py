"""The one colour scale of every heat picture: the same score has the same colour in every image of a run.

A scale stretched to each picture's own minimum and maximum makes a good part glow like a bad one. This one hangs on the
two thresholds, so a colour means a distance from a decision:

    score       review/2      review          ng          2 x ng
    colour      black         violet          orange      pale yellow
    place          0           0.35            0.7           1

Where the thresholds lie about zero, as they may for a score that is a logit, the ends are the distance of the two
thresholds away from them.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

REVIEW_PLACE = 0.35
NG_PLACE = 0.70
# Keeps the anchors apart where a threshold is zero or both are equal.
SMALLEST_STEP = 1e-6


def _inferno() -> NDArray[np.uint8]:
    """256 RGB colours of matplotlib's inferno: even steps to the eye, fit for grey print and colour-blind people."""
    ramp = np.arange(256, dtype=np.uint8).reshape(256, 1)
    colours = cv2.cvtColor(cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    return colours.reshape(256, 3).astype(np.uint8)


INFERNO = _inferno()


@dataclass(frozen=True)
class HeatScale:
    """Scores to colours, by the thresholds of a run (both scores, any sign, `review` <= `ng`)."""

    review: float
    ng: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.review) and np.isfinite(self.ng) and self.review <= self.ng):
            raise ValueError(f"`review` (={self.review}) must be a number not above `ng` (={self.ng})")

    @property
    def anchors(self) -> tuple[float, float, float, float]:
        """The scores at places 0, REVIEW_PLACE, NG_PLACE and 1, rising."""
        review = self.review
        ng = max(self.ng, review + SMALLEST_STEP * max(1.0, abs(review)))
        dark = review - max(abs(review) / 2, ng - review)
        bright = ng + max(abs(ng), ng - review)
        return dark, review, ng, bright

    def place(self, scores: NDArray[Any]) -> NDArray[np.float64]:
        """Where each score lies on the scale, 0 to 1; scores beyond either end stay at that end."""
        return np.asarray(np.interp(scores, self.anchors, (0.0, REVIEW_PLACE, NG_PLACE, 1.0)), np.float64)

    def colours(self, scores: NDArray[Any]) -> NDArray[np.uint8]:
        """Scores [...] of any real dtype to RGB uint8 [..., 3]."""
        return INFERNO[np.rint(self.place(scores) * 255).astype(np.uint8)]
