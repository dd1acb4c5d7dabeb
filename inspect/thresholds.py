"""The three scores that decide, drawn from a calibration and the false alarms that are allowed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.export.calibration_record import Calibration, check_false_alarms
from flawmap.inspect.run.records import Verdict

CANDIDATE_SEVERITY = -1.0  # ten a good image: candidates that an evaluation may ask for begin here
REVIEW_BAND = 0.3  # in severity: twice as many false regions as allowed are worth a look


@dataclass(frozen=True)
class Thresholds:
    """`grow <= candidate <= review <= ng` as scores, the last two as severities; the calibration judges the rest."""

    calibration: Calibration
    false_alarms: float  # expected false regions on a good image that NG may cost
    grow: float  # score: a region reaches as far as the heatmap is at or above it
    candidate: float  # score: what peaks from here up to below `review` is recorded, and shown to nobody
    review: float  # score: a region needs one pixel at or above it
    ng: float  # score
    severity_review: float
    severity_ng: float

    @classmethod
    def of(cls, calibration: Calibration, false_alarms: float) -> "Thresholds":
        """UsageError for `false_alarms` outside (0, 100]."""
        severity_ng = -math.log10(check_false_alarms(false_alarms))
        severity_review = severity_ng - REVIEW_BAND
        # Rounded to what a heatmap can hold, so that a pixel on the line is on the same side of it everywhere.
        at_severity = (calibration.score_at(s) for s in (CANDIDATE_SEVERITY, severity_review, severity_ng))
        grow, at_candidate, at_review, at_ng = (float(np.float32(s)) for s in (calibration.grow, *at_severity))
        review = max(grow, at_review)
        candidate = min(max(grow, at_candidate), review)
        return cls(calibration, false_alarms, grow, candidate, review, max(review, at_ng), severity_review, severity_ng)

    def severities(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Severity of region peaks, float64, any shape."""
        return np.asarray(self.calibration.severity(scores), np.float64)

    def verdict(self, score_max: float) -> Verdict:
        """The verdict on a region, or on an image by its worst region, from its peak in the heatmap.

        Decided on scores: a severity that went through a logarithm and back would move a region that lies on the line.
        """
        if score_max >= self.ng:
            return "NG"
        return "REVIEW" if score_max >= self.review else "OK"

    def as_numbers(self) -> dict[str, float]:
        """For run.json."""
        return {
            "grow": self.grow,
            "candidate": self.candidate,
            "review": self.review,
            "ng": self.ng,
            "severity_review": self.severity_review,
            "severity_ng": self.severity_ng,
        }
