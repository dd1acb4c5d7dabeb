"""One inspected image against its truth: at which score each defect is found, and at which each false region shows.

A defect is found when the box of a region comes within `NEAR` px of one of its pixels; a region that comes near no
defect is false. Regions and the candidates below them reach equally far at every threshold (as far as `grow`), so one
look tells what is found at all of them: a defect at its highest near score and below.

The plant's rules count as they do on the line: what one of them made OK or REVIEW is NG at no threshold, and what one
made NG is NG at that of the run at least.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.defects import CANDIDATES_MAX
from flawmap.inspect.evaluation.promise import raised
from flawmap.inspect.evaluation.truth import GOOD, TrueImage
from flawmap.inspect.run.records import CandidateRecord, ImageRecord, RegionRecord
from flawmap.inspect.true_defects import NEAR, TrueDefect, is_near

Box = tuple[int, int, int, int]  # half-open (y0, x0, y1, x1) in the image
Detection = RegionRecord | CandidateRecord


@dataclass(frozen=True)
class NearestDetection:
    """What the model saw closest to a defect, however little."""

    gap_px: int  # Chebyshev, between the boxes; 0 where they touch or overlap
    score: float
    severity: float
    rule: str  # that decides about it, empty where severity does


@dataclass(frozen=True)
class DefectOutcome:
    """One defect; found at every threshold up to `score`."""

    box: Box
    area_px: int
    size_px: int  # longer side of the box
    score: float  # highest that counts within NEAR px; -inf where there is none
    nearest: NearestDetection | None  # None: the image shows nothing at all


@dataclass(frozen=True)
class FalseRegion:
    """A region or candidate that comes near no defect."""

    box: Box
    score: float
    severity: float


@dataclass(frozen=True)
class ImageOutcome:
    """One image of a run, compared with its truth. Holds no pixels."""

    image: str  # as in images.csv
    name: str  # of its files in the run folder
    truth: TrueImage
    shape: tuple[int, int]  # height, width
    verdict: str
    severity: float
    defects: list[DefectOutcome]
    false_regions: list[FalseRegion]
    raised: list[float]  # severities of everything the model raised, before the rules
    complete_from: float  # score: every region at or above it is known, lower ones perhaps not

    @property
    def is_good(self) -> bool:
        return self.truth.kind == GOOD

    def n_false(self, score: float) -> int:
        """False regions at or above `score`."""
        return sum(region.score >= score for region in self.false_regions)


def compare(record: ImageRecord, name: str, truth: TrueImage, candidate_score: float, ng: float) -> ImageOutcome:
    """`record` of an image that was inspected, `candidate_score` what its candidates begin at, `ng` what NG does.

    UsageError: the mask has another size than the image.
    """
    detections: list[Detection] = [*record.regions, *record.candidates]
    boxes = np.array([_box(d) for d in detections], np.int64).reshape(-1, 4)
    scores = np.array([counted_score(d, ng) for d in detections], np.float64)
    false = scores > -np.inf
    defects = []
    for defect in truth.defects(NEAR, (record.height, record.width)):
        gaps = box_gaps(boxes, defect)
        near = [int(i) for i in np.flatnonzero(gaps <= NEAR) if is_near(detections[i], defect)]
        false[near] = False
        defects.append(
            DefectOutcome(
                box=(defect.y0, defect.x0, defect.y1, defect.x1),
                area_px=defect.area_px,
                size_px=defect.size_px,
                score=float(scores[near].max()) if near else -np.inf,
                nearest=_nearest(gaps, detections),
            )
        )
    return ImageOutcome(
        image=record.image,
        name=name,
        truth=truth,
        shape=(record.height, record.width),
        verdict=record.verdict,
        severity=record.severity,
        defects=defects,
        false_regions=[
            FalseRegion(_box(detections[i]), float(scores[i]), detections[i].severity) for i in np.flatnonzero(false)
        ],
        raised=raised(record),
        complete_from=record.candidates[-1].score_max if len(record.candidates) >= CANDIDATES_MAX else candidate_score,
    )


def box_gaps(boxes: NDArray[np.int64], defect: TrueDefect) -> NDArray[np.int64]:
    """Distance of `boxes` (int64 [n, 4], half-open) from the box of `defect`, in px between the nearest pixels.

    Chebyshev; 0 where they overlap, 1 where they touch.
    """
    down = np.maximum(boxes[:, 0] - defect.y1, defect.y0 - boxes[:, 2]) + 1
    across = np.maximum(boxes[:, 1] - defect.x1, defect.x0 - boxes[:, 3]) + 1
    return np.asarray(np.maximum(np.maximum(down, across), 0), np.int64)


def counted_score(detection: Detection, ng: float) -> float:
    """The threshold up to which a region or candidate is NG: its score, unless a rule decides about it."""
    if not detection.rule:
        return detection.score_max
    if isinstance(detection, CandidateRecord):  # a rule cannot make it NG before it is a region: a lower bound
        return detection.score_max if detection.rule_verdict == "NG" else -np.inf
    return max(detection.score_max, ng) if detection.verdict == "NG" else -np.inf


def _nearest(gaps: NDArray[np.int64], detections: list[Detection]) -> NearestDetection | None:
    """The nearest box; the higher score of two that are equally near, all within NEAR px counting as equal."""
    if not len(gaps):
        return None
    scores = np.array([d.score_max for d in detections], np.float64)
    i = int(np.lexsort((-scores, np.maximum(gaps, NEAR)))[0])
    return NearestDetection(int(gaps[i]), float(scores[i]), detections[i].severity, detections[i].rule)


def _box(detection: Detection) -> Box:
    return detection.y_min, detection.x_min, detection.y_max, detection.x_max
