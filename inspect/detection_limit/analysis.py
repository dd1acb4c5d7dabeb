"""From defects found or not to the number that is signed: the size from which 9 of 10 are found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.detection_limit.injected_defects import WITH_CONTRAST, WITHOUT_CONTRAST
from flawmap.inspect.detection_limit.logistic import LogisticCurve, fit, wilson

WANTED = 0.9  # of the defects
FEWEST = 10  # defects that make a curve
GRID = 400  # values between the smallest and the largest that was tried, at which a curve is read
CONTRAST_AT_PX = 5  # size for which the smallest contrast is given


@dataclass(frozen=True)
class Injection:
    """One defect that was injected and inspected: a row of detection_limit.csv."""

    image: str
    number: int
    kind: str
    size_px: int  # asked for
    contrast: float | None  # asked for, in local standard deviations
    place: str
    y_min: int
    x_min: int
    y_max: int
    x_max: int
    area_px: int  # at half contrast and above
    deviation_levels: float  # local standard deviation of the surface, in grey levels
    change_levels: float  # largest change of a pixel; RMS for a kind without contrast
    change_deviations: float  # the same over the local standard deviation
    found: bool
    severity: float | None  # of the worst region that found it


@dataclass(frozen=True)
class Rate:
    """Found of tried at one size or contrast, with a two-sided 95 % interval."""

    value: float
    tried: int
    found: int
    low: float
    high: float


@dataclass(frozen=True)
class Limit:
    """From where on the wanted share is found, within what was tried; `value` None: not reached."""

    value: float | None
    smallest_tried: bool = False  # true already there: the limit lies at `value` or below


@dataclass(frozen=True)
class DetectionCurve:
    """How the chance of being found grows with size (or with contrast), for one kind."""

    kind: str
    contrast: float | None  # None: a kind without, or a curve over contrast
    size_px: int | None  # None: a curve over size
    levels: float  # median change in grey levels
    rates: list[Rate]
    curve: LogisticCurve | None  # None: too few defects
    limit: Limit  # the curve reaches 9 of 10
    limit_95: Limit  # its lower 95 % confidence bound does
    exceptions: list[float]  # beyond `limit`, where fewer than 9 of 10 were found and chance does not explain it

    @property
    def tried(self) -> int:
        return sum(rate.tried for rate in self.rates)

    def grid(self, n: int = GRID) -> NDArray[np.float64]:
        """`n` sizes or contrasts from the smallest to the largest that was tried, log-spaced."""
        return np.geomspace(self.rates[0].value, self.rates[-1].value, n)


def curves_over_size(injections: Sequence[Injection]) -> list[DetectionCurve]:
    """One for each kind and contrast that was tried."""
    found = []
    for kind in (*WITH_CONTRAST, *WITHOUT_CONTRAST):
        of_kind = [one for one in injections if one.kind == kind]
        contrasts: Sequence[float | None] = sorted({one.contrast for one in of_kind if one.contrast is not None})
        for contrast in contrasts or ([None] if of_kind else []):
            rows = [one for one in of_kind if one.contrast == contrast]
            found.append(_curve(rows, lambda one: one.size_px, kind=kind, contrast=contrast))
    return found


def curves_over_contrast(injections: Sequence[Injection]) -> list[DetectionCurve]:
    """One for each kind that has a contrast, of the defects of `CONTRAST_AT_PX` or the size next to it."""
    found = []
    for kind in WITH_CONTRAST:
        of_kind = [one for one in injections if one.kind == kind]
        if not of_kind:
            continue
        size = min({one.size_px for one in of_kind}, key=lambda px: abs(np.log(px / CONTRAST_AT_PX)))
        rows = [one for one in of_kind if one.size_px == size]
        found.append(_curve(rows, lambda one: one.contrast or 0.0, kind=kind, size_px=size))
    return found


def rates_by_place(injections: Sequence[Injection]) -> dict[str, Rate]:
    """Found of tried anywhere, on edges and at the border, all kinds together."""
    places = sorted({one.place for one in injections})
    return {place: _rate(0.0, [one for one in injections if one.place == place]) for place in places}


def _curve(
    rows: Sequence[Injection],
    by: Callable[[Injection], float],
    *,
    kind: str,
    contrast: float | None = None,
    size_px: int | None = None,
) -> DetectionCurve:
    values = sorted({by(one) for one in rows})
    rates = [_rate(value, [one for one in rows if by(one) == value]) for value in values]
    levels = float(np.median([one.change_levels for one in rows]))
    if len(rows) < FEWEST or len(rates) < 2:
        return DetectionCurve(kind, contrast, size_px, levels, rates, None, Limit(None), Limit(None), [])
    hits, trials = (np.array([getattr(rate, name) for rate in rates], float) for name in ("found", "tried"))
    curve = fit(np.array(values, float), hits, trials)
    grid = np.geomspace(values[0], values[-1], GRID)
    limit = _limit(grid, curve.probability(grid) >= WANTED)
    limit_95 = _limit(grid, curve.surely_above(grid, WANTED))
    exceptions = [rate.value for rate in rates if limit.value and rate.value >= limit.value and rate.high < WANTED]
    return DetectionCurve(kind, contrast, size_px, levels, rates, curve, limit, limit_95, exceptions)


def _limit(grid: NDArray[np.float64], reached: NDArray[np.bool_]) -> Limit:
    """The first of `grid` from which on everything is `reached`."""
    if not reached[-1]:
        return Limit(None)
    short = np.flatnonzero(~reached)
    if not len(short):
        return Limit(float(grid[0]), smallest_tried=True)
    return Limit(float(grid[short[-1] + 1]))


def _rate(value: float, rows: Sequence[Injection]) -> Rate:
    hits = sum(one.found for one in rows)
    return Rate(value, len(rows), hits, *wilson(hits, len(rows)))
