"""What marks say about a run: how much of what is there was found, and how often good images raised an alarm.

Two recalls, which must not be mixed up. Among the regions that were recorded and marked, it can only tell which of them
were NG and which REVIEW: a defect without a region is not there to be marked, so this recall is too high by whatever
was missed. In images that somebody looked at as a whole, and marked what had no region too, it is the real one.

A defect is found when a region comes within `NEAR` px of its box, as for `flawmap evaluate`, and the region is NG.
False alarms are NG regions on good images: looked at as a whole, and without a defect. Intervals take defects and
images for independent (`flawmap.inspect.intervals`): several defects of one part that went wrong are not.
"""

import math

from pydantic import BaseModel, ConfigDict

from flawmap.inspect.intervals import Estimate, rate, share
from flawmap.inspect.review.mark_record import Box
from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun, box_of, boxes_near
from flawmap.inspect.run.records import CandidateRecord, RegionRecord


class Counts(BaseModel):
    """What there is, and what of it was reviewed."""

    model_config = ConfigDict(extra="forbid")

    images: int  # inspected
    images_with_regions: int
    looked_at: int  # as a whole, said a person
    complete: int  # of these without a region that is unmarked or unsure: the figures rest on them
    good: int  # of these without a defect
    regions: int  # that count: NG or REVIEW
    unmarked: int
    defects: int  # marks, by what they say; those drawn by a person included
    false_alarms: int
    unsure: int
    drawn: int  # defects without a region, drawn by a person
    stale: int


class Figures(BaseModel):
    """What the marks on one run, or on one camera of it, say."""

    model_config = ConfigDict(extra="forbid")

    camera: str = ""  # of a run with a recipe
    false_alarms_allowed: float | None = None  # false regions a good image, as the run was made
    counts: Counts
    recall: Estimate | None  # defects found, in images that are complete
    recall_of_recorded: Estimate | None  # NG among regions marked as a defect; too high
    false_alarms: Estimate | None  # NG regions a good image
    false_alarms_if_rest_is_good: Estimate | None  # the same if every image without a region is good; see `figures`
    notes: list[str]


def figures(run: ReviewedRun, model: int | None = None) -> Figures:
    """The figures of a run; with a recipe, of the images that `model` inspected.

    `false_alarms_if_rest_is_good`: most people look at what was raised and at nothing else, and good images without a
    region then count nowhere. Where every image with a region is complete, this takes those without one, that nobody
    looked at, for good: a rate for all images, right but for parts with a defect that was missed. None before that.
    """
    images = [image for image in run.inspected if image.record.model == model]
    allowed = run.recorded.info.settings.get("false_alarms")
    camera = ""
    if model is not None and run.recorded.info.recipe is not None:
        of_model = run.recorded.info.recipe.models[model]
        allowed, camera = of_model.false_alarms, of_model.camera
    counts = _counts(run, images, model)
    complete = [image for image in images if image.complete]
    good = [image for image in complete if image.is_good]
    defects = [(image, box) for image in complete for box in image.defects]
    recorded = [region for image in images for region in _marked_defects(image)]
    false = sum(region.verdict == "NG" for image in good for region in image.record.regions)
    return Figures(
        camera=camera,
        false_alarms_allowed=allowed,
        counts=counts,
        recall=share(sum(is_found(image, box) for image, box in defects), len(defects)),
        recall_of_recorded=share(sum(region.verdict == "NG" for region in recorded), len(recorded)),
        false_alarms=rate(false, len(good)),
        false_alarms_if_rest_is_good=_if_rest_is_good(images, good, false),
        notes=_notes(images, counts, len(run.recorded.damaged)),
    )


def models_of(run: ReviewedRun) -> list[int | None]:
    """What figures are kept apart by: the models of a recipe that inspected an image, or the run as a whole."""
    return sorted({image.record.model for image in run.inspected}, key=lambda model: -1 if model is None else model)


def is_found(image: ReviewedImage, defect: Box) -> bool:
    return any(one.verdict == "NG" and boxes_near(box_of(one), defect) for one in image.record.regions)


def severity_of(image: ReviewedImage, defect: Box) -> float:
    """Up to which severity as the NG line `defect` is found; -inf where nothing on record comes near it."""
    near = (one for one in detections(image) if boxes_near(box_of(one), defect))
    return max((counted_severity(one) for one in near), default=-math.inf)


def detections(image: ReviewedImage) -> list[RegionRecord | CandidateRecord]:
    """Everything on record of an image, the candidates below REVIEW included."""
    return [*image.record.regions, *image.record.candidates]


def counted_severity(detection: RegionRecord | CandidateRecord) -> float:
    """Up to which severity as the NG line a detection is NG: its own, unless a rule of the plant decides."""
    if not detection.rule:
        return detection.severity
    if isinstance(detection, CandidateRecord):
        return detection.severity if detection.rule_verdict == "NG" else -math.inf
    return math.inf if detection.verdict == "NG" else -math.inf


def _counts(run: ReviewedRun, images: list[ReviewedImage], model: int | None) -> Counts:
    marks = [(entry.mark, entry.drawn) for image in images for entry in image.mark_of.values()]
    stale = sum(bool(mark.stale) for image in images for mark in image.marks)
    return Counts(
        images=len(images),
        images_with_regions=sum(bool(image.record.n_regions) for image in images),
        looked_at=sum(image.looked_at for image in images),
        complete=sum(image.complete for image in images),
        good=sum(image.is_good for image in images),
        regions=sum(image.record.n_regions for image in images),
        unmarked=sum(len(image.unmarked) for image in images),
        defects=sum(mark == "defect" for mark, _ in marks),
        false_alarms=sum(mark == "false_alarm" for mark, _ in marks),
        unsure=sum(mark == "unsure" for mark, _ in marks),
        drawn=sum(drawn and mark == "defect" for mark, drawn in marks),
        stale=len(run.stale) if model is None else stale,
    )


def _marked_defects(image: ReviewedImage) -> list[RegionRecord]:
    return [
        mark.region
        for mark in image.marks
        if not mark.stale and mark.region is not None and mark.entry.mark == "defect"
    ]


def _if_rest_is_good(images: list[ReviewedImage], good: list[ReviewedImage], false: int) -> Estimate | None:
    if not images or any(image.record.n_regions and not image.complete for image in images):
        return None
    # One that bears a drawn defect or an unsure mark is not good, looked at as a whole or not.
    rest = [image for image in images if not image.complete and not image.defects and not image.unsure]
    return rate(false, len(good) + len(rest))


def _notes(images: list[ReviewedImage], counts: Counts, damaged: int) -> list[str]:
    """What the figures do not know."""
    silent = [image for image in images if not image.record.n_regions]
    unseen = sum(not image.looked_at for image in silent)
    open_images = counts.looked_at - counts.complete
    notes = []
    if counts.unmarked:
        notes.append(f"{counts.unmarked} of {counts.regions} regions bear no mark yet")
    if not counts.complete:
        notes.append(
            "no image was looked at as a whole and marked throughout: marks on recorded regions alone cannot say what "
            "was missed, nor how many alarms a good image raises"
        )
    elif unseen:
        notes.append(
            f"{unseen} of {len(silent)} images without a region were not looked at as a whole: what was missed there "
            "is not known"
        )
    if open_images:
        notes.append(
            f"{open_images} image{'s were' if open_images > 1 else ' was'} looked at as a whole, and "
            f"{'have' if open_images > 1 else 'has'} regions that are unmarked or unsure: left out of recall and rate"
        )
    if counts.stale:
        notes.append(f"{counts.stale} mark{'s are' if counts.stale > 1 else ' is'} stale")
    if damaged:
        many = "records cannot be read, and count" if damaged > 1 else "record cannot be read, and counts"
        notes.append(f"{damaged} {many} nowhere")
    return notes
