"""Runs in a folder with the marks that `flawmap serve` kept of them, for commands without a server."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from flawmap.inspect.plain_text import plain
from flawmap.inspect.review.mark_store import DATABASE, MarkStore, open_marks
from flawmap.inspect.review.reviewed_run import ReviewedRun, reviewed_run
from flawmap.inspect.run.layout import RUN_INFO
from flawmap.inspect.run.recorded_run import read_recorded_run
from flawmap.tiling.errors import UsageError


def reviewed_runs(folder: Path, database: str | None) -> Iterator[tuple[str, ReviewedRun]]:
    """(name, run) of every run in `folder` that bears a mark or a look; or of `folder` if it is a run itself.

    UsageError: no marks, no run, a run that cannot be read.
    """
    is_run = (folder / RUN_INFO).is_file()
    runs_dir = Path(os.path.realpath(folder)).parent if is_run else folder
    with closing(_marks_of(runs_dir, database)) as store:
        if is_run:
            yield _reviewed(folder, store)
            return
        reviewed = set(store.runs())
        folders = sorted(path.parent for path in runs_dir.glob(f"*/{RUN_INFO}"))
        found = [run_dir for run_dir in folders if plain(run_dir.name) in reviewed]
        if not found:
            raise UsageError(f"`RUNS_DIR` (={folder}) holds no run that bears a mark")
        yield from (_reviewed(run_dir, store) for run_dir in found)


def one_reviewed_run(run_dir: Path, database: str | None) -> ReviewedRun:
    """The run in `run_dir` with its marks; UsageError as above, and for a folder of runs."""
    if not (run_dir / RUN_INFO).is_file():
        raise UsageError(f"`RUN_DIR` (={run_dir}) holds no {RUN_INFO}: give one run, such as {run_dir / 'monday'}")
    ((_, run),) = reviewed_runs(run_dir, database)
    return run


def _marks_of(runs_dir: Path, database: str | None) -> MarkStore:
    if not runs_dir.is_dir():
        raise UsageError(f"`RUNS_DIR` (={runs_dir}) does not exist: give the folder that `flawmap serve` serves")
    if database is None and not (runs_dir / DATABASE).is_file():  # opening it would make it
        raise UsageError(f"{runs_dir / DATABASE} is missing: nobody has reviewed these runs yet (`flawmap serve`)")
    return open_marks(runs_dir, database)


def _reviewed(run_dir: Path, store: MarkStore) -> tuple[str, ReviewedRun]:
    name = plain(Path(os.path.realpath(run_dir)).name)
    return name, reviewed_run(read_recorded_run(run_dir), store.marks(name), store.looks(name))
