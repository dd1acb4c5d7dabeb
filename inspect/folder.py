"""Inspects a folder: every image once, a record each, tables and a page at the end, also after a kill in between."""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from flawmap.export.bundle import Bundle, read_bundle
from flawmap.inspect.input_images import InputImage, list_inputs
from flawmap.inspect.inspect_image import inspect_image
from flawmap.inspect.machine import peak_memory_mib, versions
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.progress import ShowProgress, Step, silent
from flawmap.inspect.read_ahead import read_ahead
from flawmap.inspect.record_files import read_record, record_path, write_record, write_run_info
from flawmap.inspect.records import ImageRecord, RunInfo, Verdict
from flawmap.inspect.report.page import write_page
from flawmap.inspect.run_folder import (
    check_continues,
    clear,
    forget,
    forget_evaluation,
    is_done,
    make_run_folder,
    recorded_names,
    remove_leftovers,
    writing,
)
from flawmap.inspect.run_lock import locked
from flawmap.inspect.scorers import Scorer, open_scorer
from flawmap.inspect.tables import write_tables
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import UsageError


def inspect_folder(
    paths: Sequence[Path],
    bundle_dir: Path,
    run_dir: Path,
    *,
    device: str = "auto",
    false_alarms: float | None = None,
    fresh: bool = False,
    heatmaps: bool = False,
    workers: int = 1,
    progress: ShowProgress = silent,
) -> RunInfo:
    """Inspects `paths` (images and folders of images) with the bundle in `bundle_dir`; everything goes to `run_dir`.

    `false_alarms`: expected false regions on a good image, the bundle's own where None. `workers`: threads that decode
    the next images; `workers` + 1 images are in memory at most. `heatmaps`: also write every heatmap as TIFF. `fresh`:
    remove an earlier run's results first; without it the run is continued and images that are done are not done again.

    Returns what run.json says; an image that could not be inspected counts as ERROR there and stops nothing.

    Raises UsageError (paths, bundle, calibration, run folder: before anything is scored), DeviceError, and, after the
    tables of what is done were written, InspectionStoppedError (a full disk) and KeyboardInterrupt.
    """
    if workers < 1:
        raise UsageError(f"`--workers` (={workers}) must be at least 1")
    entries = list_inputs(paths, run_dir)
    bundle = read_bundle(bundle_dir)
    thresholds = _thresholds(bundle, false_alarms)
    settings = {
        "paths": [str(path.resolve()) for path in map(Path, paths)],
        "device": device,
        "false_alarms": thresholds.false_alarms,
        "heatmaps": heatmaps,
        "workers": workers,
    }
    make_run_folder(run_dir)
    with locked(run_dir):
        scorer = open_scorer(bundle, device)
        run = _describe(bundle, scorer, thresholds, settings)
        with writing(run_dir, at_start=True):
            todo = _begin(run_dir, run, entries, fresh)
        try:
            with progress("inspecting", len(todo)) as step:
                _inspect_all(run_dir, todo, Pipeline(bundle, scorer, thresholds), thresholds, heatmaps, workers, step)
        except BaseException:
            with suppress(OSError):  # the disk may be full: what stopped the run is what the user must hear
                _conclude(run_dir, run, entries, "interrupted")
            raise
        with writing(run_dir):
            return _conclude(run_dir, run, entries, "finished")


def _thresholds(bundle: Bundle, false_alarms: float | None) -> Thresholds:
    calibration = bundle.info.calibration
    if calibration is None:
        raise UsageError(f"`bundle` (={bundle.folder}) is not calibrated: run `flawmap calibrate` on good images first")
    return Thresholds.of(calibration, calibration.false_alarms if false_alarms is None else false_alarms)


def _describe(bundle: Bundle, scorer: Scorer, thresholds: Thresholds, settings: dict[str, Any]) -> RunInfo:
    return RunInfo(
        state="running",
        started=_now(),
        versions=versions(),
        bundle=str(bundle.folder.resolve()),
        bundle_sha256=bundle.digest,
        product=bundle.info.product,
        device=scorer.device,
        device_note=scorer.device_note,
        calibration_note=thresholds.calibration.few_images_note(thresholds.false_alarms),
        settings=settings,
        thresholds=thresholds.as_numbers(),
        counts={},
        milliseconds_median={},
    )


def _begin(run_dir: Path, run: RunInfo, entries: Sequence[InputImage], fresh: bool) -> list[InputImage]:
    """Starts, starts over or continues the run in `run_dir`; returns the images that are still to be inspected."""
    if fresh:
        clear(run_dir)
    else:
        check_continues(run_dir, run)
    write_run_info(run_dir, run)
    remove_leftovers(run_dir)
    todo = [entry for entry in entries if not is_done(run_dir, entry)]
    # What is to be done again, and images that have left the folder since: the run ends as if it were its first.
    gone = recorded_names(run_dir) - {entry.name for entry in entries}
    if gone or todo:
        forget(run_dir, gone | {entry.name for entry in todo})
        forget_evaluation(run_dir)  # it is about other results
    return todo


def _inspect_all(
    run_dir: Path,
    todo: Sequence[InputImage],
    pipeline: Pipeline,
    thresholds: Thresholds,
    heatmaps: bool,
    workers: int,
    step: Step,
) -> None:
    recycle = None
    with closing(read_ahead(todo, workers)) as decoded_images:
        start = time.perf_counter()
        for decoded in decoded_images:
            record, recycle = inspect_image(run_dir, decoded, pipeline, thresholds, heatmaps=heatmaps, recycle=recycle)
            # From the end of the last image to the end of this one, waiting for the decoder included: the takt.
            now = time.perf_counter()
            record.milliseconds["total"], start = (now - start) * 1e3, now
            with writing(run_dir):
                write_record(run_dir, decoded.entry.name, record)
            step(f"{record.image}: {record.error or _in_words(record)}")


def _in_words(record: ImageRecord) -> str:
    n = len(record.regions)
    return f"{record.verdict}, {n} region{'' if n == 1 else 's'}"


def _conclude(
    run_dir: Path, run: RunInfo, entries: Sequence[InputImage], state: Literal["finished", "interrupted"]
) -> RunInfo:
    """Writes the tables, run.json and the page from the records there are."""
    counts = Counter(dict.fromkeys(("images", "regions", *get_args(Verdict)), 0))
    stages: dict[str, list[float]] = defaultdict(list)

    def counted() -> Iterator[ImageRecord]:
        for record in _records(run_dir, entries):
            counts.update({"images": 1, "regions": len(record.regions), record.verdict: 1})
            if record.verdict != "ERROR":
                for stage, milliseconds in record.milliseconds.items():
                    stages[stage].append(milliseconds)
            yield record

    write_tables(run_dir, counted())
    run = run.model_copy(
        update={
            "state": state,
            "finished": _now(),
            "counts": dict(counts),
            "milliseconds_median": {stage: statistics.median(values) for stage, values in stages.items()},
            "peak_memory_mib": peak_memory_mib(),
        }
    )
    write_run_info(run_dir, run)
    write_page(run_dir)
    return run


def _records(run_dir: Path, entries: Sequence[InputImage]) -> Iterator[ImageRecord]:
    """The records of `entries` that are there, one in memory at a time."""
    for entry in entries:
        record = read_record(record_path(run_dir, entry.name))
        if record is not None and record.image == entry.image:
            yield record


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
