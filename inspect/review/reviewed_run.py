"""How the marks on a run stand against what the run holds now.

A run goes on, is done again with another bundle, its pictures are replaced. So a mark counts where it still means what
the reviewer saw: the same file, and a region with the very same box. What has gone stale is said, and why; a stale
mark counts for nothing, but for one kind: a defect that a person saw in a picture that is still the same is still
there, whatever another bundle makes of it. It stays a known defect, found if a region comes near, until a region there
is marked anew.
"""

from dataclasses import dataclass, field
from functools import cached_property

from flawmap.inspect.review.mark_record import Box, LookEntry, MarkEntry, Source
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.inspect.run.records import CandidateRecord, ImageRecord, RegionRecord
from flawmap.inspect.true_defects import NEAR

NO_IMAGE = "the run has no such image any more"
NOT_INSPECTED = "the image could not be inspected"
REPLACED = "the picture was replaced since"
NO_REGION = "no region has this box any more"


@dataclass(frozen=True)
class StandingMark:
    """A mark, and the region that it is on; None where it was drawn, or is stale."""

    entry: MarkEntry
    region: RegionRecord | None
    stale: str  # why; empty: it counts


@dataclass(frozen=True)
class ReviewedImage:
    """One image of a run and what people said of it."""

    name: str  # of its files
    record: ImageRecord
    marks: list[StandingMark] = field(default_factory=list)
    look: LookEntry | None = None  # None too where the picture was replaced since

    @cached_property
    def mark_of(self) -> dict[Box, MarkEntry]:
        """The marks that count, by box."""
        return {mark.entry.box: mark.entry for mark in self.marks if not mark.stale}

    @cached_property
    def unmarked(self) -> list[RegionRecord]:
        """Regions that count and bear no mark."""
        return [one for one in self.record.regions if not one.dropped and box_of(one) not in self.mark_of]

    @cached_property
    def defects(self) -> list[Box]:
        """Where defects are known to be, those of stale marks that still hold included."""
        known = [box for box, entry in self.mark_of.items() if entry.mark == "defect"]
        return known + [mark.entry.box for mark in self.marks if self._still_holds(mark)]

    @property
    def unsure(self) -> bool:
        return any(entry.mark == "unsure" for entry in self.mark_of.values())

    @property
    def looked_at(self) -> bool:
        """Whether somebody said so of the whole picture."""
        return self.look is not None and self.look.complete

    @property
    def complete(self) -> bool:
        """Whether all of the picture is known: looked at, and no region without a mark or with an unsure one."""
        return self.looked_at and self.record.verdict != "ERROR" and not self.unmarked and not self.unsure

    @property
    def is_good(self) -> bool:
        return self.complete and not self.defects

    def _still_holds(self, mark: StandingMark) -> bool:
        if mark.stale != NO_REGION or mark.entry.mark != "defect":
            return False
        return not any(boxes_near(mark.entry.box, box) for box in self.mark_of)


@dataclass(frozen=True)
class ReviewedRun:
    """A run with its marks. `orphans` are on images that it does not hold."""

    recorded: RecordedRun
    images: list[ReviewedImage]
    orphans: list[StandingMark]

    @property
    def inspected(self) -> list[ReviewedImage]:
        return [image for image in self.images if image.record.verdict != "ERROR"]

    @property
    def stale(self) -> list[StandingMark]:
        return self.orphans + [mark for image in self.images for mark in image.marks if mark.stale]


def reviewed_run(recorded: RecordedRun, marks: list[MarkEntry], looks: dict[str, LookEntry]) -> ReviewedRun:
    """`recorded` with the marks and looks that the store holds of it."""
    of_image: dict[str, list[MarkEntry]] = {}
    for entry in marks:
        of_image.setdefault(entry.image, []).append(entry)
    images = [reviewed_image(image, of_image.pop(image.name, []), looks.get(image.name)) for image in recorded.images]
    orphans = [StandingMark(entry, None, NO_IMAGE) for entries in of_image.values() for entry in entries]
    return ReviewedRun(recorded, images, orphans)


def reviewed_image(image: RecordedImage, marks: list[MarkEntry], look: LookEntry | None) -> ReviewedImage:
    """One image with its marks and its look, stale ones told apart."""
    record = image.record
    regions = {box_of(region): region for region in record.regions}
    standing = [_standing(entry, record, regions) for entry in marks]
    return ReviewedImage(
        image.name, record, standing, look if look is not None and look.source == source_of(record) else None
    )


def _standing(entry: MarkEntry, record: ImageRecord, regions: dict[Box, RegionRecord]) -> StandingMark:
    if record.verdict == "ERROR":
        return StandingMark(entry, None, NOT_INSPECTED)
    if entry.source != source_of(record):
        return StandingMark(entry, None, REPLACED)
    region = regions.get(entry.box)
    if region is None and not entry.drawn:
        return StandingMark(entry, None, NO_REGION)
    return StandingMark(entry, region, "")


def source_of(record: ImageRecord) -> Source:
    return Source(record.source.size_bytes, record.source.modified_ns)


def box_of(detection: RegionRecord | CandidateRecord) -> Box:
    return detection.y_min, detection.x_min, detection.y_max, detection.x_max


def boxes_near(one: Box, other: Box) -> bool:
    """Whether two boxes come within `NEAR` px of each other: the rule by which `flawmap evaluate` finds a defect."""
    return all(one[axis] - NEAR < other[axis + 2] and other[axis] - NEAR < one[axis + 2] for axis in (0, 1))
