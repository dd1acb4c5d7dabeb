"""Which model inspects which picture, and which part it shows: decided from names, before anything is read."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flawmap.inspect.recipe.name_pattern import Glob, NamePattern, Reading
from flawmap.inspect.recipe.recipe_file import Recipe
from flawmap.inspect.run.input_images import InputImage
from flawmap.tiling.errors import UsageError


@dataclass(frozen=True)
class Assigned:
    """One picture and what is to be done with it."""

    entry: InputImage
    model: int | None = 0  # its place among the models of the run; None: no model inspects it, `error` says why
    part: str = ""  # empty where a run has no parts, or where the name does not tell
    camera: str = ""
    error: str = ""


def assign(recipe: Recipe, entries: Sequence[InputImage]) -> tuple[list[Assigned], int]:
    """(every picture but those that `recipe` ignores, in their order; how many it ignores).

    A picture that no model may inspect keeps its place, with the reason: it would be missing from its part otherwise.

    Raises UsageError: two models claim one picture, or the recipe ignores all of them.
    """
    one_by_one = Assigner(recipe)
    assigned = [one for one in map(one_by_one, entries) if one is not None]
    if not assigned:
        raise UsageError(f"nothing to inspect: `ignore` of the recipe leaves out all {len(entries)} images")
    return _without_twins(assigned), len(entries) - len(assigned)


class Assigner:
    """Assigns single pictures; which of them are twins, only the whole list tells."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._ignored = [Glob(text) for text in recipe.ignore]
        self._pattern, self._claims = NamePattern(recipe.part), _Claims(recipe)

    def __call__(self, entry: InputImage) -> Assigned | None:
        """None for a picture that the recipe ignores; UsageError where two models claim it."""
        if any(glob.fits_end(entry.path) for glob in self._ignored):
            return None
        return _assign(self._recipe, self._pattern, self._claims, entry)


class _Claims:
    """Camera -> the models that claim it; a folder holds few cameras and many pictures."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._known: dict[str, list[int]] = {}

    def __call__(self, camera: str) -> list[int]:
        if camera not in self._known:
            self._known[camera] = self._recipe.models_of(camera)
        return self._known[camera]


def _assign(recipe: Recipe, pattern: NamePattern, claims: _Claims, entry: InputImage) -> Assigned:
    readings = pattern.read(entry.path, lambda camera: bool(claims(camera)))
    if len(readings) > 1:
        return Assigned(entry, None, error=_two_readings(recipe, readings))
    if not readings:
        return _unclaimed(recipe, pattern, entry)
    (reading,) = readings
    models = claims(reading.camera)
    if len(models) > 1:
        first, second = (recipe.models[i].camera for i in models[:2])
        raise UsageError(
            f"two models of the recipe claim `{entry.image}`, camera `{reading.camera}`: `{first}` and `{second}`; "
            "name the cameras so that each is one model's"
        )
    return Assigned(entry, models[0], reading.part, reading.camera)


def _two_readings(recipe: Recipe, readings: Sequence[Reading]) -> str:
    return (
        f"its name can be read as {readings[0]}, and as {readings[1]}, by `part` (={recipe.part}) of the recipe: "
        "name the cameras in `models` so that one reading is left"
    )


def _unclaimed(recipe: Recipe, pattern: NamePattern, entry: InputImage) -> Assigned:
    """A picture of a camera that the recipe does not know still belongs to its part: it must count there."""
    readings = pattern.read(entry.path, lambda camera: True)
    if not readings:
        return Assigned(entry, None, error=f"its name does not fit `part` (={recipe.part}) of the recipe")
    if len(readings) > 1:
        return Assigned(entry, None, error=f"no model of the recipe claims its camera (`models`: {recipe.cameras})")
    (reading,) = readings
    error = f"no model of the recipe claims camera `{reading.camera}` (`models`: {recipe.cameras})"
    return Assigned(entry, None, reading.part, reading.camera, error)


def _without_twins(assigned: list[Assigned]) -> list[Assigned]:
    """No second picture of a part by the same camera: which one shows the part as it is now, nobody here can know."""
    paths: dict[tuple[str, str], dict[Path, str]] = defaultdict(dict)
    for one in assigned:
        if one.model is not None:
            paths[one.part, one.camera][one.entry.path] = one.entry.image
    checked = []
    for one in assigned:
        images = paths.get((one.part, one.camera), {})
        if one.model is not None and len(images) > 1:
            others = [f"`{image}`" for path, image in images.items() if path != one.entry.path]
            error = f"part `{one.part}` has another picture of camera `{one.camera}`: {', '.join(others[:3])}"
            one = replace(one, model=None, error=error)
        checked.append(one)
    return checked
