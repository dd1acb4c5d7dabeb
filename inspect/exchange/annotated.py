"""What the formats for labelling tools say of an image: regions that count, and what each is called."""

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.run.records import ImageRecord, RegionRecord

UNNAMED = "defect"  # where neither size nor the plant's rules gave a class


def annotated(record: ImageRecord) -> list[RegionRecord]:
    """The regions that count, the worst first.

    None that a rule dropped: whoever learns from these files would learn it as a defect.
    """
    return [region for region in record.regions if not region.dropped]


def label_of(region: RegionRecord) -> str:
    """`dot`, `line`, `stain`, a class of the plant's, or UNNAMED."""
    return region.defect_class or UNNAMED


def box_corners(region: RegionRecord) -> NDArray[np.int64]:
    """The corners (x, y) of a region's box, [4, 2]: the outline of a region of which no more is known."""
    x0, y0, x1, y1 = region.x_min, region.y_min, region.x_max, region.y_max
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], np.int64)
