"""Does calibration keep its word? False regions counted on good images, beside the rate that was allowed.

The word is given before the plant's rules, and so is the count: every region and candidate of a good image counts whose
severity reaches that of the rate, also where a rule dropped it, and none that a rule made NG below it; what `join` made
one region is one. `false_regions_per_good_image` counts after the rules, as the line does: without rules the two agree.
An image that could not be inspected is none, and a list of candidates that is full makes the count a lower bound.

Intervals are exact for a Poisson count (`flawmap.inspect.intervals`). They take regions for independent of each other:
where one picture shows many, the truth is less certain than they say.
"""

import math
from collections.abc import Sequence
from typing import Literal, TypedDict

from flawmap.inspect.intervals import rate
from flawmap.inspect.run.records import ImageRecord, RunInfo

RATES = (1.0, 0.5, 0.1)  # false regions a good image
FACTOR = 2  # what is counted may be so many times the rate, or the rate so many times what is counted
ROUNDING = 1e-4  # in severity: a threshold is a score rounded to what a heatmap holds

Word = Literal["kept", "broken", "too few images to say"]


class Promise(TypedDict):
    """A rate, what was counted at it, and what that says; as in metrics.json."""

    allowed: float  # false regions a good image
    false_regions: int  # on all good images together
    good_images: int
    false_regions_per_good_image: float
    interval_95: list[float]  # of the line above
    word: Word


def promises(images: Sequence[Sequence[float]], run: RunInfo) -> list[Promise]:
    """The run's own rate first, then the others of RATES; `images`: for each good one what `raised` says of it.

    Zones with false alarms of their own add theirs to the run's rate, which then stands alone: nobody said what another
    one would allow in them. Rates that begin below what was recorded, REVIEW in earlier runs, are left out. Empty
    without a good image.
    """
    if not images:
        return []
    severities = [severity for image in images for severity in image]
    own = run.settings["false_alarms"] + sum(run.zone_false_alarms.values())
    at_own = measured(severities, len(images), own, severity=-math.log10(run.settings["false_alarms"]))
    if run.zone_false_alarms:
        return [at_own]
    lowest = -math.inf if "candidate" in run.thresholds else run.thresholds.get("severity_review", math.inf)
    others = [allowed for allowed in RATES if allowed != own and -math.log10(allowed) >= lowest]
    return [at_own, *(measured(severities, len(images), allowed) for allowed in others)]


def raised(record: ImageRecord) -> list[float]:
    """The severities of everything that the model raised in an image, whatever rules made of it."""
    return [region.severity for region in record.regions] + [below.severity for below in record.candidates]


def measured(severities: Sequence[float], n_good: int, allowed: float, *, severity: float | None = None) -> Promise:
    """`severities` of what `n_good` (> 0) good images show together, against `allowed` false regions on each.

    `severity`: what counts begins there; where `allowed` lies unless given.
    """
    begins = (-math.log10(allowed) if severity is None else severity) - ROUNDING
    count = sum(found >= begins for found in severities)
    counted = rate(count, n_good)
    assert counted is not None  # there is a good image
    return {
        "allowed": allowed,
        "false_regions": count,
        "good_images": n_good,
        "false_regions_per_good_image": counted.value,
        "interval_95": [counted.low, counted.high],
        "word": _word(counted.value, counted.low, counted.high, allowed),
    }


def short(value: float) -> str:
    """Two digits that count, and all digits of a whole number."""
    return f"{value:.2g}" if value < 99 else f"{value:.0f}"


def _word(value: float, low: float, high: float, allowed: float) -> Word:
    """Broken where no rate in the interval lies within FACTOR of `allowed`, kept where what was counted does."""
    lowest, highest = allowed / FACTOR, allowed * FACTOR
    if high < lowest or low > highest:
        return "broken"
    return "kept" if lowest <= value <= highest else "too few images to say"
