"""What an engineer knows of a part and no picture tells: YAML outside, a section of bundle.json inside the bundle.

pixel_size: 12.5 um       # what a pixel covers; or `image`: each image's file says it; or {x: 12.5 um, y: 14 um}
where: ...                # where to look: `flawmap.export.where_record`
rules: ...                # what the plant decides on regions: `flawmap.export.rules_record`
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from flawmap.export.rules_record import Rules
from flawmap.export.where_record import Where
from flawmap.tiling.physical_size import PixelSize, parse_length
from flawmap.tiling.settings_file import check_settings, read_settings
from flawmap.tiling.stated_pixel_size import stated_pixel_size


def parse_pixel_size(given: Any) -> PixelSize | Literal["image"]:
    """`12.5 um`, `{x: 12.5 um, y: 14 um}` or `image`; ValueError says what is wrong with anything else."""
    if given == "image":
        return "image"
    if isinstance(given, PixelSize):
        return given
    if not isinstance(given, dict):
        given = {"x": given, "y": given}
    if given.keys() != {"x", "y"}:
        raise ValueError("must be one length, such as 12.5 um, or `x` and `y`, or `image`")
    sizes = {}
    for axis, text in given.items():
        size = parse_length(text)
        if size.in_px or size.value == 0:
            raise ValueError(f"`{text}` must be in um or mm, and above 0")
        sizes[axis] = size.magnitude
    return PixelSize(x_um=sizes["x"], y_um=sizes["y"])


def _pixel_size_text(size: PixelSize | str) -> str | dict[str, str]:
    return size if isinstance(size, str) else {"x": f"{size.x_um!r} um", "y": f"{size.y_um!r} um"}


PixelSizeSetting = Annotated[
    PixelSize | Literal["image"], BeforeValidator(parse_pixel_size), PlainSerializer(_pixel_size_text)
]


class Part(BaseModel):
    """A part description; every section may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pixel_size: PixelSizeSetting | None = None
    where: Where = Field(default_factory=Where)
    rules: Rules = Field(default_factory=Rules)

    def stated_by(self, path: Path) -> PixelSize | None:
        """What the image file `path` says a pixel covers; None where the part does not leave it to the files."""
        return stated_pixel_size(path) if self.pixel_size == "image" else None

    @model_validator(mode="after")
    def _measurable(self) -> "Part":
        if self.pixel_size is None:
            for key, size in self.physical_sizes():
                raise ValueError(
                    f"`{key}` (={size}) needs `pixel_size`: what a pixel covers, such as `pixel_size: 12.5 um`, "
                    "or `pixel_size: image` where the image files say it"
                )
        return self

    @model_validator(mode="after")
    def _zones_are_known(self) -> "Part":
        names = [zone.name for zone in self.where.zones]
        for number, rule in enumerate(self.rules.verdicts):
            if rule.when.zone is not None and rule.when.zone not in names:
                raise ValueError(
                    f"`rules.verdicts.{number}.when.zone` (={rule.when.zone}) is no zone of `where.zones` "
                    f"({', '.join(names) or 'there is none'})"
                )
        return self

    def physical_sizes(self) -> Iterator[tuple[str, object]]:
        """Key and value of everything that can only be told where the size of a pixel is known."""
        for section, sizes in (("rules", self.rules.physical_sizes()), ("where", self.where.physical_sizes())):
            for key, size in sizes:
                yield f"{section}.{key}", size


def read_part(path: Path) -> Part:
    """The part description in the YAML file `path`; UsageError names the key, its value and the rule."""
    values = {key: {} if value is None else value for key, value in read_settings(path, "--part").items()}
    return check_settings(Part, values)
