"""Whether a faster model finds what the bundle's own model finds: both inspect the same images, calibrated alike.

Defects are injected into good images (`flawmap.inspect.detection_limit`), in sizes and contrasts on both sides of what
can be found at all, and those of a labelled dataset are looked for where there is one. What the bundle's own model
finds must be found. Of the injected ones some lie on the threshold itself, and fall to either side of it with any
rounding: of these as many may be lost as are gained, and none that stood clear of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.inspect.detection_limit.analysis import Injection
from flawmap.inspect.detection_limit.injection import Design, Injector
from flawmap.inspect.detection_limit.judge import judge
from flawmap.inspect.evaluation.truth import TrueImage
from flawmap.inspect.inspect_image import region_records
from flawmap.inspect.pipeline import Inspection, Pipeline
from flawmap.inspect.progress import Step
from flawmap.inspect.true_defects import NEAR, is_near
from flawmap.tiling.images import read_image

CLEAR = 0.3  # of severity above NG: a region that half as many good images show as may


@dataclass
class Comparison:
    """Counts of defects and false regions by the bundle's own model (`before`) and the faster one (`after`)."""

    injected: int = 0
    injected_before: int = 0
    injected_after: int = 0
    gained: int = 0  # of the injected
    lost: list[str] = field(default_factory=list)  # of the injected, in words
    lost_clearly: list[str] = field(default_factory=list)
    labelled: int = 0
    labelled_before: int = 0
    labelled_after: int = 0
    labelled_lost: list[str] = field(default_factory=list)
    good_images: int = 0
    false_before: int = 0  # NG regions on good images
    false_after: int = 0

    def why_not(self) -> str:
        """What speaks against the faster model, in words; empty where no detection is lost."""
        if self.labelled_lost:
            return (
                f"of {self.labelled} labelled defects {self.labelled_before} were found before and "
                f"{self.labelled_after} now; lost: {_some(self.labelled_lost)}"
            )
        counts = f"of {self.injected} injected defects {self.injected_before} were found before and "
        if self.lost_clearly:
            return f"{counts}{self.injected_after} now; lost though they stood clear: {_some(self.lost_clearly)}"
        if len(self.lost) > self.gained:
            return f"{counts}{self.injected_after} now; {len(self.lost)} lost, {self.gained} gained: {_some(self.lost)}"
        return ""

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"lost": len(self.lost), "lost_clearly": len(self.lost_clearly)}


def compare_injected(
    before: Pipeline, after: Pipeline, paths: Sequence[Path], design: Design, into: Comparison, step: Step
) -> None:
    """Injects `design` into the good images `paths` and looks for it with both; counts go `into`."""
    severity_ng = before.sure_thresholds().severity_ng
    for path, planned in zip(paths, design.plan(len(paths)), strict=True):
        image, stated = read_image(path, before.info.image.reading), before.info.part.stated_by(path)
        untouched = [pipeline.inspect(image, stated=stated) for pipeline in (before, after)]
        into.good_images += 1
        into.false_before += _count_ng(untouched[0])
        into.false_after += _count_ng(untouched[1])
        boxes = [(r.y_min, r.x_min, r.y_max, r.x_max) for one in untouched for r in region_records(one)]
        gap_px = max(design.gap_px, before.info.network.receptive_field)
        injector = Injector(image, np.array(boxes, np.int64).reshape(-1, 4), gap_px)
        left = list(planned)
        while left:
            injected = injector.inject(left)
            left = injected.no_room
            if not injected.placed:
                break
            found = [
                judge(path.name, injected.placed, pipeline.inspect(injected.image, stated=stated))
                for pipeline in (before, after)
            ]
            for one, other in zip(*found, strict=True):
                _count(one, other, severity_ng, into)
        step(path.name)


def _count(before: Injection, after: Injection, severity_ng: float, into: Comparison) -> None:
    into.injected += 1
    into.injected_before += before.found
    into.injected_after += after.found
    into.gained += after.found and not before.found
    if before.found and not after.found:
        words = f"{before.kind} of {before.size_px} px in {before.image}"
        into.lost.append(words)
        if before.severity is not None and before.severity >= severity_ng + CLEAR:
            into.lost_clearly.append(words)


def compare_labelled(
    before: Pipeline, after: Pipeline, images: Sequence[TrueImage], into: Comparison, step: Step
) -> None:
    """Looks for the defects of a labelled dataset with both; counts go `into`."""
    for true in images:
        image, stated = read_image(true.path, before.info.image.reading), before.info.part.stated_by(true.path)
        regions = [
            [region for region in region_records(pipeline.inspect(image, stated=stated)) if region.verdict == "NG"]
            for pipeline in (before, after)
        ]
        defects = true.defects(NEAR, (image.shape[0], image.shape[1]))
        for defect in defects:
            found, kept = (any(is_near(region, defect) for region in some) for some in regions)
            into.labelled += 1
            into.labelled_before += found
            into.labelled_after += kept
            if found and not kept:
                into.labelled_lost.append(f"{defect.size_px} px at x={defect.x0}, y={defect.y0} in {true.path.name}")
        if true.mask is None:
            into.good_images += 1
            into.false_before += len(regions[0])
            into.false_after += len(regions[1])
        step(true.path.name)


def _count_ng(inspection: Inspection) -> int:
    return sum(region.verdict == "NG" for region in region_records(inspection))


def _some(words: Sequence[str], most: int = 5) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
