"""What an engineer knows of a part and no picture tells: YAML outside, a section of bundle.json inside the bundle.

where: ...                # where to look: `flawmap.export.where_record`
rules: ...                # what the plant decides on regions: `flawmap.export.rules_record`
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from flawmap.export.rules_record import Rules
from flawmap.export.where_record import Where
from flawmap.tiling.settings_file import check_settings, read_settings


class Part(BaseModel):
    """A part description; every section may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    where: Where = Field(default_factory=Where)
    rules: Rules = Field(default_factory=Rules)


def read_part(path: Path) -> Part:
    """The part description in the YAML file `path`; UsageError names the key, its value and the rule."""
    values = {key: {} if value is None else value for key, value in read_settings(path, "--part").items()}
    return check_settings(Part, values)
