"""What pages show of evaluation/detection_limit.json; the file holds more (docs/detection_limit.md)."""

import math
from pathlib import Path

from pydantic import BaseModel, Field

from flawmap.inspect.run.layout import DETECTION_LIMIT
from flawmap.inspect.run.record_files import read_as
from flawmap.tiling.errors import UsageError


class LimitRecord(BaseModel):
    """From which size on 9 of 10 are found, within what was tried; `value` None: from none."""

    value: float | None
    smallest_tried: bool  # true already there: the limit lies at `value` or below

    @property
    def px(self) -> int | None:
        """Rounded up, as in the sentence: a limit must not promise more than was measured."""
        return None if self.value is None else math.ceil(round(self.value, 6))


class RateRecord(BaseModel):
    """Found of tried, with a two-sided 95 % interval."""

    value: float  # size in px; 0 where the rate is over all sizes
    tried: int = Field(gt=0)
    found: int
    low: float
    high: float


class CurveRecord(BaseModel):
    """One kind at one contrast, over its sizes."""

    kind: str
    contrast_sigma: float | None  # None: a kind without
    median_change_grey_levels: float
    tried: int = Field(gt=0)
    slope: float | None  # None: too few for a curve
    a90_px: LimitRecord
    a90_95_px: LimitRecord  # where the curve's lower 95 % confidence bound gets there
    exceptions: list[float]  # sizes beyond `a90_px` at which chance does not explain how few were found
    rates: list[RateRecord] = Field(min_length=1)

    @property
    def found(self) -> int:
        return sum(rate.found for rate in self.rates)


class DetectionLimitRecord(BaseModel):
    """The smallest defect that is found, as it was measured with the bundle and the false alarms of a run."""

    sentence: str
    bundle_sha256: str
    product: str
    device: str
    false_alarms: float
    images: list[str]
    images_not_inspected: dict[str, str]  # name: why
    false_regions_on_untouched_images: int
    defects: int
    defects_without_place: dict[str, int]  # kind: how many
    found_by_place: dict[str, RateRecord]
    over_size: list[CurveRecord]


def read_detection_limit(run_dir: Path) -> DetectionLimitRecord | None:
    """None where it was not measured, or the file is none that this flawmap can read."""
    try:
        return read_as((run_dir / DETECTION_LIMIT).with_suffix(".json"), DetectionLimitRecord)
    except UsageError:
        return None
