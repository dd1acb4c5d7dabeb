"""Records as JSON files: written whole, read back the same, names that are no UTF-8 included."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flawmap.inspect.run.layout import RECORDS, RUN_INFO
from flawmap.inspect.run.records import ImageRecord, RunInfo
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_text

Record = TypeVar("Record", bound=BaseModel)


def record_path(run_dir: Path, name: str) -> Path:
    """Where the record of the image whose files are called `name` lies."""
    return run_dir / RECORDS / f"{name}.json"


def write_record(run_dir: Path, name: str, record: ImageRecord) -> None:
    """OSError where it cannot be written."""
    path = record_path(run_dir, name)
    path.parent.mkdir(exist_ok=True)
    write_text(path, json_text(record.model_dump()))


def read_record(path: Path) -> ImageRecord | None:
    """The record in `path`; None where there is none, or none that this flawmap can read."""
    return _read(path, ImageRecord)


def write_run_info(run_dir: Path, info: RunInfo) -> None:
    """OSError where it cannot be written."""
    write_text(run_dir / RUN_INFO, json_text(info.model_dump()))


def read_run_info(run_dir: Path) -> RunInfo | None:
    """run.json; None where there is none, or none that this flawmap can read."""
    return _read(run_dir / RUN_INFO, RunInfo)


def json_text(values: Any) -> str:
    """Readable names where they are Unicode; an undecodable byte stays the lone surrogate that Python makes of it."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(values, indent=2, ensure_ascii=True, allow_nan=False)
    return text + "\n"


def read_as(path: Path, kind: type[Record]) -> Record:
    """The record in `path`; UsageError, saying what is wrong with it, where it cannot be read."""
    try:
        # pydantic's own JSON parser refuses the lone surrogates that stand for file names that are not UTF-8.
        text = path.read_text("utf-8", errors="surrogateescape")
        return kind.model_validate(json.loads(text, parse_constant=_no_number))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is not a record of this flawmap: `{place}`: {first['msg']}") from error
    except (ValueError, RecursionError) as error:  # RecursionError: brackets in brackets, thousands deep
        raise UsageError(f"{path} is not JSON: {error}") from error


def _no_number(word: str) -> None:
    """What Python would take for JSON: NaN and the infinities, which no record holds."""
    raise ValueError(f"{word} is no number")


def _read(path: Path, kind: type[Record]) -> Record | None:
    try:
        return read_as(path, kind)
    except UsageError:
        return None
