"""The result of one part as a file for a PLC or an MES: the fields of OPC UA's `ResultDataType`.

Names, types and meaning of everything outside `resultContent` are those of OPC 40100-1 (OPC UA for Machine Vision,
Part 1, release 1.00), section 12: `ResultDataType`, `ProcessingTimesDataType`, `ResultStateDataType`, `PartIdDataType`,
`JobIdDataType`, `RecipeIdInternalDataType`, `ConfigurationIdDataType`. The standard leaves the content to the vision
system: `resultContent` holds one `PartContent`. Times are UTC, durations milliseconds, as OPC UA has them.
"""

import base64
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from flawmap.inspect.run.records import ImageRecord, RunInfo, Verdict

COMPLETED, FAILED = 1, 4  # ResultStateDataType
REGIONS_TOLD = 20  # of one image, the most severe; all of them are in regions/*.json


class _Camel(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Identifier(_Camel):
    """ResultIdDataType, PartIdDataType, JobIdDataType."""

    id: str


class VersionedIdentifier(_Camel):
    """RecipeIdInternalDataType, ConfigurationIdDataType."""

    id: str
    version: str
    hash: str | None = None  # base64, as OPC UA's JSON writes a ByteString
    hash_algorithm: str | None = None


class ProcessingTimes(_Camel):
    """ProcessingTimesDataType."""

    start_time: str
    end_time: str
    processing_duration: float  # ms: reading, scoring, deciding and writing, all images of the part


class ToldRegion(_Camel):
    """A region, half-open, px of the image."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    severity: float
    verdict: Verdict
    defect_class: str  # by the plant's rules; empty without one


class ToldImage(_Camel):
    """One image of the part."""

    image: str  # relative to the folder watched
    camera: str
    verdict: Verdict
    severity: float | None  # None where the image could not be inspected
    error: str
    n_regions: int
    regions: list[ToldRegion]  # the worst, REGIONS_TOLD at most; none that the plant's rules dropped


class PartContent(_Camel):
    """What flawmap says of the part."""

    verdict: Verdict
    severity: float | None  # None where the verdict is ERROR
    severity_review: float  # REVIEW begins here
    severity_ng: float  # NG begins here
    missing_cameras: list[str]
    error: str  # why nobody can say whether the part is good
    images: list[ToldImage]


class PartResult(_Camel):
    """ResultDataType."""

    result_id: Identifier
    is_partial: Literal[False]
    is_simulated: Literal[False]
    result_state: int
    part_id: Identifier
    internal_recipe_id: VersionedIdentifier
    internal_configuration_id: VersionedIdentifier
    job_id: Identifier
    creation_time: str
    processing_times: ProcessingTimes
    result_content: list[PartContent]

    def text(self) -> str:
        """JSON; a byte of a name that is no UTF-8 stays the lone surrogate that Python makes of it, escaped."""
        values = self.model_dump(by_alias=True, exclude_unset=True)
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        try:
            text.encode()
        except UnicodeEncodeError:
            text = json.dumps(values, indent=2, allow_nan=False)
        return text + "\n"

    @classmethod
    def of_text(cls, text: str) -> "PartResult":
        """The inverse of `text`; ValueError for anything else."""
        return cls.model_validate(json.loads(text))


@dataclass(frozen=True)
class Judged:
    """What the images of a part come to."""

    part: str
    verdict: Verdict
    severity: float
    severity_review: float
    severity_ng: float
    missing_cameras: list[str]


class ResultWriter:
    """Fills in what all results of one job have in common; a job is one start of the watcher."""

    def __init__(self, run: RunInfo) -> None:
        digest = base64.b64encode(bytes.fromhex(run.bundle_sha256)).decode()
        self._recipe = VersionedIdentifier(
            id=run.product, version=run.bundle_sha256[:12], hash=digest, hash_algorithm="SHA-256"
        )
        self._configuration = VersionedIdentifier(id="flawmap", version=run.versions["flawmap"])
        self._job = Identifier(id=str(uuid.uuid4()))

    def result(self, judged: Judged, records: Sequence[ImageRecord]) -> PartResult:
        """The result of a part with these images, the first inspected first; under an identifier of its own."""
        failed = judged.verdict == "ERROR"
        reasons = [f"{record.image}: {record.error}" for record in records if record.error]
        if judged.missing_cameras:
            reasons.append(f"no picture of {', '.join(judged.missing_cameras)}")
        content = PartContent(
            verdict=judged.verdict,
            severity=None if failed else round(judged.severity, 3),
            severity_review=round(judged.severity_review, 3),
            severity_ng=round(judged.severity_ng, 3),
            missing_cameras=judged.missing_cameras,
            error="; ".join(reasons),
            images=[_told(record) for record in records],
        )
        return PartResult(
            result_id=Identifier(id=str(uuid.uuid4())),
            is_partial=False,
            is_simulated=False,
            result_state=FAILED if failed else COMPLETED,
            part_id=Identifier(id=judged.part),
            internal_recipe_id=self._recipe,
            internal_configuration_id=self._configuration,
            job_id=self._job,
            creation_time=_utc(datetime.now(UTC)),
            processing_times=_times(records),
            result_content=[content],
        )


def _told(record: ImageRecord) -> ToldImage:
    return ToldImage(
        image=record.image,
        camera=record.camera,
        verdict=record.verdict,
        severity=None if record.verdict == "ERROR" else round(record.severity, 3),
        error=record.error,
        n_regions=record.n_regions,
        regions=[
            ToldRegion(
                x_min=region.x_min,
                y_min=region.y_min,
                x_max=region.x_max,
                y_max=region.y_max,
                severity=round(region.severity, 3),
                verdict=region.verdict,
                defect_class=region.defect_class,
            )
            for region in [region for region in record.regions if not region.dropped][:REGIONS_TOLD]
        ],
    )


def _times(records: Sequence[ImageRecord]) -> ProcessingTimes:
    """From the first image being begun to the last being decided; now, where a part has no image at all."""
    ends = [datetime.fromisoformat(record.inspected) for record in records if record.inspected]
    took = [record.milliseconds.get("total", 0.0) for record in records if record.inspected]
    now = datetime.now(UTC)
    starts = [end - timedelta(milliseconds=ms) for end, ms in zip(ends, took, strict=True)]
    return ProcessingTimes(
        start_time=_utc(min(starts, default=now)),
        end_time=_utc(max(ends, default=now)),
        processing_duration=round(sum(took), 1),
    )


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
