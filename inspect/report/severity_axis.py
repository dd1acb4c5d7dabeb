"""Where severities lie on the page: one axis for the histogram and for the small gauge of every row."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from flawmap.inspect.run.records import Verdict
from flawmap.inspect.shown_severity import PLOTTED_MAX

BINS = 60
ROOM = 0.5  # severity beyond the thresholds that is shown even where nothing lies
WORST_FIRST: tuple[Verdict, ...] = ("ERROR", "NG", "REVIEW", "OK")


class Judged(Protocol):
    """An image or a part."""

    @property
    def verdict(self) -> Verdict: ...

    @property
    def severity(self) -> float: ...


AnyJudged = TypeVar("AnyJudged", bound=Judged)


def worst_first(judged: Iterable[AnyJudged], name: Callable[[AnyJudged], str]) -> list[AnyJudged]:
    """ERROR, NG, REVIEW, OK, and by severity within."""
    return sorted(judged, key=lambda one: (WORST_FIRST.index(one.verdict), -one.severity, name(one)))


@dataclass(frozen=True)
class Bar:
    """Images (or parts) of one verdict in one bin, in percent of the axis; bars of one bin stand on each other."""

    verdict: Verdict
    count: int
    left: float
    width: float
    bottom: float
    height: float


@dataclass(frozen=True)
class SeverityAxis:
    """From `low` to `high`, with both thresholds inside; what lies beyond `high` is shown there."""

    low: float
    high: float
    review: float
    ng: float

    @classmethod
    def around(cls, judged: Sequence[Judged], review: float, ng: float, also: Sequence[float] = ()) -> "SeverityAxis":
        """The axis that shows every severity of `judged` up to PLOTTED_MAX, both thresholds, and those in `also`."""
        known = [*also, *(min(one.severity, PLOTTED_MAX) for one in judged if one.verdict != "ERROR")]
        low = math.floor(2 * min([*known, review - ROOM])) / 2
        high = math.ceil(2 * max([*known, ng + ROOM])) / 2
        return cls(low, high, review, ng)

    def ends_before(self, judged: Sequence[Judged]) -> bool:
        """Whether a severity of `judged` lies beyond `high`."""
        return any(one.severity > self.high for one in judged if one.verdict != "ERROR")

    def percent(self, severity: float) -> float:
        """0 at `low`, 100 at `high`; what lies beyond, as an ERROR's may, stays at that end."""
        inside = min(max(severity, self.low), self.high)
        return round(100 * (inside - self.low) / (self.high - self.low), 2)

    def ticks(self) -> list[float]:
        """Whole severities on the axis, thinned until at most a dozen are left."""
        first, last = math.ceil(self.low), math.floor(self.high)
        return [float(tick) for tick in range(first, last + 1, max(1, -(-(last - first + 1) // 12)))]

    def bars(self, judged: Sequence[Judged]) -> list[Bar]:
        """The histogram of what was inspected. Square-root heights, or one NG among 500 OK is no pixel high."""
        bins: list[dict[Verdict, int]] = [{} for _ in range(BINS)]
        for one in judged:
            if one.verdict != "ERROR":
                place = bins[min(int(self.percent(one.severity) * BINS / 100), BINS - 1)]
                place[one.verdict] = place.get(one.verdict, 0) + 1
        tallest = math.sqrt(max([1, *(sum(place.values()) for place in bins)]))
        bars = []
        for index, place in enumerate(bins):
            below = 0
            for verdict in reversed(WORST_FIRST):
                count = place.get(verdict, 0)
                if count:
                    bottom, top = (100 * math.sqrt(number) / tallest for number in (below, below + count))
                    left, width = 100 * index / BINS, 100 / BINS
                    sides = (round(value, 2) for value in (left, width, bottom, top - bottom))
                    bars.append(Bar(verdict, count, *sides))
                    below += count
        return bars
