"""Inspects a folder as pictures come into it, until it is told to stop: every picture once, a result for every part.

What a run folder of `flawmap inspect` holds is written here too; the tables and the page when the watcher stops.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from flawmap.inspect.folder import conclude, recorded
from flawmap.inspect.line.arrivals import Arrivals, Stamp
from flawmap.inspect.line.hand_over import HandOver
from flawmap.inspect.line.part_result import PartResult
from flawmap.inspect.line.publisher import Publisher
from flawmap.inspect.line.service_notice import notify
from flawmap.inspect.line.stop import Stop
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.run.folder import check_continues, make_run_folder, remove_leftovers, writing
from flawmap.inspect.run.input_images import file_name
from flawmap.inspect.run.layout import PUBLISH
from flawmap.inspect.run.lock import locked
from flawmap.inspect.run.record_files import read_record, record_path, write_run_info
from flawmap.inspect.run.records import RunInfo
from flawmap.inspect.run_plan import describe, open_models, plan_watch
from flawmap.inspect.watch.live_drift import LiveDrift
from flawmap.inspect.watch.loop import Watch, WatchSettings
from flawmap.inspect.watch.part_book import PartBook
from flawmap.tiling.errors import UsageError

Told = TypeVar("Told")

WAYS_OUT = "Give another folder: a watcher goes on with the same folder, model and settings only"


def watch_folder(
    folder: Path,
    model: Path,
    run_dir: Path,
    stop: Stop,
    bell: "SimpleQueue[str]",
    *,
    device: str = "auto",
    false_alarms: float | None = None,
    settings: WatchSettings | None = None,
    say: Callable[[str], None] = print,
    tell: Callable[[PartResult], None] = lambda result: None,
) -> RunInfo:
    """Watches `folder` until `stop` is asked for, which rings `bell`; `model` is a bundle or a recipe.

    `say` hears what an operator should know (takt, broker, folder gone), `tell` each result once it is written; they
    are called from several threads, one at a time. Pictures with a record in `run_dir` are not inspected again.

    Returns what run.json says. Raises UsageError and DeviceError before a picture is taken; InspectionStoppedError (a
    full disk) after the tables of what is done were written.
    """
    settings, turn = settings or WatchSettings(), threading.Lock()
    say, tell = _in_turn(say, turn), _in_turn(tell, turn)
    plan = plan_watch(model, false_alarms, device)
    if plan.recipe is not None and not plan.recipe.expected:
        raise UsageError(f"`--model` (={model}): `expected` is missing: it says when a part has all its pictures")
    arrivals = Arrivals(folder, run_dir, settings.patience, partial(_inspected, run_dir))
    if arrivals.folder.resolve().is_relative_to(run_dir.resolve()):
        raise UsageError(f"`-o` (={run_dir}) must not be `FOLDER` (={folder}), nor hold it")
    make_run_folder(run_dir)
    with locked(run_dir):
        models = open_models(plan, device, 1)  # a picture has its result before the next one is scored
        run = describe(
            plan,
            models,
            {"paths": [str(folder.resolve())], "device": device, "false_alarms": false_alarms,
             "heatmaps": settings.heatmaps, "zoom": settings.zoom, "workers": settings.workers},
        )  # fmt: skip
        with writing(run_dir, at_start=True):
            check_continues(run_dir, run, WAYS_OUT)
            write_run_info(run_dir, run)
            remove_leftovers(run_dir)
            hand_over = HandOver(run_dir, publish=settings.mqtt is not None)
        pipelines = [Pipeline(m.bundle, lanes, m.thresholds) for m, lanes in zip(plan.models, models, strict=True)]
        book = PartBook(run_dir, run, hand_over, settings.part_timeout, say)
        publisher = Publisher(settings.mqtt, run_dir / PUBLISH, say) if settings.mqtt else None
        drift = LiveDrift(run_dir, plan, settings.drift_last, say)
        watch = Watch(run_dir, plan, pipelines, arrivals, book, drift, publisher, settings, say, tell)
        try:
            watch.run(stop, bell)
        except BaseException:
            with suppress(OSError):  # the disk may be full: what stopped the run is what the user must hear
                conclude(run_dir, run, recorded(run_dir, folder), "interrupted")
            raise
        notify("STOPPING=1")
        with writing(run_dir):
            run = conclude(run_dir, run, recorded(run_dir, folder), "finished")
            drift.conclude()
        return run


def _inspected(run_dir: Path, image: str) -> Stamp | None:
    record = read_record(record_path(run_dir, file_name(image)))
    if record is None or record.image != image:
        return None
    return Stamp(record.source.size_bytes, record.source.modified_ns)


def _in_turn(function: Callable[[Told], None], turn: threading.Lock) -> Callable[[Told], None]:
    def one_at_a_time(told: Told) -> None:
        with turn:
            function(told)

    return one_at_a_time
