"""A recipe as people write it: YAML that says which bundle inspects which camera's pictures, and what makes a part.

part: "{part}_{camera}.png"     # how a picture's name says its part and its camera
models:
  - camera: top
    bundle: top.bundle          # seen from the recipe's own folder
    false_alarms: 0.05          # expected false regions on a good picture; the bundle's own unless given
  - camera: "side*"
    bundle: side.bundle
expected: [top, side1, side2]   # a part that lacks one of them is not inspected
ignore: ["*_preview.png"]       # pictures that are none of this recipe's business
false_alarms_per_part: 0.1      # instead of `false_alarms`: shared among the expected pictures
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flawmap.inspect.recipe.name_pattern import Glob, NamePattern
from flawmap.tiling.errors import UsageError
from flawmap.tiling.settings_file import check_settings, read_settings

RECIPE_SUFFIXES = (".yaml", ".yml")
MOST_FALSE_ALARMS = 100.0

Made = TypeVar("Made")


def _text(value: Any) -> Any:
    """YAML reads 01 as the number 1 and `on` as true: what was written is lost, so it cannot be turned back."""
    if isinstance(value, bool | int | float):
        raise ValueError("must be text: put it in quotes, YAML reads it as something else")
    return value


def _made_by(kind: Callable[[str], object]) -> Callable[[str], str]:
    """A check that `kind` can be made of the text."""

    def check(text: str) -> str:
        kind(text)
        return text

    return check


def _no_folder(text: str) -> str:
    if "/" in text:
        raise ValueError("a camera's name holds no `/`")
    return text


Text = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
CameraGlob = Annotated[Text, AfterValidator(_no_folder), AfterValidator(_made_by(Glob))]
CameraName = Annotated[Text, AfterValidator(_no_folder)]
PathGlob = Annotated[Text, AfterValidator(_made_by(Glob))]
FalseAlarms = Annotated[float, Field(gt=0, le=MOST_FALSE_ALARMS)]


class ModelEntry(BaseModel):
    """One bundle and the cameras whose pictures it inspects."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    camera: CameraGlob  # `*` stands for anything
    bundle: Text  # folder, relative to the recipe's own
    false_alarms: FalseAlarms | None = None

    def claims(self, camera: str) -> bool:
        """Whether pictures of `camera` are this model's."""
        return Glob(self.camera).fits_name(camera)


class Recipe(BaseModel):
    """A whole recipe; what it says fits together."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    part: Annotated[Text, AfterValidator(_made_by(NamePattern))]
    models: Annotated[list[ModelEntry], Field(min_length=1)]
    expected: list[CameraName] = []
    ignore: list[PathGlob] = []
    false_alarms_per_part: FalseAlarms | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "Recipe":
        for i, camera in enumerate(self.expected):
            if camera in self.expected[:i]:
                raise ValueError(f"`expected` names camera `{camera}` twice")
            if not self.models_of(camera):
                raise ValueError(f"`expected` names camera `{camera}`, and no model claims it ({self.cameras})")
        cameras = [model.camera for model in self.models]
        for camera in [*self.expected, *cameras]:
            _only_one(camera, [cameras[i] for i in self.models_of(camera)] or [camera])
        if self.false_alarms_per_part is not None:
            if not self.expected:
                raise ValueError(
                    f"`false_alarms_per_part` (={self.false_alarms_per_part:g}) needs `expected`: the rate is shared "
                    "among the pictures of a part, so their number must be known"
                )
            own = [model.camera for model in self.models if model.false_alarms is not None]
            if own:
                raise ValueError(
                    f"`false_alarms_per_part` (={self.false_alarms_per_part:g}) and `false_alarms` of camera "
                    f"`{own[0]}` set the same threshold: give one of them"
                )
        return self

    @property
    def cameras(self) -> str:
        """The cameras that the models claim, as a message names them."""
        return ", ".join(f"`{model.camera}`" for model in self.models)

    def models_of(self, camera: str) -> list[int]:
        """The places in `models` of those that claim `camera`."""
        return [i for i, model in enumerate(self.models) if model.claims(camera)]

    def false_alarms_of(self, model: int) -> float | None:
        """Expected false regions on a good picture that `models[model]` inspects; None for the bundle's own."""
        if self.false_alarms_per_part is not None:
            return self.false_alarms_per_part / len(self.expected)
        return self.models[model].false_alarms


def _only_one(camera: str, claiming: list[str]) -> None:
    if len(claiming) > 1:
        raise ValueError(
            f"two models claim the pictures of camera `{camera}`: `{claiming[0]}` and `{claiming[1]}`; "
            "name the cameras so that each is one model's"
        )


def is_recipe(path: Path) -> bool:
    """Whether `-m` was given a recipe, by its suffix; a bundle is a folder."""
    return path.suffix.lower() in RECIPE_SUFFIXES and not path.is_dir()


def read_recipe(path: Path) -> Recipe:
    """The recipe in the YAML file `path`; UsageError names the file, the key, its value and the rule."""
    values = read_settings(path, "--model")
    try:
        return check_settings(Recipe, {key: value for key, value in values.items() if value is not None})
    except UsageError as error:
        raise UsageError(f"`--model` (={path}): {error}") from None
