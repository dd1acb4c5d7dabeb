"""The service put together: model, worker, history and application, from its start to its end."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.recipe.recipe_file import is_recipe
from flawmap.inspect.review.mark_store import MarkStore, MarksUnreachableError, open_marks
from flawmap.inspect.run.lock import locked
from flawmap.inspect.run.records import ImageRecord
from flawmap.inspect.run_plan import open_models, plan_watch
from flawmap.inspect.serve.app import create_app
from flawmap.inspect.serve.day import DayRuns
from flawmap.inspect.serve.review import review_router
from flawmap.inspect.serve.runs import ServeSettings
from flawmap.inspect.serve.worker import InspectionWorker, WorkerSettings, disk_fault
from flawmap.inspect.service.access import Keys
from flawmap.inspect.service.allowed_roots import AllowedRoots
from flawmap.inspect.service.figures import Figures
from flawmap.inspect.service.health import Check, metrics_route
from flawmap.inspect.service.history import History
from flawmap.inspect.service.inspect_routes import UPLOAD_SUFFIX, Intake, inspect_routes
from flawmap.inspect.service.inspection_queue import InspectionQueue
from flawmap.tiling.errors import UsageError

SERVICES = 20  # that may share a folder of runs
log = logging.getLogger("flawmap.serve")


@contextmanager
def service(
    runs_dir: Path,
    model: Path,
    settings: ServeSettings,
    keys: Keys,
    *,
    tell: Callable[[ImageRecord], None] = lambda record: None,
    today: Callable[[], date] = date.today,
) -> Iterator[tuple[FastAPI, Callable[[], None]]]:
    """The application, ready to inspect, and what lets go who waits; leaving the block finishes the image at hand.

    `tell` hears of each image that was inspected. `today` is asked for each: results go to a run folder a day.
    UsageError for a folder or a bundle that cannot be used, DeviceError for a device that is not here.
    """
    if is_recipe(model):
        raise UsageError(f"`--model` (={model}) is a recipe: `flawmap serve` inspects with one bundle")
    plan = plan_watch(model, settings.false_alarms, settings.device)
    (planned,) = plan.models
    with ExitStack() as stack:
        incoming = stack.enter_context(incoming_folder(runs_dir))
        marks = stack.enter_context(closing(open_marks(runs_dir, settings.database)))
        (lanes,) = open_models(plan, settings.device, 1)
        for note in filter(None, (lanes.device_note,)):
            log.warning(note)
        queue, limit = InspectionQueue(settings.queue), settings.upload_limit_mb * 10**6
        figures = Figures(
            queue,
            product=planned.bundle.info.product,
            bundle_sha256=planned.bundle.digest,
            device=lanes.device,
            version=version("flawmap"),
        )
        kept = {
            "device": settings.device, "false_alarms": settings.false_alarms, "heatmaps": False,
            "zoom": settings.zoom, "workers": 1,
        }  # fmt: skip
        runs = DayRuns(runs_dir, plan, lanes, kept, log.warning, today)
        worker = stack.enter_context(
            InspectionWorker(
                Pipeline(planned.bundle, lanes, planned.thresholds),
                runs,
                queue,
                figures,
                WorkerSettings(settings.image_limit_mp, settings.keep_uploads, settings.zoom),
                tell,
            )
        )
        no_room = partial(disk_fault, runs_dir, limit)
        intake = Intake(queue, AllowedRoots(settings.allow), figures, incoming, limit, no_room)
        checks: dict[str, Check] = {
            "worker": worker.fault,
            "queue": lambda: f"all {queue.places} places are taken" if queue.full else "",
            "disk": no_room,
            "database": partial(database_fault, marks),
        }
        history = History(runs_dir)
        review = review_router(history, marks, model, settings.device)
        further = [inspect_routes(intake), metrics_route(figures), review]
        yield create_app(history, keys, checks, further), worker.stop


def database_fault(marks: MarkStore) -> str:
    """Why the marks cannot be read or set; empty where they can."""
    try:
        marks.state("")
    except MarksUnreachableError as error:
        return str(error)
    return ""


@contextmanager
def incoming_folder(runs_dir: Path) -> Iterator[Path]:
    """A folder on the disk of the runs for what is being received, this service's alone; empty before and after.

    UsageError where there can be none.
    """
    for number in range(1, SERVICES + 1):
        folder = runs_dir / f".incoming-{number}"
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"`RUNS_DIR` (={runs_dir}) cannot be written: {error.strerror}") from error
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(folder))
            except UsageError:  # of another service
                continue
            _remove_uploads(folder)  # that a killed service left
            try:
                yield folder
            finally:
                _remove_uploads(folder)
            return
    raise UsageError(f"`RUNS_DIR` (={runs_dir}) is served by {SERVICES} others, or cannot be locked")


def _remove_uploads(folder: Path) -> None:
    for file in folder.glob(f"*{UPLOAD_SUFFIX}"):
        file.unlink(missing_ok=True)
