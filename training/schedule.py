"""How far a training is, by steps or the clock, whichever runs out first, and the learning rate that belongs there."""

import math
import time
from dataclasses import dataclass, field

WARM_UP = 0.03  # of the run
FINAL_RATE = 0.01  # of the highest learning rate


@dataclass
class Schedule:
    """Counts steps and seconds; seconds of earlier, interrupted sessions included."""

    steps: int
    minutes: float | None
    step: int = 0
    seconds_before: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self._started

    @property
    def progress(self) -> float:
        """0 at the start, 1 when the steps or the minutes are used up."""
        by_steps = self.step / self.steps
        by_clock = self.seconds / (self.minutes * 60) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_clock))

    @property
    def by_clock(self) -> bool:
        """Whether the minutes ran out before the steps did."""
        return self.minutes is not None and self.step < self.steps and self.seconds >= self.minutes * 60

    def rate(self) -> float:
        """Share of the highest learning rate: linear warm-up, then a cosine down to `FINAL_RATE`."""
        progress = self.progress
        if progress < WARM_UP:
            return max(progress / WARM_UP, 0.02)
        along = (progress - WARM_UP) / (1 - WARM_UP)
        return FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * along)) / 2
