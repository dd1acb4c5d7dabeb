"""The files of a run that a browser may have: what flawmap wrote there, and nothing else on the machine."""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flawmap.inspect.run.layout import (
    DRIFT,
    EVALUATION,
    IMAGES_TABLE,
    METRICS,
    OUTPUT_FOLDERS,
    PAGE,
    PART_RESULTS,
    PARTS_TABLE,
    REGIONS_TABLE,
    RESULTS,
    RUN_INFO,
)

FOLDERS = (*OUTPUT_FOLDERS, EVALUATION, RESULTS, PART_RESULTS)
FILES = (RUN_INFO, IMAGES_TABLE, REGIONS_TABLE, PARTS_TABLE, PAGE, METRICS, DRIFT)
# Said by us: what a file's name makes a browser guess is not asked for.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".tif": "image/tiff",
}


@dataclass(frozen=True)
class RunFile:
    """A file, what it is, and its size and time of change."""

    path: Path
    media_type: str
    status: os.stat_result


def run_file(run_dir: Path, path: str) -> RunFile | None:
    """The file at `path`, relative to `run_dir`; None where there is none that may be had.

    No link leads out of the run folder, hidden files and files of other kinds are not there.
    """
    parts = PurePosixPath(path).parts
    if not parts or any(part.startswith(".") or "\\" in part or "\0" in part for part in parts) or path[0] == "/":
        return None
    drift = len(parts) == 1 and parts[0].startswith("drift")
    if not (parts[0] in FOLDERS and len(parts) > 1) and not (len(parts) == 1 and (parts[0] in FILES or drift)):
        return None
    media_type = MEDIA_TYPES.get(PurePosixPath(path).suffix)
    if media_type is None:
        return None
    try:
        file = run_dir.joinpath(*parts).resolve()
        if file.is_file() and file.is_relative_to(run_dir.resolve()):
            return RunFile(file, media_type, file.stat())
    except (OSError, ValueError, RuntimeError):  # a name too long, a link to itself
        pass
    return None
