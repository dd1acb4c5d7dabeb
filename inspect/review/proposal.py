"""A threshold proposed from marks: what would have been found, and raised for nothing, had the NG line lain elsewhere?

`--false-alarms F` puts the NG line at severity -log10(F). Regions are recorded from REVIEW up, candidates from a
severity of -1 (ten a good image), so any line down to there can be judged without inspecting again.

    severity     defects   .    x x     x   x x      x x x
                 false       o oo o  o      o
                 lines               |      |
                 to keep all wished -+      +- to raise no more than wished

A line that was chosen by these marks looks better on them than it is on others (the winner's curse): prove it on images
that took no part.
"""

import math

from pydantic import BaseModel, ConfigDict

from flawmap.inspect.defects import CANDIDATES_MAX
from flawmap.inspect.intervals import Estimate, rate, share
from flawmap.inspect.review.figures import counted_severity, detections, severity_of
from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun
from flawmap.inspect.thresholds import CANDIDATE_SEVERITY

DEFAULT_RECALL = 1.0  # of the marked defects, to be kept
DEFAULT_RATE = 0.1  # false alarms a good image, where a run does not say what it allowed
DIGITS = 3  # of the false-alarm rate proposed


class Proposal(BaseModel):
    """One line: `--false-alarms`, and what it does on the marks. Without one, `note` says why."""

    model_config = ConfigDict(extra="forbid")

    wish: str
    false_alarms: float | None  # for `flawmap inspect --false-alarms`
    severity: float | None  # where NG begins with it
    recall: Estimate | None  # of all defects that are marked
    rate: Estimate | None  # NG regions a good image, counted on the marks
    note: str = ""


def propose(run: ReviewedRun, model: int | None, recall: float, false_alarms: float) -> list[Proposal]:
    """Two lines: the highest that keeps a share of `recall` (0..1] of the marked defects, and the lowest that raises at
    most `false_alarms` NG regions a good image on those found good.
    """
    images = [image for image in run.inspected if image.record.model == model]
    good = [image for image in images if image.is_good]
    kept = sorted((severity_of(image, box) for image in images for box in image.defects), reverse=True)
    false = sorted(
        (s for image in good for s in map(counted_severity, detections(image)) if s > -math.inf), reverse=True
    )
    known_from = max([CANDIDATE_SEVERITY, *map(_complete_from, good)])
    line_of_recall, recall_note = _keeping(kept, recall)
    line_of_rate, rate_note = _raising(false, len(good), false_alarms, known_from)
    return [
        _judged(
            f"find {100 * recall:.4g} % of the marked defects", line_of_recall, recall_note, kept, false, len(good)
        ),
        _judged(
            f"raise at most {false_alarms:.4g} NG regions a good image", line_of_rate, rate_note, kept, false, len(good)
        ),
    ]


def _keeping(kept: list[float], recall: float) -> tuple[float | None, str]:
    """The `--false-alarms` at which so large a share of defects is NG, rounded up so that none is lost by it."""
    if not kept:
        return None, "no defect is marked"
    wanted = math.ceil(recall * len(kept) - 1e-9)
    line = kept[wanted - 1]
    if line == -math.inf:
        silent = kept.count(-math.inf)
        return None, (
            f"{silent} of {len(kept)} marked defects left no region and no candidate: no threshold finds them; "
            f"{len(kept) - silent} at most can be kept"
        )
    if line == math.inf:
        return None, "rules make them NG at any threshold"
    return _just_reaching(line), ""


def _raising(false: list[float], n_good: int, wished: float, known_from: float) -> tuple[float | None, str]:
    """The largest `--false-alarms` that raises no more than wished, rounded down so that none comes back."""
    if not n_good:
        return None, "no image was looked at as a whole and found good"
    allowed = math.floor(wished * n_good + 1e-9)
    line = false[allowed] if allowed < len(false) else -math.inf  # the first that is one too many
    if line == math.inf:
        return None, "rules make more than that NG at any threshold"
    if line < known_from:
        return _just_above(known_from), "nothing lower is on record"
    return _just_above(line), ""


def _judged(wish: str, line: float | None, note: str, kept: list[float], false: list[float], n_good: int) -> Proposal:
    if line is None:
        return Proposal(wish=wish, false_alarms=None, severity=None, recall=None, rate=None, note=note)
    severity = -math.log10(line)
    return Proposal(
        wish=wish,
        false_alarms=line,
        severity=severity,
        recall=share(sum(one >= severity for one in kept), len(kept)),
        rate=rate(sum(one >= severity for one in false), n_good),
        note=note,
    )


def _complete_from(image: ReviewedImage) -> float:
    """Severity from which every region of an image is on record."""
    candidates = image.record.candidates
    return candidates[-1].severity if len(candidates) >= CANDIDATES_MAX else CANDIDATE_SEVERITY


def _just_reaching(line: float) -> float:
    """The smallest `--false-alarms` of DIGITS digits with the NG line at severity `line` or below."""
    unit = _unit(line)
    whole = math.floor(10**-line / unit)
    while -math.log10(_number(whole, unit)) > line:
        whole += 1
    return _number(whole, unit)


def _just_above(line: float) -> float:
    """The largest `--false-alarms` of DIGITS digits with the NG line above severity `line`."""
    unit = _unit(line)
    whole = math.ceil(10**-line / unit)
    while -math.log10(_number(whole, unit)) <= line:
        whole -= 1
        if whole < 10 ** (DIGITS - 1):  # from 0.100 to 0.0999
            whole, unit = 10**DIGITS - 1, unit / 10
    return _number(whole, unit)


def _unit(line: float) -> float:
    return 10.0 ** (math.floor(-line) - DIGITS + 1)


def _number(whole: int, unit: float) -> float:
    return float(f"{whole * unit:.{DIGITS}g}")
