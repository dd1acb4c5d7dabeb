"""Which of the injected defects an inspection found."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.detection_limit.analysis import Injection
from flawmap.inspect.detection_limit.injection import Placed
from flawmap.inspect.inspect_image import region_records
from flawmap.inspect.pipeline import Inspection
from flawmap.inspect.run.records import RegionRecord
from flawmap.inspect.true_defects import is_near


def judge(image: str, placed: Sequence[Placed], inspection: Inspection) -> list[Injection]:
    """A defect is found by an NG region that is near it, and near no other: what covers several tells none apart."""
    regions = [region for region in region_records(inspection) if region.verdict == "NG"]
    near = _near(placed, regions)
    near &= near.sum(axis=0) == 1
    injections = []
    for one, hits in zip(placed, near, strict=True):
        defect = one.defect
        injections.append(
            Injection(
                image=image,
                number=one.planned.number,
                kind=one.planned.kind,
                size_px=one.planned.size_px,
                contrast=one.planned.contrast,
                place=one.planned.place,
                y_min=defect.y0,
                x_min=defect.x0,
                y_max=defect.y1,
                x_max=defect.x1,
                area_px=defect.area_px,
                deviation_levels=one.deviation,
                change_levels=one.levels,
                change_deviations=one.deviations,
                found=bool(hits.any()),
                severity=max((regions[i].severity for i in np.flatnonzero(hits)), default=None),
            )
        )
    return injections


def _near(placed: Sequence[Placed], regions: Sequence[RegionRecord]) -> NDArray[np.bool_]:
    """[defects, regions]."""
    near = np.array([[is_near(region, one.defect) for region in regions] for one in placed], np.bool_)
    return near.reshape(len(placed), len(regions))
