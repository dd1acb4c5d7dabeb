"""Zones with a false-alarm rate of their own, brought onto the scale of the rest, so that one threshold does for all.

A zone's scores become factor * score + offset, the straight line on which the zone's thresholds at its own rate lie
where those of the rest do. Regions then reach across a zone's edge, and their severities can be compared: NG begins at
the same severity everywhere.
"""

import numpy as np

from flawmap.export.where_record import Zone
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.look_kernels import scale_scores
from flawmap.tiling.look_map import FIRST_ZONE, Look

SMALLEST_STEP = 1e-3  # of the tail's scale: review and NG nearer than that give no line


class ZoneScale:
    """The lines of all zones; without thresholds, and for a zone without a rate of its own, scores stay as they are."""

    def __init__(self, thresholds: Thresholds | None, zones: tuple[Zone, ...]) -> None:
        """A zone that `thresholds` were not calibrated for is judged by what the rest showed, at the zone's rate."""
        self.factor = np.ones(256, np.float32)
        self.offset = np.zeros(256, np.float32)
        for look, zone in enumerate(zones, start=FIRST_ZONE):
            if thresholds is None or zone.false_alarms is None:
                continue
            calibration = thresholds.calibration.zones.get(zone.name, thresholds.calibration)
            self.factor[look], self.offset[look] = _line(Thresholds.of(calibration, zone.false_alarms), thresholds)

    def apply(self, heatmap: np.ndarray, look: Look) -> None:
        """Changes `heatmap` (float32 [H, W]) in place; what `look` (uint8 [H, W]) leaves out becomes -inf."""
        scale_scores(heatmap, look, self.factor, self.offset)


def _line(own: Thresholds, rest: Thresholds) -> tuple[float, float]:
    """(factor, offset) that take both thresholds of a zone to those of the rest."""
    own_step, rest_step = own.ng - own.review, rest.ng - rest.review
    own_scale, rest_scale = own.calibration.tail.scale, rest.calibration.tail.scale
    if own_step < SMALLEST_STEP * own_scale or rest_step < SMALLEST_STEP * rest_scale:
        own_step, rest_step = own_scale, rest_scale
    factor = rest_step / own_step
    return factor, rest.ng - factor * own.ng
