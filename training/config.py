"""The settings of a training, checked: one place for every default, and a clear word for every mistake.

`configs/default.yaml` shows the same values with a comment each; a test keeps the two alike.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flawmap.tiling.errors import UsageError
from flawmap.tiling.padding import Padding
from flawmap.tiling.reading import Bayer, Pages, Reading
from flawmap.tiling.settings_file import check_settings, read_settings

LossName = Literal["charbonnier", "l1", "mse", "bce", "ssim"]
ALIGNED_KINDS = ("repair", "template")  # of network, that can be shown a reference
Comparison = Literal["residual", "ssim"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TileSettings(_Section):
    size: int | None = Field(default=None, ge=32)
    overlap: int | None = Field(default=None, ge=0)
    border: int = Field(default=48, ge=0)
    padding: Padding = "replicate"
    train_size: int = Field(default=128, ge=32)


class ImageSettings(_Section):
    longest_side: int | None = Field(default=None, ge=64)
    pages: Pages = "one"
    bayer: Bayer | None = None
    bits: int | None = Field(default=None, ge=8, le=16)

    @field_validator("bayer", mode="before")
    @classmethod
    def _as_cameras_write_it(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @property
    def reading(self) -> Reading:
        return Reading(self.pages, self.bayer, self.bits)


class NetworkSettings(_Section):
    kind: Literal["repair", "autoencoder", "hog", "median", "template"] = "repair"
    channels: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(16, 32, 64), min_length=2, max_length=6)
    latent_size: int | None = Field(default=64, ge=1)
    compare: Comparison = "residual"


class HogSettings(_Section):
    windows: int = Field(default=4000, ge=2)
    nu: float = Field(default=0.1, gt=0, le=1)
    labelled: str | None = None


class MedianSettings(_Section):
    window: int = Field(default=21, ge=3, le=255)


class TemplateSettings(_Section):
    slack: int = Field(default=3, ge=0, le=32)


class LearningSettings(_Section):
    loss: LossName = "charbonnier"
    gradient_weight: float = Field(default=0.5, ge=0)
    head_weight: float = Field(default=5.0, ge=0)
    activity_weight: float = Field(default=0.0, ge=0)
    steps: int = Field(default=20_000, ge=1)
    minutes: float | None = Field(default=10.0, gt=0)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    patience: int = Field(default=25, ge=1)
    validate_every: int = Field(default=200, ge=1)
    checkpoint_every: int = Field(default=200, ge=1)
    doubtful_share: float = Field(default=0.05, ge=0, le=0.5)
    seed: int = Field(default=0, ge=0)
    cache_gib: float = Field(default=4.0, gt=0)


class DamageSettings(_Section):
    untouched_share: float = Field(default=0.35, ge=0, le=1)
    most_per_tile: int = Field(default=5, ge=1)
    border_share: float = Field(default=0.15, ge=0, le=1)
    hard_share: float = Field(default=0.3, ge=0, le=1)
    hard_untouched_share: float = Field(default=0.7, ge=0, le=1)


class VariationSettings(_Section):
    flips: bool = True
    brightness: float = Field(default=0.02, ge=0, le=0.5)
    contrast: float = Field(default=0.05, ge=0, le=0.5)


class SplitSettings(_Section):
    calibrate_share: float = Field(default=0.3, gt=0, lt=1)
    standardise_share: float = Field(default=0.1, gt=0, lt=1)


class TrainConfig(_Section):
    """Everything that decides what a training gives, apart from the images."""

    product: str | None = None  # `flawmap train` then names it after the bundle
    alignment: bool | Literal["auto"] = "auto"
    alignment_slack: int = Field(default=12, ge=0, le=64)
    image: ImageSettings = ImageSettings()
    tile: TileSettings = TileSettings()
    network: NetworkSettings = NetworkSettings()
    hog: HogSettings = HogSettings()
    median: MedianSettings = MedianSettings()
    template: TemplateSettings = TemplateSettings()
    learning: LearningSettings = LearningSettings()
    damage: DamageSettings = DamageSettings()
    variation: VariationSettings = VariationSettings()
    split: SplitSettings = SplitSettings()
    false_alarms: float = Field(default=0.1, gt=0, le=100)
    quantile: float | None = Field(default=None, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _quantile_as_false_alarms(cls, values: Any) -> Any:
        """Rare false regions strike good images like a Poisson process: a share exp(-F) of them shows none."""
        try:
            quantile = float(values["quantile"])
        except (KeyError, TypeError, ValueError):  # not given, or for the field to refuse
            return values
        if not 0 < quantile < 1:
            return values
        false_alarms = -math.log(quantile)
        given = values.get("false_alarms", false_alarms)
        if given != false_alarms:  # a dump holds both, alike
            raise ValueError(
                f"`quantile` (={quantile:g}) and `false_alarms` (={given}) set the same threshold: give one of them"
            )
        return {**values, "false_alarms": false_alarms}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind = self.network.kind
        if self.learning.loss in ("bce", "ssim") and kind != "autoencoder":
            # Both need values in 0..1, which only the autoencoder's last layer promises.
            raise ValueError(
                f"`learning.loss` (={self.learning.loss}) needs `network.kind` (={kind}) to be autoencoder"
            )
        if self.network.compare == "ssim" and kind != "autoencoder":
            raise ValueError(f"`network.compare` (=ssim) needs `network.kind` (={kind}) to be autoencoder")
        if self.alignment is True and kind not in ALIGNED_KINDS:
            raise ValueError(f"`alignment` (=true) needs `network.kind` (={kind}) to be {' or '.join(ALIGNED_KINDS)}")
        if self.alignment is False and kind == "template":
            raise ValueError("`network.kind` (=template) needs `alignment` (=false) to be true or auto")
        if self.hog.labelled is not None and kind != "hog":
            raise ValueError(f"`hog.labelled` (={self.hog.labelled}) needs `network.kind` (={kind}) to be hog")
        if self.image.bayer is not None and self.image.pages == "channels":
            raise ValueError(
                f"`image.bayer` (={self.image.bayer}) cannot go with `image.pages` (=channels), whose pages are grey"
            )
        if self.median.window % 2 == 0:
            raise ValueError(f"`median.window` (={self.median.window}) must be odd: a pixel stands in its middle")
        return self


def load_config(path: Path | None = None, overrides: list[str] | None = None) -> TrainConfig:
    """Reads a YAML file, the defaults where it is silent, and applies overrides such as `learning.steps=500`.

    Raises:
        UsageError: names the key, its value and the rule; for an unknown key also the nearest known one.
    """
    values: dict[str, Any] = {}
    if path is not None:
        sections = TrainConfig().model_dump()
        # A section whose settings are all commented out reads as null.
        values = {
            k: {} if v is None and isinstance(sections.get(k), dict) else v
            for k, v in read_settings(path, "--config").items()
        }
    for override in overrides or []:
        _apply(values, override)
    return check_settings(TrainConfig, values)


def _apply(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    if not sign or not key.strip():
        raise UsageError(f"`--set` (={override}) must have the form key=value, for example learning.steps=500")
    *sections, name = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise UsageError(f"`--set` (={override}): `{section}` is a value, not a section")
    try:
        values[name] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"`--set` (={override}): the value is not valid YAML") from None
