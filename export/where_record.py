"""Where on a part to look, as it stands in a part description and in bundle.json."""

from pydantic import BaseModel, ConfigDict


class Where(BaseModel):
    """Nothing said: everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
