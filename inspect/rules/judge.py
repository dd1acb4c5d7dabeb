"""From what was found to a verdict: fragments joined, regions measured and named, the plant's rules before severity.

Rules have no part in calibration. Severity says how rare a score is on good parts, whatever the plant decides to make
of it: a rule that is changed moves no threshold, and what rules drop or join can only make false alarms rarer than the
calibration promises. (docs/rules.md has the rest of it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flawmap.export.part_record import Part
from flawmap.export.rules_record import VerdictRule, When
from flawmap.export.where_record import Where, Zone
from flawmap.inspect.defects import CANDIDATES_MAX, Found
from flawmap.inspect.rules.conditions import Measured, fitting, measure
from flawmap.inspect.rules.findings import Findings
from flawmap.inspect.run.records import Verdict
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError
from flawmap.tiling.look_map import Look
from flawmap.tiling.physical_size import PixelSize, Size
from flawmap.tiling.region_shapes import PX, TracedRegions

NAME_LENGTH = 80  # that a rule may have
SHORTER = 1e-6  # relative: a region of the smallest size itself counts
WORST_FIRST: tuple[Verdict, ...] = ("NG", "REVIEW", "OK")


@dataclass(frozen=True)
class Judged:
    """What one image shows, and what that means."""

    regions: Findings  # the worst verdict first, the most severe first within; what rules dropped is last
    candidates: Findings  # at most CANDIDATES_MAX, the highest first
    peak: float  # score that the image's severity is drawn from
    verdict: Verdict
    pixel_size: PixelSize | None  # what was taken for the size of a pixel


class Judge:
    """Knows the rules of one part and the thresholds of one run."""

    def __init__(self, part: Part, thresholds: Thresholds) -> None:
        self.rules = part.rules
        self.verdict_rules = [*part.rules.verdicts, *_of_zones(part.where)]
        self._zones = part.where.zones
        self.thresholds = thresholds
        self._pixel_size = part.pixel_size
        self._needs_size = next(part.physical_sizes(), None)

    def judge(self, found: Found, stated: PixelSize | None, look: Look | None = None) -> Judged:
        """`stated`: what the image's file says a pixel covers, which counts where the part says `pixel_size: image`.

        `look`: of the image, uint8 [H, W], where it has zones.
        ImageError where a rule needs the size of a pixel and the file does not say it.
        """
        pixel = self._pixel(stated)
        traced, fragments = self._joined(found, pixel)
        scores = traced.regions["score_max"]
        n_regions = int(np.count_nonzero(scores >= np.float32(self.thresholds.review)))
        shown = min(len(traced), n_regions + CANDIDATES_MAX)
        traced, fragments = traced.first(shown), fragments[:shown]
        measured = Measured(
            traced,
            measure(traced, fragments, pixel),
            self.thresholds.severities(traced.regions["score_max"]),
            np.arange(shown) < n_regions,
            np.full(shown, ""),
            zone_names(traced.regions, look, self._zones),
            pixel,
        )
        findings = self._decide(measured, ruled=found.told_apart)
        ranks = np.array([WORST_FIRST.index(verdict) for verdict in findings.verdicts[:n_regions]], np.int64)
        regions = findings.take(np.argsort(ranks, kind="stable"))
        return Judged(
            regions,
            findings.take(np.arange(n_regions, shown)),
            self._peak(found, findings),
            regions.verdicts[0] if len(regions) else "OK",
            pixel,
        )

    def _pixel(self, stated: PixelSize | None) -> PixelSize | None:
        if self._pixel_size != "image":
            return self._pixel_size
        if stated is None and self._needs_size is not None:
            key, size = self._needs_size
            raise ImageError(
                "image",
                f"`{key}` (={size}) needs the size of a pixel, and the file does not say it (`pixel_size: image`)",
            )
        return stated

    def _joined(self, found: Found, pixel: PixelSize | None) -> tuple[TracedRegions, NDArray[np.int64]]:
        """Candidates are joined too: a scratch goes on where it is faint."""
        reach = self.rules.join
        if reach is None or not found.told_apart:
            return found.traced, np.ones(len(found.traced), np.int64)
        return found.traced.joined(reach.magnitude, PX if reach.in_px else pixel or PX)

    def _decide(self, measured: Measured, *, ruled: bool) -> Findings:
        """Class, rule and verdict of each; without a rule the verdict is that of the score.

        `ruled`: whether rules apply. To a picture that is nothing but hits none does: it is one region because nobody
        could tell more, and a rule made for a stain must not let it pass.
        """
        n, regions = len(measured.traced), measured.traced.regions
        classes = np.full(n, "", object)
        for one in reversed(self.rules.classes):
            classes[fitting(one.when, measured)] = one.name
        measured = replace(measured, classes=classes.astype(np.str_))
        verdicts = np.array([self.thresholds.verdict(float(score)) for score in regions["score_max"]], object)
        rules = np.full(n, "", object)
        for rule in reversed(self.verdict_rules if ruled else []):  # the first that fits has the last word
            fits = fitting(rule.when, measured)
            rules[fits], verdicts[fits] = rule.name, rule.verdict
        return Findings(
            regions, measured.shapes, measured.classes, rules.astype(np.str_), measured.zones, verdicts.tolist()
        )

    def _peak(self, found: Found, findings: Findings) -> float:
        """The highest score of the image; once rules dropped something, of what they left."""
        dropped = findings.dropped
        if not dropped.any():
            return found.peak
        left = findings.regions["score_max"][~dropped]
        return float(left.max()) if len(left) else min(found.peak, self.thresholds.candidate)


def zone_names(regions: NDArray[np.void], look: Look | None, zones: Sequence[Zone]) -> NDArray[np.str_]:
    """The zone that the peak of each of `regions` lies in, empty for none; [k]."""
    if look is None:
        return np.full(len(regions), "")
    names = np.array(["", "", *(zone.name for zone in zones)])  # outside, inside, zones: as a look numbers them
    return np.asarray(names[look[regions["peak_y"], regions["peak_x"]]])


def _of_zones(where: Where) -> list[VerdictRule]:
    """What drops regions that are too small for their zone; behind the plant's own rules."""
    rules = []
    for zone in where.zones:
        if zone.smallest is not None:
            shorter = Size(zone.smallest.value * (1 - SHORTER), zone.smallest.unit)
            when = When.model_validate({"zone": zone.name, "length": {"max": shorter}})
            name = f"smaller than {zone.smallest} in {zone.name}"
            rules.append(VerdictRule.model_validate({"name": name[:NAME_LENGTH], "when": when, "verdict": "OK"}))
    return rules
