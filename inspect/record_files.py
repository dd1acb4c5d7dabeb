"""Records as JSON files: written whole, read back the same, names that are no UTF-8 included."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from flawmap.inspect.records import ImageRecord, RunInfo
from flawmap.inspect.run_layout import RECORDS, RUN_INFO
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
    return _from_json(path, ImageRecord)


def write_run_info(run_dir: Path, info: RunInfo) -> None:
    """OSError where it cannot be written."""
    write_text(run_dir / RUN_INFO, json_text(info.model_dump()))


def read_run_info(run_dir: Path) -> RunInfo | None:
    """run.json; None where there is none, or none that this flawmap can read."""
    return _from_json(run_dir / RUN_INFO, RunInfo)


def json_text(values: Any) -> str:
    """Readable names where they are Unicode; an undecodable byte stays the lone surrogate that Python makes of it."""
    text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(values, indent=2, ensure_ascii=True, allow_nan=False)
    return text + "\n"


def _from_json(path: Path, kind: type[Record]) -> Record | None:
    try:
        # Not pydantic's own JSON reader, which refuses a lone surrogate.
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError):
        return None
