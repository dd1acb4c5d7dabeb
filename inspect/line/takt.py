"""Says when results come later than the line can wait: once when it begins, every minute while it lasts, once when it
is over.
"""

import time
from collections.abc import Callable

WAITING_MAX = 20  # complete pictures that wait for their turn: more, and they come faster than they are inspected
REPEAT = 60.0  # s


class Takt:
    """Judges every result by the time from its picture being complete to the result being written."""

    def __init__(self, seconds: float | None, say: Callable[[str], None]) -> None:
        """`seconds`: what a result may take; None where only a growing queue is worth a word."""
        self.n_late = 0  # since the takt was last met
        self._seconds, self._say = seconds, say
        self._longest = 0.0
        self._said = 0.0

    def add(self, image: str, response: float, waiting: int) -> None:
        """One result: `response` seconds after `image` was complete, with so many others `waiting`."""
        over = self._seconds is not None and response > self._seconds
        if not over and waiting <= WAITING_MAX:
            self._met(waiting)
            return
        self.n_late += 1
        self._longest = max(self._longest, response)
        now = time.monotonic()
        if self.n_late == 1 or now - self._said >= REPEAT:
            self._said = now
            what = "" if self._seconds is None else f" (takt {self._seconds:g} s)"
            self._say(f"takt not met: {image} took {response:.2f} s from complete to result{what}, {waiting} wait")

    def _met(self, waiting: int) -> None:
        if self.n_late and not waiting:
            self._say(f"takt met again after {self.n_late} late pictures, {self._longest:.2f} s at the longest")
            self.n_late, self._longest = 0, 0.0
