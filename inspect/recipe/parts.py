"""One verdict a part, from its images; parts.csv.

A part is NG where one of its images is: no further image can make it good again. Otherwise it is ERROR where an image
is missing, could not be inspected or was not yet when the run was broken off, since nobody has looked there; otherwise
REVIEW or OK as its worst image is.

False alarms add up. With F_i false regions allowed on image i, a good part shows sum(F_i). Let image i be as severe as
r_i regions of a good image are; it is NG where r_i <= F_i. The worst image is the one with the smallest q = r_i / F_i,
and a good part shows sum(q F_i) regions as far beyond their image's line as that one. So

    severity of the part = -log10(q sum(F_i)) = max(severity_i + log10 F_i) - log10 sum(F_i)
    NG from                -log10(sum(F_i))

For n images of one F that is the worst image's severity less log10 n. (The sum of all r_i would be another thing: the
quiet images, each of which a good part shows, would bury the defect.) Expected images count whether or not they came.
"""

import csv
import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from flawmap.inspect.recipe.name_pattern import Glob
from flawmap.inspect.run.layout import PARTS_TABLE
from flawmap.inspect.run.records import ImageRecord, RecipeInfo, Verdict
from flawmap.inspect.thresholds import REVIEW_BAND
from flawmap.tiling.sheet_text import sheet_text
from flawmap.tiling.whole_file import write_whole

COLUMNS = ("part", "verdict", "severity", "n_images", "worst_image", "missing_cameras")
DECIDES_FIRST: tuple[Verdict, ...] = ("NG", "ERROR", "REVIEW", "OK")


@dataclass(frozen=True)
class PartResult:
    """One part. Its severity says nothing where the verdict is ERROR."""

    part: str
    verdict: Verdict
    severity: float
    severity_review: float  # where its REVIEW and NG begin
    severity_ng: float
    n_images: int
    n_regions: int
    worst_image: str  # the one that decides the verdict
    missing_cameras: list[str]


@dataclass
class _Part:
    false_alarms: dict[str, float] = field(default_factory=dict)  # by camera, of images that have a model
    cameras: set[str] = field(default_factory=set)
    verdicts: set[Verdict] = field(default_factory=set)
    n_images: int = 0
    n_regions: int = 0
    above_ng: float = -math.inf  # severity of the worst image less that at which its NG begins
    worst: tuple[int, float, str] = (len(DECIDES_FIRST), 0.0, "")  # rank, -above_ng, image: the smallest is the worst


class Parts:
    """Takes the records of a run one by one and keeps a few numbers a part."""

    def __init__(self, recipe: RecipeInfo) -> None:
        self._recipe = recipe
        self._parts: dict[str, _Part] = {}
        self._without_part = 0
        self._expected = {
            camera: next(model.false_alarms for model in recipe.models if Glob(model.camera).fits_name(camera))
            for camera in recipe.expected
        }

    def add(self, record: ImageRecord) -> None:
        """A record whose name did not tell its part is counted and belongs to none."""
        if not record.part:
            self._without_part += 1
            return
        part = self._parts.setdefault(record.part, _Part())
        part.cameras.add(record.camera)
        part.verdicts.add(record.verdict)
        part.n_images += 1
        part.n_regions += record.n_regions
        above_ng = -math.inf
        if record.model is not None:
            model = self._recipe.models[record.model]
            # Several images of one camera can only be the pages of one file: each shows its share.
            part.false_alarms[record.camera] = part.false_alarms.get(record.camera, 0.0) + model.false_alarms
            if record.verdict != "ERROR":
                above_ng = record.severity - model.thresholds["severity_ng"]
        part.above_ng = max(part.above_ng, above_ng)
        part.worst = min(part.worst, (DECIDES_FIRST.index(record.verdict), -above_ng, record.image))

    def results(self, unfinished: Collection[str]) -> list[PartResult]:
        """In the order in which their first images were added; `unfinished` parts have images that were not."""
        return [self._result(name, part, name in unfinished) for name, part in self._parts.items()]

    def counts(self, results: Iterable[PartResult]) -> dict[str, int]:
        """For run.json."""
        counts = Counter(dict.fromkeys(("parts", *get_args(Verdict)), 0))
        for result in results:
            counts.update({"parts": 1, result.verdict: 1})
        return {**counts, "images_without_part": self._without_part}

    def _result(self, name: str, part: _Part, unfinished: bool) -> PartResult:
        missing = [] if unfinished else [camera for camera in self._expected if camera not in part.cameras]
        verdicts = part.verdicts | ({"ERROR"} if missing or unfinished else set())
        allowed = sum((self._expected | part.false_alarms).values())
        severity_ng = -math.log10(allowed) if allowed else 0.0  # no model at all: an ERROR
        return PartResult(
            part=name,
            verdict=next(verdict for verdict in DECIDES_FIRST if verdict in verdicts),
            severity=severity_ng + part.above_ng if part.above_ng > -math.inf else 0.0,
            severity_review=severity_ng - REVIEW_BAND,
            severity_ng=severity_ng,
            n_images=part.n_images,
            n_regions=part.n_regions,
            worst_image=part.worst[2],
            missing_cameras=missing,
        )


def write_parts(run_dir: Path, results: Iterable[PartResult]) -> None:
    """Writes parts.csv whole or not at all. Severities have 3 decimals, a part that is ERROR has none."""
    with (
        write_whole(run_dir / PARTS_TABLE) as path,
        path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for part in results:
            severity = "" if part.verdict == "ERROR" else round(part.severity, 3) + 0.0  # not -0.0
            missing = ";".join(part.missing_cameras)
            texts = [sheet_text(text) for text in (part.part, part.worst_image, missing)]
            table.writerow([texts[0], part.verdict, severity, part.n_images, *texts[1:]])
