"""What the plant decides on regions, as it stands in a part description and in bundle.json."""

from pydantic import BaseModel, ConfigDict


class Rules(BaseModel):
    """Nothing said: every region counts, by its severity alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
