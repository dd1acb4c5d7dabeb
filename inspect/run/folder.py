"""A run folder as a place to begin, continue or start over a run."""

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flawmap.inspect.run.layout import (
    DETECTION_LIMIT,
    DETECTION_LIMIT_SUFFIXES,
    DRIFT_FILES,
    EVALUATION,
    EVALUATION_FILES,
    EVALUATION_OF_MODEL,
    IMAGES_TABLE,
    METRICS,
    OUTPUT_FOLDERS,
    OVERLAYS,
    PAGE,
    PARTS_TABLE,
    RECORDS,
    REGIONS_TABLE,
    RUN_INFO,
    VIEWER,
    VIEWER_FILES,
    WATCH_FOLDERS,
    ZOOM,
    ZOOM_TILE,
    image_data_path,
    zoom_folder,
)
from flawmap.inspect.run.record_files import read_record, read_run_info, record_path
from flawmap.inspect.run.records import RunInfo
from flawmap.tiling.errors import InspectionStoppedError, UsageError

# Settings that decide what the tables say; another number of readers does not.
DECIDING_SETTINGS = ("paths", "false_alarms", "heatmaps")
# Behind an image's name, in overlays/: the overview, a region's strip, the heatmap.
PICTURE_SUFFIXES = re.compile(r"\.jpg$"), re.compile(r"-[0-9]+\.(png|jpg)$"), re.compile(r"-heatmap\.tif$")


@contextmanager
def writing(run_dir: Path, *, at_start: bool = False) -> Iterator[None]:
    """Turns an OSError of writing into `run_dir` into the end of the run.

    A full disk, and whatever happens while images are inspected, stops the run (InspectionStoppedError); a folder that
    could not be written from the start is wrong use (UsageError).
    """
    try:
        yield
    except OSError as error:
        where = error.filename or run_dir
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InspectionStoppedError(
                f"the disk that holds `-o` (={run_dir}) is full ({error.strerror}, writing {where}): make room and "
                "give the same command again; what was inspected is kept"
            ) from error
        if at_start:
            raise UsageError(f"`-o` (={run_dir}) cannot be written: {error.strerror or error}") from error
        raise InspectionStoppedError(
            f"`-o` (={run_dir}) can no longer be written: {error.strerror or error} ({where}); "
            "what was inspected is kept"
        ) from error


def make_run_folder(run_dir: Path) -> None:
    """Makes `run_dir` and the folders in it; UsageError where they cannot be written."""
    with writing(run_dir, at_start=True):
        for folder in (run_dir, *(run_dir / name for name in OUTPUT_FOLDERS)):
            folder.mkdir(parents=True, exist_ok=True)


START_OVER = "Give `--fresh` to remove its results and start over, or another folder"


def check_continues(run_dir: Path, run: RunInfo, ways_out: str = START_OVER) -> None:
    """UsageError, naming what differs and the ways out, if `run_dir` holds a run that `run` would not continue."""
    if not (run_dir / RUN_INFO).exists():
        return
    earlier = read_run_info(run_dir)
    if earlier is None:
        raise UsageError(
            f"`-o` (={run_dir}) holds a {RUN_INFO} that this flawmap cannot read: give another folder, or remove it"
        )
    before, now = _what_decides(earlier), _what_decides(run)
    differences = [
        f"`{name}` was {before.get(name)}, is {now.get(name)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise UsageError(f"`-o` (={run_dir}) holds another run: {'; '.join(differences)}. {ways_out}")


def _what_decides(run: RunInfo) -> dict[str, Any]:
    """Everything that results depend on, by the name that a message gives it."""
    decides: dict[str, Any] = {}
    if run.recipe is None:
        decides["bundle"] = run.bundle_sha256[:12]
    else:
        decides |= {f"bundle of camera {model.camera}": model.bundle_sha256[:12] for model in run.recipe.models}
        decides |= {f"{key} of the recipe": value for key, value in run.settings.get("recipe", {}).items()}
    decides |= {name: run.settings.get(name) for name in DECIDING_SETTINGS}
    return decides | {"device": run.device, "flawmap": run.versions.get("flawmap")}


def clear(run_dir: Path) -> None:
    """Removes what flawmap wrote into `run_dir`, and nothing else; UsageError where that is not a flawmap run."""
    if not (run_dir / RUN_INFO).exists():
        return
    if read_run_info(run_dir) is None:
        raise UsageError(
            f"`--fresh`: `-o` (={run_dir}) holds a {RUN_INFO} that this flawmap did not write; give another folder"
        )
    with writing(run_dir, at_start=True):
        forget(run_dir, recorded_names(run_dir))
        for suffix in DETECTION_LIMIT_SUFFIXES:  # other results of the same bundle leave it true, another bundle not
            (run_dir / DETECTION_LIMIT).with_suffix(suffix).unlink(missing_ok=True)
        forget_evaluation(run_dir)
        for path in _files(run_dir):
            if DRIFT_FILES.fullmatch(path.name):
                path.unlink()
        for folder in WATCH_FOLDERS:
            for path in _files(run_dir / folder):
                if path.suffix == ".json":
                    path.unlink(missing_ok=True)
        # run.json last: a kill in between leaves a run that can be cleared again.
        _remove_if_ours(run_dir / VIEWER, VIEWER_FILES)
        for name in (IMAGES_TABLE, REGIONS_TABLE, PARTS_TABLE, PAGE, RUN_INFO):
            (run_dir / name).unlink(missing_ok=True)


def forget(run_dir: Path, names: Iterable[str]) -> None:
    """Removes the records and the pictures of the images whose files are called `names`, where there are any."""
    gone = set(names)
    for name in gone:
        record_path(run_dir, name).unlink(missing_ok=True)  # first: a record promises its pictures
    for path in _files(run_dir / OVERLAYS):
        if any(suffix.search(path.name) and suffix.sub("", path.name) in gone for suffix in PICTURE_SUFFIXES):
            path.unlink(missing_ok=True)
    for name in gone:
        (run_dir / image_data_path(name)).unlink(missing_ok=True)
        _remove_if_ours(run_dir / zoom_folder(name), ZOOM_TILE)


def forget_evaluation(run_dir: Path) -> None:
    """Removes what `flawmap evaluate` wrote about the results in `run_dir`; another file in its folder stays."""
    (run_dir / METRICS).unlink(missing_ok=True)
    whole = run_dir / EVALUATION
    of_models = [path for path in _files(whole) if path.is_dir() and EVALUATION_OF_MODEL.fullmatch(path.name)]
    for folder in (*of_models, whole):
        _remove_if_ours(folder, EVALUATION_FILES)


def recorded_names(run_dir: Path) -> set[str]:
    """The names of the images that have a record in `run_dir`; other JSON files there are not flawmap's."""
    paths = [path for path in _files(run_dir / RECORDS) if path.name.endswith(".json")]
    return {path.name.removesuffix(".json") for path in paths if read_record(path) is not None}


def remove_leftovers(run_dir: Path) -> None:
    """Removes the temporary files that a killed process left: hidden, with the sixteen hex digits of `write_whole`."""
    temporary = re.compile(r"\.[0-9a-f]{16}(\.[a-z]+)?")
    folders = [run_dir, *(run_dir / name for name in (*OUTPUT_FOLDERS, *WATCH_FOLDERS))]
    for folder in (*folders, *(path for path in _files(run_dir / ZOOM) if path.is_dir())):
        for path in _files(folder):
            if temporary.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _remove_if_ours(folder: Path, ours: re.Pattern[str]) -> None:
    """Removes the files in `folder` that flawmap wrote there, and then the folder unless something else is in it."""
    for path in _files(folder):
        if ours.fullmatch(path.name):
            path.unlink(missing_ok=True)
    if folder.is_dir() and not _files(folder):
        folder.rmdir()


def _files(folder: Path) -> list[Path]:
    """What lies right in `folder`; nothing where it is not there."""
    return list(folder.iterdir()) if folder.is_dir() else []
