"""Drift while a watcher runs: each image is compared as it comes, an operator hears when an alarm begins or ends."""

from collections.abc import Callable
from heapq import nlargest
from pathlib import Path

from flawmap.inspect.drift_run import (
    ModelDrift,
    calibration_severities,
    measure_drift,
    picture_name,
    raw_severity,
    write_drift,
)
from flawmap.inspect.line.drift import DriftMonitor
from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.run.records import ImageRecord
from flawmap.inspect.run_plan import RunPlan
from flawmap.tiling.errors import UsageError

HISTORY = 3  # times as many records are taken up at a start as are compared: some are NG, or another camera's


class LiveDrift:
    """One monitor for each model of a watcher; goes on where an earlier watcher was."""

    def __init__(self, run_dir: Path, plan: RunPlan, last: int, say: Callable[[str], None]) -> None:
        """Says, for each model whose calibration does not allow it, why its drift is not watched."""
        self._run_dir, self._last, self._say = run_dir, last, say
        self._monitors: dict[int, DriftMonitor] = {}
        self._found: dict[int, ModelDrift] = {}
        self._not_watched: list[str] = []
        for number, model in enumerate(plan.models):
            camera = "" if plan.recipe is None else plan.recipe.models[number].camera
            try:
                monitor = DriftMonitor(calibration_severities(model.bundle), model.thresholds.severity_ng, last)
                if not monitor.can_tell:
                    raise UsageError(f"`bundle` (={model.bundle.folder}) was calibrated on too few good images")
            except UsageError as error:
                self._not_watched.append(f"camera {camera}: drift is not watched: {error}")
                say(f"drift is not watched: {error}")
                continue
            self._monitors[number] = monitor
            picture = picture_name(None if plan.recipe is None else number)
            self._found[number] = ModelDrift(camera, monitor.state(), "", picture)
        for record in self._history():
            self._count(record)

    def add(self, record: ImageRecord) -> None:
        """One more image; an alarm that begins or ends is said, and written to drift.json. OSError where it cannot."""
        before = self._alarms()
        self._count(record)
        if self._alarms() == before:
            return
        number = record.model or 0
        self._say(f"drift: {self._found[number].sentence}")
        write_drift(self._run_dir, list(self._found.values()), self._last, self._not_watched)

    def conclude(self) -> None:
        """drift.json and pictures as `flawmap drift` makes them, if a model is watched and there is an image."""
        if any(found.state.n_images for found in self._found.values()):
            try:
                measure_drift(self._run_dir, self._last)
            except UsageError as error:  # the bundle has been moved or calibrated again since the start
                self._say(f"no picture of the drift: {error}")

    def _count(self, record: ImageRecord) -> None:
        number = record.model or 0  # without a recipe there is one, and records do not name it
        monitor = self._monitors.get(number)
        if monitor is None or record.verdict == "ERROR":
            return
        found = self._found[number]
        state = monitor.add(raw_severity(record))
        first = found.first_alarm or (record.image if state.alarm else "")
        self._found[number] = ModelDrift(found.camera, state, first, found.picture)

    def _alarms(self) -> list[str]:
        return [found.state.alarm for found in self._found.values()]

    def _history(self) -> list[ImageRecord]:
        """The last images before this start, in their order."""
        count = HISTORY * self._last * max(1, len(self._monitors))
        paths = nlargest(count, (self._run_dir / RECORDS).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        records = [record for path in paths if (record := read_record(path)) is not None]
        return sorted(records, key=lambda record: record.inspected)
