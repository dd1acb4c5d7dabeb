"""What the routes on runs answer, field by field: the schemas of the OpenAPI page."""

from typing import Any, Literal
from urllib.parse import quote

from pydantic import BaseModel

from flawmap.inspect.plain_text import plain, plain_values
from flawmap.inspect.run.records import AlignmentRecord, PixelSizeRecord, RegionRecord
from flawmap.inspect.run.records import ImageRecord as Record
from flawmap.inspect.service.history import RunOnDisk, Summary
from flawmap.tiling.errors import UsageError

AnyVerdict = Literal["OK", "REVIEW", "NG", "ERROR", "DAMAGED"]


class RunAnswer(BaseModel):
    """One run."""

    id: str  # name of its folder; bytes that are not UTF-8 as \\xe9
    state: Literal["running", "finished", "interrupted", "damaged"]
    problem: str = ""  # why run.json cannot be read
    started: str = ""  # ISO 8601 with time zone
    finished: str | None = None
    product: str = ""
    bundle: str = ""
    bundle_sha256: str = ""
    device: str = ""
    false_alarms: float | None = None  # false regions that a good image may show; None of a run with a recipe
    thresholds: dict[str, float] = {}
    counts: dict[str, int]  # images, by verdict, regions, dropped; of a run that goes on, as of now
    report: str | None  # address of its page, where that was written


class ImageAnswer(BaseModel):
    """One image of a run."""

    id: str  # for addresses
    image: str  # for people: path relative to the folder given
    verdict: AnyVerdict  # DAMAGED: its record cannot be read
    severity: float | None  # None where nobody has looked at it
    n_regions: int  # that count
    width: int
    height: int
    milliseconds: float
    inspected: str  # ISO 8601, UTC
    error: str  # why it was not inspected, or why its record cannot be read
    part: str = ""
    camera: str = ""
    overlay: str | None  # address of the whole picture with its regions


class ImagesAnswer(BaseModel):
    """A stretch of a list."""

    total: int  # images that the filter lets pass
    images: list[ImageAnswer]


class ImageDetail(ImageAnswer):
    """Everything about one image."""

    run: str
    milliseconds_by_stage: dict[str, float]
    counted_share: float  # of its pixels, that were to be looked at
    alignment: AlignmentRecord | None
    pixel_size: PixelSizeRecord | None
    regions: list[RegionRecord]  # the worst first; `picture` relative to the run's files


def run_answer(run: RunOnDisk) -> RunAnswer:
    report = address(run, "index.html") if (run.folder / "index.html").is_file() else None
    try:
        info = run.info()
    except UsageError as error:
        return RunAnswer(id=run.id, state="damaged", problem=plain(str(error)), counts=run.counts(), report=report)
    text: dict[str, Any] = plain_values(info.model_dump())
    return RunAnswer(
        id=run.id,
        state=info.state,
        started=text["started"],
        finished=text["finished"],
        product=text["product"],
        bundle=text["bundle"],
        bundle_sha256=text["bundle_sha256"],
        device=text["device"],
        false_alarms=None if info.recipe else info.settings.get("false_alarms"),
        thresholds=text["thresholds"],
        counts=run.counts() if info.state == "running" else text["counts"],
        report=report,
    )


def image_answer(run: RunOnDisk, image: Summary) -> ImageAnswer:
    return ImageAnswer(**_shared(run, image))


def image_detail(run: RunOnDisk, id: str, record: Record) -> ImageDetail:
    rest = plain_values(record.model_dump(include={"counted_share", "alignment", "pixel_size", "regions"}))
    return ImageDetail(
        **_shared(run, Summary.of(id, record)),
        **rest,
        run=run.id,
        milliseconds_by_stage=plain_values(record.milliseconds),
    )


def address(run: RunOnDisk, path: str) -> str:
    """Of a file of the run."""
    return f"/api/runs/{quote(run.id, safe='')}/files/{quote(plain(path))}"


def _shared(run: RunOnDisk, image: Summary) -> dict[str, Any]:
    return {
        "id": image.id,
        "image": plain(image.image),
        "verdict": image.verdict,
        "severity": image.severity,
        "n_regions": image.n_regions,
        "width": image.width,
        "height": image.height,
        "milliseconds": image.milliseconds,
        "inspected": plain(image.inspected),
        "error": plain(image.error or image.problem),
        "part": plain(image.part),
        "camera": plain(image.camera),
        "overlay": None if image.overlay is None else address(run, image.overlay),
    }
