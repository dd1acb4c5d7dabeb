"""Which regions fit the conditions of a class or a rule."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.limits_record import Limit
from flawmap.export.rules_record import Distance, Shape, When
from flawmap.inspect.rules.findings import SHAPE_DTYPE
from flawmap.tiling.physical_size import PixelSize
from flawmap.tiling.region_shapes import PX, TracedRegions

ROUNDING = 1e-9  # relative: 20 px of 0.1 mm are 2 mm, whatever the last bit of the product says


@dataclass(frozen=True)
class Measured:
    """Everything that conditions ask about."""

    traced: TracedRegions  # [k]
    shapes: NDArray[np.void]  # SHAPE_DTYPE [k]
    severities: NDArray[np.float64]  # [k]
    is_region: NDArray[np.bool_]  # [k], or a candidate
    classes: NDArray[np.str_]  # [k]
    zones: NDArray[np.str_]  # [k]
    pixel: PixelSize | None


def measure(traced: TracedRegions, fragments: NDArray[np.int64], pixel: PixelSize | None) -> NDArray[np.void]:
    """SHAPE_DTYPE [k]; `fragments` [k]: of how many each was joined."""
    shapes = np.zeros(len(traced), SHAPE_DTYPE)
    sides = traced.rectangles()
    shapes["area_px"] = traced.areas
    shapes["length_px"], shapes["width_px"] = sides.T
    for name in ("area_um2", "length_um", "width_um"):
        shapes[name] = np.nan
    if pixel is not None:
        sides = traced.rectangles(pixel)
        shapes["length_um"], shapes["width_um"] = sides.T
        shapes["area_um2"] = shapes["area_px"] * (pixel.x_um * pixel.y_um)
    shapes["elongation"] = sides[:, 0] / sides[:, 1]
    shapes["contrast"] = traced.contrasts
    shapes["fragments"] = fragments
    return shapes


def fitting(when: Shape, measured: Measured) -> NDArray[np.bool_]:
    """Which regions fit all conditions of `when`; [k]."""
    shapes = measured.shapes
    fits = np.ones(len(shapes), np.bool_)
    for limit, px, um in (
        (when.area, shapes["area_px"], shapes["area_um2"]),
        (when.length, shapes["length_px"], shapes["length_um"]),
        (when.width, shapes["width_px"], shapes["width_um"]),
    ):
        if limit is not None:
            fits &= _within(limit, px if limit.in_px else um)
    if when.elongation is not None:
        fits &= _within(when.elongation, shapes["elongation"])
    if when.contrast is not None:
        fits &= shapes["contrast"] < 0 if when.contrast == "darker" else shapes["contrast"] > 0
    if isinstance(when, When):
        if when.defect_class is not None:
            fits &= measured.classes == when.defect_class
        if when.zone is not None:
            fits &= measured.zones == when.zone
        if when.severity is not None:
            fits &= _within(when.severity, measured.severities)
        if when.distance is not None:
            fits &= _within(when.distance, _distances(when.distance, measured))
    return fits


def _distances(limit: Distance, measured: Measured) -> NDArray[np.float64]:
    """In px or um, as the limit; infinite where no region is near enough to matter to it.

    Candidates are nobody's neighbour: no rule may turn on what the report does not show.
    """
    counted = measured.is_region if limit.to is None else measured.is_region & (measured.classes == limit.to)
    far = max(bound for bound in (limit.lowest, limit.highest) if math.isfinite(bound)) * (1 + ROUNDING)
    return measured.traced.nearest(counted, far, PX if limit.in_px else measured.pixel or PX)


def _within(limit: Limit[Any], values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Both ends included; what is not known (NaN) fits no limit."""
    low, high = limit.lowest, limit.highest
    above = values >= (low - abs(low) * ROUNDING if math.isfinite(low) else low)
    return np.asarray(above & (values <= (high + abs(high) * ROUNDING if math.isfinite(high) else high)), np.bool_)
