"""What the routes of the review take and answer, field by field: the schemas of the OpenAPI page."""

import unicodedata
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from flawmap.inspect.plain_text import plain
from flawmap.inspect.review.figures import Figures
from flawmap.inspect.review.mark_record import Box, Mark, MarkEntry
from flawmap.inspect.review.proposal import Proposal
from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun, StandingMark, box_of
from flawmap.inspect.run.records import RegionRecord, Verdict

LARGEST = 2**31 - 1  # px
Pixel = Annotated[int, Field(ge=0, le=LARGEST)]


def _one_line(text: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text):
        raise ValueError("must be one line, without control characters")
    return text.strip()


Name = Annotated[str, StringConstraints(max_length=100), AfterValidator(_one_line)]
Note = Annotated[str, StringConstraints(max_length=1000), AfterValidator(_one_line)]


class BoxAnswer(BaseModel):
    """Half-open, in px of the image."""

    model_config = ConfigDict(extra="forbid")

    x_min: Pixel
    y_min: Pixel
    x_max: Pixel
    y_max: Pixel

    @classmethod
    def of(cls, box: Box) -> Self:
        y0, x0, y1, x1 = box
        return cls(x_min=x0, y_min=y0, x_max=x1, y_max=y1)

    @property
    def box(self) -> Box:
        return self.y_min, self.x_min, self.y_max, self.x_max


class NewMark(BaseModel):
    """A mark on a region, or on a place where there is none: a defect that was missed."""

    model_config = ConfigDict(extra="forbid")

    mark: Mark | None = Field(description="null takes an earlier mark back")
    region: Pixel | None = Field(None, description="Number of the region; without it, `box` says what is marked")
    box: BoxAnswer | None = Field(None, description="Beside `region`: where the reviewer saw it")
    reviewer: Name = ""
    note: Note = ""


class NewLook(BaseModel):
    """A word on a picture as a whole."""

    model_config = ConfigDict(extra="forbid")

    complete: bool = Field(description="Every defect in it is marked, also those without a region")
    reviewer: Name = ""


class MarkAnswer(BaseModel):
    """One line of the history of marks."""

    id: int
    image: str  # id of the image
    box: BoxAnswer
    drawn: bool  # by the reviewer, where there was no region
    region: int | None  # number when it was marked
    severity: float | None  # then
    verdict: str  # then
    mark: Mark | None  # None: an earlier one was taken back
    reviewer: str
    note: str
    at: str  # ISO 8601, UTC
    stale: str = ""  # why it counts no more

    @classmethod
    def of(cls, entry: MarkEntry, stale: str = "") -> Self:
        return cls(
            id=entry.id,
            image=entry.image,
            box=BoxAnswer.of(entry.box),
            drawn=entry.drawn,
            region=entry.region,
            severity=entry.severity,
            verdict=entry.verdict,
            mark=entry.mark,
            reviewer=entry.reviewer,
            note=entry.note,
            at=entry.at,
            stale=stale,
        )

    @classmethod
    def of_standing(cls, mark: StandingMark) -> Self:
        return cls.of(mark.entry, mark.stale)


class ReviewedRegion(BaseModel):
    """A region and its mark."""

    region: int
    box: BoxAnswer
    verdict: Verdict
    severity: float
    dropped: bool  # by a rule: it counts for nothing and needs no mark
    mark: MarkAnswer | None

    @classmethod
    def of(cls, region: RegionRecord, image: ReviewedImage) -> Self:
        entry = image.mark_of.get(box_of(region))
        return cls(
            region=region.region,
            box=BoxAnswer.of(box_of(region)),
            verdict=region.verdict,
            severity=region.severity,
            dropped=region.dropped,
            mark=None if entry is None else MarkAnswer.of(entry),
        )


class ImageReview(BaseModel):
    """How far the review of one image has come."""

    id: str  # for addresses
    image: str  # for people
    verdict: Verdict
    severity: float | None  # None where nobody has looked at it
    inspected: str  # ISO 8601, UTC
    n_regions: int  # that count
    unmarked: int  # of these
    defects: int  # marks that count
    false_alarms: int
    unsure: int
    stale: int
    looked_at: bool  # as a whole, said a person
    complete: bool  # so, and no region is unmarked or unsure: the figures rest on these images
    error: str

    @classmethod
    def of(cls, image: ReviewedImage) -> Self:
        return cls(**_review(image))


class ImageReviewDetail(ImageReview):
    """One image with its regions and everything that people said of it."""

    width: int
    height: int
    regions: list[ReviewedRegion]
    drawn: list[MarkAnswer]  # marks on places without a region
    stale_marks: list[MarkAnswer]
    pictures: dict[str, Any]  # as the report has them: links relative to the files of the run

    @classmethod
    def of_image(cls, image: ReviewedImage, pictures: dict[str, Any]) -> Self:
        return cls(
            **_review(image),
            width=image.record.width,
            height=image.record.height,
            regions=[ReviewedRegion.of(region, image) for region in image.record.regions],
            drawn=[MarkAnswer.of(m.entry) for m in image.marks if not m.stale and m.region is None],
            stale_marks=[MarkAnswer.of_standing(mark) for mark in image.marks if mark.stale],
            pictures=pictures,
        )


class RunReview(BaseModel):
    """How far the review of a run has come."""

    run: str
    product: str
    state: str
    images: list[ImageReview]  # in natural order

    @classmethod
    def of(cls, id: str, run: ReviewedRun) -> Self:
        info = run.recorded.info
        images = [ImageReview.of(image) for image in run.images]
        return cls(run=id, product=plain(info.product), state=info.state, images=images)


class FiguresAnswer(BaseModel):
    """What the marks on a run say, of each camera where a recipe was given; and the thresholds proposed."""

    figures: Figures
    proposals: list[Proposal]


def _review(image: ReviewedImage) -> dict[str, Any]:
    record = image.record
    says = [entry.mark for entry in image.mark_of.values()]
    return {
        "id": image.name,
        "image": plain(record.image),
        "verdict": record.verdict,
        "severity": None if record.verdict == "ERROR" else record.severity,
        "inspected": plain(record.inspected),
        "n_regions": record.n_regions,
        "unmarked": 0 if record.verdict == "ERROR" else len(image.unmarked),
        "defects": says.count("defect"),
        "false_alarms": says.count("false_alarm"),
        "unsure": says.count("unsure"),
        "stale": sum(bool(mark.stale) for mark in image.marks),
        "looked_at": image.looked_at,
        "complete": image.complete,
        "error": plain(record.error),
    }
