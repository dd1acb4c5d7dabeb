"""Limits on what is measured of a region, as they stand in a part description and in bundle.json.

length: {min: 0.3 mm, max: 2 mm}        both ends belong to it; one of them may be left out
"""

import math
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, model_validator

from flawmap.tiling.physical_size import Size, parse_area, parse_length

Length = Annotated[Size, BeforeValidator(parse_length), PlainSerializer(str)]
Area = Annotated[Size, BeforeValidator(parse_area), PlainSerializer(str)]

Bound = TypeVar("Bound", Length, Area, float)


class Limit(BaseModel, Generic[Bound]):
    """From `min` to `max`, both included."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    min: Bound | None = None
    max: Bound | None = None

    @model_validator(mode="before")
    @classmethod
    def _is_a_limit(cls, given: Any) -> Any:
        if not isinstance(given, dict | cls):
            raise ValueError(f"is no limit: write `{{min: {given}}}` or `{{max: {given}}}`")
        return given

    @model_validator(mode="after")
    def _in_order(self) -> "Limit[Bound]":
        if self.min is None and self.max is None:
            raise ValueError("needs `min` or `max`, or both")
        if self.min is not None and self.max is not None and in_px(self.min) != in_px(self.max):
            raise ValueError(f"`min` (={self.min}) and `max` (={self.max}) must both be in px, or neither")
        if self.lowest > self.highest:
            raise ValueError(f"`min` (={self.min}) must not be above `max` (={self.max}): nothing lies between them")
        return self

    @property
    def lowest(self) -> float:
        """In px, um or um2, as `in_px` says; minus infinity where there is no `min`."""
        return -math.inf if self.min is None else magnitude(self.min)

    @property
    def highest(self) -> float:
        return math.inf if self.max is None else magnitude(self.max)

    @property
    def in_px(self) -> bool:
        """Whether it is meant in pixels; a number without a unit is not."""
        return any(bound is not None and in_px(bound) for bound in (self.min, self.max))

    @property
    def is_physical(self) -> bool:
        """Whether it can only be told where the size of a pixel is known."""
        return any(isinstance(bound, Size) and not bound.in_px for bound in (self.min, self.max))

    def excludes(self, other: "Limit[Bound]") -> bool:
        """Whether no value fits both, as far as that can be told without the size of a pixel."""
        if self.in_px != other.in_px:
            return False
        return max(self.lowest, other.lowest) > min(self.highest, other.highest)

    def __str__(self) -> str:
        """As a sentence goes on: `at least 0.3 mm`, `0.3 mm to 2 mm`."""
        low, high = (f"{bound:g}" if isinstance(bound, float) else str(bound) for bound in (self.min, self.max))
        if self.max is None:
            return f"at least {low}"
        return f"at most {high}" if self.min is None else f"{low} to {high}"


def magnitude(bound: Size | float) -> float:
    """The number behind a bound: px, um or um2."""
    return bound.magnitude if isinstance(bound, Size) else bound


def in_px(bound: Size | float) -> bool:
    return isinstance(bound, Size) and bound.in_px
