"""Where on a part to look, as it stands in a part description and in bundle.json.

where:
  polygons: regions.json     # LabelMe; labels `include`, `exclude` and the names of zones
  mask: mask.png             # 0 is left out
  background: plain          # what is not part is found in each image and left out
  zones:
    - name: sealing face
      false_alarms: 0.01     # false regions a good image, in this zone
    - name: casting skin
      smallest: 0.3 mm       # what is shorter is none here

Files are named from the folder of the part description; a bundle holds what they draw as `where.png`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flawmap.export.limits_record import Length
from flawmap.tiling.look_map import MOST_ZONES

INCLUDE, EXCLUDE = "include", "exclude"  # labels of polygons


def _zone_name(name: str) -> str:
    name = name.strip()
    if not name:
        raise ValueError("must not be empty: it is the label of the zone's polygons")
    if name in (INCLUDE, EXCLUDE):
        raise ValueError(f"must be another name than `{INCLUDE}` and `{EXCLUDE}`, which have a meaning of their own")
    return name


class Zone(BaseModel):
    """A part of the part that is judged by rules of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Annotated[str, AfterValidator(_zone_name)]
    false_alarms: float | None = Field(default=None, gt=0, le=100)  # expected false regions a good image, in this zone
    smallest: Length | None = None  # of the longer side of the smallest rectangle around a region


class Where(BaseModel):
    """Nothing said: everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    polygons: str | None = Field(default=None, min_length=1)
    mask: str | None = Field(default=None, min_length=1)
    background: Literal["plain"] | None = None
    zones: tuple[Zone, ...] = Field(default=(), max_length=MOST_ZONES)  # where they overlap, the last one counts

    @property
    def is_drawn(self) -> bool:
        """Whether a look map belongs to it."""
        return self.polygons is not None or self.mask is not None

    def physical_sizes(self) -> Iterator[tuple[str, object]]:
        """Key and value of everything that can only be told where the size of a pixel is known."""
        for number, zone in enumerate(self.zones):
            if zone.smallest is not None and not zone.smallest.in_px:
                yield f"zones.{number}.smallest", zone.smallest

    @model_validator(mode="after")
    def _zones_are_drawn(self) -> Self:
        names = [zone.name for zone in self.zones]
        if names and self.polygons is None:
            raise ValueError(
                f"`where.zones` (={', '.join(names)}) needs `where.polygons`: a zone is where its name is the label"
            )
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"`where.zones` holds `{name}` {names.count(name)} times: each zone needs its own name"
                )
        return self
