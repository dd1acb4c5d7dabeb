"""What the service makes of marks when it is asked: exports, and a calibration that takes its time in the background.

Everything lands in RUNS_DIR/review/, under a name that says what it is and when: no request names a place.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from flawmap.inspect.after_review.calibrate import calibrate_on_review
from flawmap.inspect.after_review.coco import coco_of_marks
from flawmap.inspect.after_review.export import export_review
from flawmap.inspect.plain_text import plain, plain_values
from flawmap.inspect.progress import Step
from flawmap.inspect.review.formats import ReviewFormat
from flawmap.inspect.review.reviewed_run import ReviewedRun
from flawmap.inspect.review.reviews import ChangedError, Reviews
from flawmap.inspect.review.routes import answering, refusals
from flawmap.inspect.run.input_images import file_name
from flawmap.tiling.errors import FlawmapError, UsageError

FOLDER = "review"  # in the folder of runs


class NewExport(BaseModel):
    """What to write."""

    model_config = ConfigDict(extra="forbid")

    to: ReviewFormat


class ExportAnswer(BaseModel):
    """What was written, on the machine of the service."""

    path: str
    files: int
    notes: list[str]  # what was left out


class NewCalibration(BaseModel):
    """How the copy is calibrated."""

    model_config = ConfigDict(extra="forbid")

    false_alarms: float | None = Field(None, gt=0, le=100, description="As the bundle allows unless given")


class CalibrationState(BaseModel):
    """How far the last calibration of this service has come."""

    state: Literal["none", "running", "done", "failed"] = "none"
    run: str = ""
    path: str = ""  # of the bundle, on the machine of the service
    done: int = 0  # images
    of: int = 0
    notes: list[str] = []
    problem: str = ""  # why it failed


class Calibrating:
    """One calibration at a time, in a thread of its own. The bundle that inspects stays as it is."""

    def __init__(self, bundle: Path, device: str) -> None:
        self._bundle, self._device = bundle, device
        self._state = CalibrationState()
        self._turn = threading.Lock()

    @property
    def state(self) -> CalibrationState:
        with self._turn:
            return self._state.model_copy()

    def begin(self, id: str, run: ReviewedRun, output: Path, false_alarms: float | None) -> CalibrationState:
        """ChangedError where one is running, or no image was found good."""
        if not any(image.is_good for image in run.images):
            raise ChangedError(
                "no image of the run was looked at as a whole and found good: there is nothing to calibrate on"
            )
        with self._turn:
            if self._state.state == "running":
                raise ChangedError(f"run `{self._state.run}` is being calibrated on: one at a time")
            self._state = CalibrationState(state="running", run=id, path=plain(str(output)))
        thread = threading.Thread(target=self._calibrate, args=(run, output, false_alarms), daemon=True)
        thread.start()
        return self.state

    def _calibrate(self, run: ReviewedRun, output: Path, false_alarms: float | None) -> None:
        try:
            done = calibrate_on_review(
                run, self._bundle, output, false_alarms=false_alarms, device=self._device, progress=self._progress
            )
            self._set(state="done", notes=done.notes)
        except FlawmapError as error:
            self._set(state="failed", problem=plain(str(error)))
        except Exception as error:  # whoever asks must hear of it: nobody joins this thread
            self._set(state="failed", problem=plain(f"{type(error).__name__}: {error}"))
            raise

    @contextmanager
    def _progress(self, title: str, total: int) -> Iterator[Step]:
        self._set(done=0, of=total)

        def step(text: str) -> None:
            self._set(done=self.state.done + 1)

        yield step

    def _set(self, **changes: Any) -> None:
        with self._turn:
            self._state = self._state.model_copy(update=changes)


def work_routes(reviews: Reviews, runs_dir: Path, calibrating: Calibrating) -> APIRouter:
    router = APIRouter(prefix="/api/runs/{run}/review", tags=["review"])

    @router.get("/coco", summary="The marked defects as COCO JSON", responses=refusals(404, 409))
    def coco(run: str) -> dict[str, Any]:
        with _answering():
            content: dict[str, Any] = plain_values(coco_of_marks(reviews.run(run)))
            return content

    @router.post(
        "/exports",
        summary="Writes marks beside the runs: COCO, masks, tiles",
        status_code=201,
        responses=refusals(400, 404, 409, 413),
    )
    def export(run: str, new: NewExport) -> ExportAnswer:
        with _answering():
            suffix = ".json" if new.to is ReviewFormat.COCO else ""
            output = _new_place(runs_dir, run, new.to, suffix)
            exported = export_review(reviews.run(run), new.to, output)
        return ExportAnswer(path=plain(str(output)), files=len(exported.paths), notes=plain_values(exported.notes))

    @router.post(
        "/calibrations",
        summary="Calibrates a copy of the service's bundle on the images found good",
        status_code=202,
        responses=refusals(400, 404, 409, 413),
    )
    def calibrate(run: str, new: NewCalibration) -> CalibrationState:
        with _answering():
            output = _new_place(runs_dir, run, "calibrated", ".bundle")
            return calibrating.begin(run, reviews.run(run), output, new.false_alarms)

    @router.get("/calibrations", summary="How far the last calibration has come", responses=refusals(404, 409))
    def calibration(run: str) -> CalibrationState:
        with _answering():
            reviews.run(run)
        return calibrating.state

    return router


@contextmanager
def _answering() -> Iterator[None]:
    """`answering`, for damaged files and full disks too."""
    with answering():
        try:
            yield
        except OSError as error:
            raise UsageError(f"it cannot be written: {error.strerror or error}") from error
        except UsageError:
            raise
        except FlawmapError as error:
            raise UsageError(str(error)) from error


def _new_place(runs_dir: Path, run: str, what: str, suffix: str) -> Path:
    now = datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    return runs_dir / FOLDER / f"{file_name(run)}-{what}-{now}{suffix}"
