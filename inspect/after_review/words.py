"""The figures of a review as lines that a person reads."""

from collections.abc import Callable, Iterator

from flawmap.inspect.intervals import Estimate
from flawmap.inspect.review.figures import Figures, figures, models_of
from flawmap.inspect.review.proposal import DEFAULT_RATE, Proposal, propose
from flawmap.inspect.review.reviewed_run import ReviewedRun


def in_words(run: ReviewedRun, recall: float, false_alarms: float | None) -> Iterator[str]:
    """Lines without line ends; figures with their 95 % interval, of each camera of a recipe apart."""
    for model in models_of(run):
        found = figures(run, model)
        if found.camera:
            yield f"camera {found.camera}"
        yield from _figures(found)
        wished = false_alarms or found.false_alarms_allowed or DEFAULT_RATE
        yield from map(_proposal, propose(run, model, recall, wished))
        yield from (f"note: {note}" for note in found.notes)
    for mark in run.stale:
        yield f"stale: {mark.entry.image}, x {mark.entry.box[1]}, y {mark.entry.box[0]}: {mark.stale}"


def _figures(found: Figures) -> Iterator[str]:
    counts = found.counts
    yield (
        f"{counts.images} images, {counts.complete} reviewed completely, {counts.good} of these good; "
        f"{counts.regions - counts.unmarked} of {counts.regions} regions marked"
    )
    yield (
        f"marks: defect {counts.defects} (drawn by hand {counts.drawn}), false alarm {counts.false_alarms}, "
        f"unsure {counts.unsure}"
    )
    yield f"recall, of images reviewed completely: {_of(found.recall, _share)}"
    yield f"recall of recorded regions alone, which is too high: {_of(found.recall_of_recorded, _share)}"
    yield f"false alarms a good image: {_of(found.false_alarms, _rate)}"
    if found.false_alarms_if_rest_is_good is not None:
        yield f"the same, if what nobody looked at is good: {_of(found.false_alarms_if_rest_is_good, _rate)}"


def _of(estimate: Estimate | None, shown: Callable[[float], str]) -> str:
    if estimate is None:
        return "not known yet"
    low, high = shown(estimate.low), shown(estimate.high)
    return f"{shown(estimate.value)} [{low}, {high}] ({estimate.count} of {estimate.of})"


def _share(value: float) -> str:
    return f"{value:.2f}"


def _rate(value: float) -> str:
    return f"{value:.3g}"


def _proposal(proposal: Proposal) -> str:
    if proposal.false_alarms is None:
        return f"to {proposal.wish}: {proposal.note}"
    note = f"; {proposal.note}" if proposal.note else ""
    return (
        f"to {proposal.wish}: --false-alarms {proposal.false_alarms:g} (recall of marked defects "
        f"{_of(proposal.recall, _share)}, false alarms a good image {_of(proposal.rate, _rate)}{note})"
    )
