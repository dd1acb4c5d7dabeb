"""Settings that people write as YAML: read, checked against a pydantic model, and what is wrong said in one line."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from flawmap.tiling.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)

LONGEST_VALUE = 80  # characters; a whole section in a message would hide what is wrong with it


def read_settings(path: Path, option: str) -> dict[str, Any]:
    """The mapping in the YAML file `path`, empty for an empty file; UsageError names `option` and what is wrong."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"`{option}` (={path}) cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"`{option}` (={path}) is not valid YAML: {_where(error)}") from None
    if loaded is not None and not isinstance(loaded, dict):
        raise UsageError(f"`{option}` (={path}) must hold settings as `key: value`, not {type(loaded).__name__}")
    return loaded or {}


def check_settings(model: type[Model], values: dict[str, Any]) -> Model:
    """`values` as a `model`; UsageError says what is wrong first, and the nearest known key for an unknown one."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain(error, model)) from None


def _where(error: Exception) -> str:
    """The line that YAML could not read, and what people forget most often."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error).splitlines()[0]
    problem = getattr(error, "problem", None) or "unreadable"
    return f"line {mark.line + 1}: {problem} (a text that begins with `{{`, `*` or `[` needs quotes)"


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first thing that is wrong."""
    # A key misspelt is also a key missing: the misspelling tells more.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        named = ".".join(part for part in first["loc"] if isinstance(part, str))  # without the place in a list
        nearest = difflib.get_close_matches(named, list(_keys(model)), n=1, cutoff=0.0)
        return f"unknown setting `{key}`: did you mean `{nearest[0]}`?"
    if first["type"] == "missing":
        return f"`{key}` is missing"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return message
    value = f" (={first['input']})"
    return f"`{key}`{value if len(value) <= LONGEST_VALUE else ''}: {message[0].lower()}{message[1:]}"


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of `model` and of the models in it, by dotted name, in lists too."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for inner in _models_in(field.annotation):
            yield from _keys(inner, f"{prefix}{name}.")


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    inside = get_args(annotation)
    for one in inside:
        yield from _models_in(one)
    if not inside and isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
