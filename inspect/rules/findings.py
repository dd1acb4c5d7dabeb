"""Regions with all that is said of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.run.records import Verdict
from flawmap.tiling.physical_size import UM_PER_MM

SHAPE_DTYPE = np.dtype(
    [
        ("area_px", np.int64),  # visible pixels, as everything below: `flawmap.tiling.visible_pixels`
        ("length_px", np.float64),  # longer side of the smallest rectangle around the region, at any angle
        ("width_px", np.float64),  # its shorter side
        ("elongation", np.float64),  # length / width, on the part where the size of a pixel is known
        ("contrast", np.float64),  # mean of image minus reconstruction, levels of the image; NaN: not known
        ("area_um2", np.float64),  # the same on the part; NaN where the size of a pixel is not known
        ("length_um", np.float64),
        ("width_um", np.float64),
        ("fragments", np.int64),  # so many were joined
    ]
)


@dataclass(frozen=True)
class Findings:
    """Regions, or candidates; of these what would be said if they were regions."""

    regions: NDArray[np.void]  # REGION_DTYPE [k]
    shapes: NDArray[np.void]  # SHAPE_DTYPE [k]
    classes: NDArray[np.str_]  # [k], empty where no class fits
    rules: NDArray[np.str_]  # [k], the rule that decided the verdict; empty: severity did
    zones: NDArray[np.str_]  # [k], of the part description, that its peak lies in; empty for none
    verdicts: list[Verdict]  # [k]; OK: a rule dropped it, or it is a candidate that no rule names

    def __len__(self) -> int:
        return len(self.regions)

    @property
    def dropped(self) -> NDArray[np.bool_]:
        """[k], whether a rule made it OK."""
        ruled_ok = [rule != "" and verdict == "OK" for rule, verdict in zip(self.rules, self.verdicts, strict=True)]
        return np.array(ruled_ok, np.bool_)

    def record_fields(self) -> Iterator[dict[str, Any]]:
        """What a `RegionRecord` says of each beyond its place and its score."""
        for shape, name, rule, zone, verdict in zip(
            self.shapes, self.classes, self.rules, self.zones, self.verdicts, strict=True
        ):
            yield {
                "area_visible_px": int(shape["area_px"]),
                **{key: _known(shape[key]) for key in ("length_px", "width_px", "elongation", "contrast")},
                "area_mm2": _known(shape["area_um2"] / UM_PER_MM**2),
                "length_mm": _known(shape["length_um"] / UM_PER_MM),
                "width_mm": _known(shape["width_um"] / UM_PER_MM),
                "fragments": int(shape["fragments"]),
                "defect_class": str(name),
                "rule": str(rule),
                "zone": str(zone),
                "verdict": verdict,
            }

    def take(self, places: NDArray[np.int64]) -> "Findings":
        """Those at `places`, in that order."""
        return Findings(
            self.regions[places],
            self.shapes[places],
            self.classes[places],
            self.rules[places],
            self.zones[places],
            [self.verdicts[place] for place in places],
        )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
