"""Lengths and areas as people write them, `0.3 mm` or `8 px`, and what a pixel covers of the part.

Inside, lengths are micrometres or pixels: a size says which of the two it is, and nothing is taken for the other.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

UM_PER_MM = 1000.0
LENGTH_UNITS = {"px": None, "um": 1.0, "mm": UM_PER_MM}  # in um; None: pixels, whatever they cover
AREA_UNITS = {"px": None, "um2": 1.0, "mm2": UM_PER_MM**2}  # in um2
# The micro sign is two characters of Unicode, and keyboards have the first of them.
SPELLINGS = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u00b2": "2", "^": None})
SIZE = re.compile(r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*(.*)")


@dataclass(frozen=True)
class Size:
    """A length or an area with its unit; `str()` gives what `parse_length` and `parse_area` read."""

    value: float
    unit: str  # one of LENGTH_UNITS or AREA_UNITS

    @property
    def in_px(self) -> bool:
        return self.unit == "px"

    @property
    def magnitude(self) -> float:
        """In px where it is `in_px`; otherwise in um, an area in um2."""
        factor = (AREA_UNITS | LENGTH_UNITS)[self.unit]
        return self.value if factor is None else self.value * factor

    def __str__(self) -> str:
        return f"{repr(self.value).removesuffix('.0')} {self.unit}"


@dataclass(frozen=True)
class PixelSize:
    """What a pixel covers on the part, um; the two differ where a line camera's feed is not its pixel's width."""

    x_um: float
    y_um: float


def parse_length(text: Any) -> Size:
    """`0.3 mm`, `150 um` (or µm), `8 px`; at least 0. ValueError says what is wrong with anything else."""
    return _parse(text, LENGTH_UNITS, "a length", "0.3 mm, 150 um or 8 px")


def parse_area(text: Any) -> Size:
    """`0.04 mm2` (or mm², mm^2), `900 um2`, `20 px`: a number of pixels. ValueError as `parse_length`."""
    return _parse(text, AREA_UNITS, "an area", "0.04 mm2, 900 um2 or 20 px")


def _parse(text: Any, units: dict[str, float | None], what: str, examples: str) -> Size:
    if isinstance(text, Size):
        text = str(text)
    if isinstance(text, int | float) and not isinstance(text, bool):
        raise ValueError(f"has no unit: {what} is written as {examples}")
    found = SIZE.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"is not {what}: write a number and a unit, such as {examples}")
    value, unit = float(found[1]), found[2].translate(SPELLINGS)
    if not unit:
        raise ValueError(f"has no unit: {what} is written as {examples}")
    if unit not in units:
        raise ValueError(f"unknown unit `{found[2]}`: {what} is given in {', '.join(units)}")
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError("must be at least 0, and finite")
    return Size(abs(value), unit)  # not -0.0
