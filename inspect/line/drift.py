"""Whether good images still score as those of the calibration did: the lamp ages before the parts do.

Compared are the severities of the last n good images with those of the m good images of the calibration, by the
Mann-Whitney statistic (Mann and Whitney, Annals of Mathematical Statistics 18, 1947), here in its plainest form:

    share = probability that an image of now scores above one of the calibration (a tie counts half)

0.5 if nothing has changed, towards 1 as scores rise (lamp, dirt, another batch), towards 0 as they fall (blur, a
picture gone dark: defects would score less, too). Ranks do not care how severities are distributed, nor for outliers.

Good means below the severity of NG, on both sides: defects do not count, and what is cut off is cut off alike.

The alarm's limit is for a line that asks after every image, not for one test: `limit` draws stable processes and takes
the deviation that one of a hundred reaches in 10,000 images. That the m calibration images are a sample, too, and
always the same one, is in it. It holds for any distribution, but images must be exchangeable: batches differ.
"""

from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

RUN_LENGTH = 10_000  # good images in which ...
ALARM_RATE = 0.01  # ... so many stable processes raise an alarm at most
# The second largest deviation of so many lies beyond the 99th percentile with 95 % confidence:
# P(Binomial(473, 0.01) <= 1) = 0.05.
PROCESSES, EXCEEDING = 473, 2
OVER = 0.8  # of the limit: an alarm ends below it
MOST_REJECTED = 0.5  # of the last images: then what is left says nothing of the rest

Alarm = Literal["", "higher", "lower", "rejected"]


@dataclass(frozen=True)
class DriftState:
    """How the last images compare."""

    n_images: int  # good ones that are compared; fewer than asked for: no alarm yet
    n_calibration: int  # good images of the calibration
    share: float  # 0..1, see above; 0.5 before there is an image
    limit: float  # an alarm is raised where `share` is further than this from 0.5
    alarm: Alarm
    rejected: int = 0  # of the last images, at or above NG


class DriftMonitor:
    """Takes the severities of a line's images one by one."""

    def __init__(self, calibration: NDArray[np.float64], severity_ng: float, last: int) -> None:
        """`calibration`: severities [m] of its images; `last`: good images to compare, n. ValueError for n < 2."""
        if last < 2:
            raise ValueError(f"`last` (={last}) must be at least 2")
        self._calibration = np.sort(calibration[calibration < severity_ng])
        self._severity_ng, self._last = severity_ng, last
        self._limit = limit(len(self._calibration), last)
        self._shares: deque[float] = deque(maxlen=last)
        self._rejected: deque[bool] = deque(maxlen=last)
        self._alarm: Alarm = ""

    @property
    def can_tell(self) -> bool:
        """Whether the calibration has enough images for an alarm ever to be raised."""
        return self._limit < 0.5

    def add(self, severity: float) -> DriftState:
        """One more image that was inspected."""
        rejected = severity >= self._severity_ng
        self._rejected.append(rejected)
        if not rejected and len(self._calibration):
            self._shares.append(float(shares(self._calibration, np.array([severity]))[0]))
        return self.state()

    def state(self) -> DriftState:
        """After the images so far."""
        share = sum(self._shares) / len(self._shares) if self._shares else 0.5
        self._alarm = self._judge(share - 0.5)
        return DriftState(
            len(self._shares), len(self._calibration), share, self._limit, self._alarm, sum(self._rejected)
        )

    def _judge(self, deviation: float) -> Alarm:
        if len(self._rejected) == self._last and sum(self._rejected) > MOST_REJECTED * self._last:
            return "rejected"
        if len(self._shares) < self._last or not self.can_tell:
            return ""
        alarm: Alarm = "higher" if deviation > 0 else "lower"
        kept = alarm == self._alarm  # it goes on until it is clearly over
        return alarm if abs(deviation) > self._limit * (OVER if kept else 1.0) else ""


def shares(calibration: NDArray[np.float64], severities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of `calibration` (ascending [m], m > 0) below each of `severities` [k], ties half; float64 [k]."""
    below = np.searchsorted(calibration, severities, "left")
    up_to = np.searchsorted(calibration, severities, "right")
    return np.asarray((below + up_to) / (2.0 * len(calibration)), np.float64)


def deviations(calibration: NDArray[np.float64], severities: NDArray[np.float64], last: int) -> NDArray[np.float64]:
    """share - 0.5 of every `last` good images in a row: float64 [k - last + 1] for `severities` [k >= last]."""
    sums = np.concatenate(([0.0], np.cumsum(shares(calibration, severities))))
    return np.asarray((sums[last:] - sums[:-last]) / last - 0.5, np.float64)


@cache
def limit(n_calibration: int, last: int) -> float:
    """How far `share` may be from 0.5: 1 % of stable processes get there in RUN_LENGTH images; 0.5 for too small an m.

    Simulated with uniform numbers (ranks do not know the difference) and a fixed seed: a second or so, once.
    """
    if n_calibration < 1:
        return 0.5
    rng = np.random.default_rng(20140)
    largest = np.zeros(PROCESSES)
    for i in range(PROCESSES):
        calibration = np.sort(rng.random(n_calibration))
        largest[i] = np.abs(deviations(calibration, rng.random(RUN_LENGTH + last - 1), last)).max()
    return float(min(0.5, np.sort(largest)[-EXCEEDING]))


def sentence(state: DriftState) -> str:
    """What an operator should read."""
    if state.alarm == "rejected":
        return f"{state.rejected} of the last images are NG: parts, lamp or camera have changed"
    if state.limit >= 0.5:
        return (
            f"drift is not watched: the calibration's good images ({state.n_calibration}), or those compared with "
            "them, are too few for any alarm; calibrate on thirty or more, or give a larger `--last`"
        )
    low, high = 0.5 - state.limit, 0.5 + state.limit
    compared = (
        f"a good image of the last {state.n_images} scores above one of the {state.n_calibration} of the calibration "
        f"{state.share:.0%} of the time (50 % if nothing has changed, alarm beyond {low:.0%} and {high:.0%})"
    )
    if state.alarm == "higher":
        return f"scores have risen: {compared}. Look at the lamp, for dirt, for another batch; or calibrate again"
    if state.alarm == "lower":
        return f"scores have fallen: {compared}. Look at focus and exposure: defects may score less, too"
    return f"no drift: {compared}"
