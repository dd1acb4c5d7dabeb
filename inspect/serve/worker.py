"""The one worker of `flawmap serve`: image after image, in the order in which they came.

queue -> today's run folder -> header small enough? -> read, score, judge -> record -> whoever waits for it

One image is in memory at a time, however many clients there are; the rest waits on the disk.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from flawmap.inspect.inspect_image import judge_image, refused, score_image
from flawmap.inspect.pipeline import Pipeline, Scored
from flawmap.inspect.read_ahead import decode
from flawmap.inspect.run.folder import writing
from flawmap.inspect.run.input_images import InputImage
from flawmap.inspect.run.record_files import write_record
from flawmap.inspect.run.records import ImageRecord
from flawmap.inspect.serve.day import DayRuns
from flawmap.inspect.service.decoded_size import check_decoded_size
from flawmap.inspect.service.figures import Figures
from flawmap.inspect.service.inspection_queue import Inspected, InspectionQueue, Job
from flawmap.tiling.errors import ImageError, InspectionStoppedError
from flawmap.tiling.pages import file_of

log = logging.getLogger("flawmap.serve")


@dataclass(frozen=True)
class WorkerSettings:
    """What the worker keeps, and what it refuses."""

    image_limit: int  # megapixels
    keep_uploads: bool
    zoom: bool


class InspectionWorker:
    """Inspects while its `with` block runs; leaving it lets the image at hand be finished and the others go undone."""

    def __init__(
        self,
        pipeline: Pipeline,
        runs: DayRuns,
        queue: InspectionQueue,
        figures: Figures,
        settings: WorkerSettings,
        tell: Callable[[ImageRecord], None],
    ) -> None:
        """`tell` hears of each image once its record is written."""
        self._pipeline, self._runs, self._queue = pipeline, runs, queue
        self._figures, self._settings, self._tell = figures, settings, tell
        self._spare: Scored | None = None  # of the last image, to be written over
        # A daemon: who is told twice to stop does not wait for the image at hand.
        self._thread = threading.Thread(target=self._run, name="flawmap-inspect", daemon=True)

    def __enter__(self) -> "InspectionWorker":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if kind is not KeyboardInterrupt:
            self._thread.join()

    def stop(self) -> None:
        """Nobody gets a place any more; who waits hears of it at once."""
        self._queue.stop(_forget)

    def fault(self) -> str:
        """Why no image would be inspected now; empty where one would."""
        return "" if self._thread.is_alive() and not self._queue.stopping else "it has stopped"

    def _run(self) -> None:
        while (job := self._queue.next()) is not None:
            try:
                inspected = self._inspected(job)
            except BaseException as error:  # whatever it is, it is this image's alone
                if not isinstance(error, InspectionStoppedError):
                    log.exception("%s could not be inspected", ascii(job.image))
                _forget(job)
                job.result.set_exception(error)
            else:
                self._figures.inspected(inspected.record)
                self._tell(inspected.record)
                job.result.set_result(inspected)
        self._runs.close()

    def _inspected(self, job: Job) -> Inspected:
        start = time.perf_counter()
        run_dir, entry = self._runs.entry(job)
        keep = False
        try:
            record = self._record(run_dir, entry)
            record.milliseconds["total"] = (time.perf_counter() - start) * 1e3
            with writing(run_dir):
                write_record(run_dir, entry.name, record)
            keep = self._settings.keep_uploads and record.verdict != "ERROR"
        finally:
            if job.received and not keep:
                file_of(entry.path).unlink(missing_ok=True)
        return Inspected(run_dir, entry.name, record)

    def _record(self, run_dir: Path, entry: InputImage) -> ImageRecord:
        pipeline, image = self._pipeline, self._pipeline.info.image
        bytes_a_pixel = image.channels * np.dtype(image.dtype).itemsize
        try:
            check_decoded_size(entry.path, entry.reading, self._settings.image_limit, bytes_a_pixel)
        except ImageError as error:
            return refused(entry, error.reason)
        decoded = decode(0, entry, lambda number, image: pipeline.prepare(image))
        scored = score_image(run_dir, decoded, pipeline, self._spare)
        self._spare = scored.scored or self._spare
        thresholds = pipeline.sure_thresholds()
        return judge_image(run_dir, scored, pipeline, thresholds, heatmaps=False, zoom=self._settings.zoom)


def disk_fault(folder: Path, upload_limit: int) -> str:
    """Why the disk that holds `folder` has no room for one more image and its results; empty where it has."""
    free = shutil.disk_usage(folder).free
    needed = 2 * upload_limit
    if free >= needed:
        return ""
    return f"the disk of the runs has {free // 10**6} MB left, and {needed // 10**6} MB are kept free: make room"


def _forget(job: Job) -> None:
    if job.received:
        job.path.unlink(missing_ok=True)
