"""Settings that people write as YAML: read, checked against a pydantic model, and what is wrong said in one line."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from flawmap.tiling.errors import UsageError

Model = TypeVar("Model", bound=BaseModel)


def read_settings(path: Path, option: str) -> dict[str, Any]:
    """The mapping in the YAML file `path`, empty for an empty file; UsageError names `option` and what is wrong."""
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"`{option}` (={path}) cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"`{option}` (={path}) is not valid YAML: {str(error).splitlines()[0]}") from None
    if loaded is not None and not isinstance(loaded, dict):
        raise UsageError(f"`{option}` (={path}) must hold settings as `key: value`, not {type(loaded).__name__}")
    return loaded or {}


def check_settings(model: type[Model], values: dict[str, Any]) -> Model:
    """`values` as a `model`; UsageError says what is wrong first, and the nearest known key for an unknown one."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain(error, model)) from None


def known_keys(model: type[BaseModel]) -> list[str]:
    """Every setting of a `model` that has defaults throughout, by dotted name."""
    return list(flatten(model().model_dump()))


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one level of dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first thing that is wrong."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = [*model.model_fields, *known_keys(model)]
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
        return f"unknown setting `{key}`: did you mean `{nearest[0]}`?"
    message = first["msg"].removeprefix("Value error, ")
    if not key:
        return message
    return f"`{key}` (={first['input']}): {message[0].lower()}{message[1:]}"
