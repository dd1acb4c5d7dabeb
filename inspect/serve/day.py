"""The run folder that the results of `flawmap serve` go to: a new one every day, a run like every other.

RUNS_DIR/service-20261126/    records, pictures, tables, page; received/ holds the images that were sent

The tables and the page are written when the day or the service ends; until then the records are the run.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import date
from pathlib import Path
from typing import Any

from flawmap.inspect.folder import conclude, recorded
from flawmap.inspect.run.folder import check_continues, make_run_folder, remove_leftovers, writing
from flawmap.inspect.run.input_images import InputImage, file_name
from flawmap.inspect.run.layout import RECEIVED
from flawmap.inspect.run.lock import locked
from flawmap.inspect.run.record_files import record_path, write_run_info
from flawmap.inspect.run.records import RunInfo
from flawmap.inspect.run_plan import RunPlan, describe
from flawmap.inspect.scoring.lanes import Lanes
from flawmap.inspect.service.inspection_queue import Job
from flawmap.tiling.errors import FlawmapError, InspectionStoppedError, UsageError
from flawmap.tiling.pages import file_of, page_path, split_page

MOST_OF_A_DAY = 100  # folders: of other bundles, other settings, other services


class DayRuns:
    """Used by one thread. A folder is locked while it is today's; `say` hears what could not be concluded."""

    def __init__(
        self,
        runs_dir: Path,
        plan: RunPlan,
        lanes: Lanes,
        settings: dict[str, Any],
        say: Callable[[str], None],
        today: Callable[[], date],
    ) -> None:
        self._runs_dir, self._plan, self._lanes, self._settings = runs_dir, plan, lanes, settings
        self._say, self._today = say, today
        self._day: date | None = None
        self._open = ExitStack()
        self._next: dict[str, int] = {}  # name of an image -> number of the next one that is called so

    def entry(self, job: Job) -> tuple[Path, InputImage]:
        """Today's folder, and the image of `job` in it, under a name that it has for itself: a.png, a-2.png, a-3.png.

        What was sent is moved to received/; to what lies on this machine a link is put there. InspectionStoppedError.
        """
        run_dir = self._folder_of_today()
        with writing(run_dir):
            name, place = self._free(run_dir, job)
            place.parent.mkdir(parents=True, exist_ok=True)
            page = split_page(Path(name))[1]
            if job.received:
                job.path.replace(place)
                path = place if page is None else page_path(place, page)
            else:
                path = job.path
                with suppress(OSError):  # there before, of another page; or not allowed, as on Windows
                    place.symlink_to(file_of(job.path))
        reading = self._plan.models[0].bundle.info.image.reading
        return run_dir, InputImage(path, name, file_name(name), reading)

    def close(self) -> None:
        """Writes the tables and the page of the folder that was today's, and lets go of it."""
        if self._day is None:
            return
        self._day = None
        with self._open:
            try:
                conclude(self._folder, self._run, recorded(self._folder, self._folder / RECEIVED), "finished")
            except (FlawmapError, OSError) as error:  # a record that somebody damaged, a full disk
                self._say(f"{self._folder}: tables and page are not written: {error}")

    def _folder_of_today(self) -> Path:
        """Ready to be written; that of another day is closed."""
        today = self._today()
        if today != self._day:
            self.close()
            self._folder, self._run = self._begin(today)
            self._day, self._next = today, {}
        return self._folder

    def _begin(self, today: date) -> tuple[Path, RunInfo]:
        problem = ""
        for number in range(1, MOST_OF_A_DAY + 1):
            run_dir = self._runs_dir / f"service-{today:%Y%m%d}{'' if number == 1 else f'-{number}'}"
            settings = self._settings | {"paths": [str((run_dir / RECEIVED).resolve())]}
            run = describe(self._plan, [self._lanes], settings)
            with ExitStack() as stack:
                try:
                    make_run_folder(run_dir)
                    stack.enter_context(locked(run_dir))
                    check_continues(run_dir, run)
                except UsageError as error:  # of another service, or of another bundle: the next one, then
                    problem = str(error)
                    continue
                with writing(run_dir):
                    (run_dir / RECEIVED).mkdir(exist_ok=True)
                    write_run_info(run_dir, run)
                    remove_leftovers(run_dir)
                self._open = stack.pop_all()
                return run_dir, run
        raise InspectionStoppedError(f"no run folder can be opened in {self._runs_dir}: {problem}")

    def _free(self, run_dir: Path, job: Job) -> tuple[str, Path]:
        """(name, place of its file in received/) that no image in `run_dir` has yet."""
        file, page = split_page(Path(job.image))
        number = self._next.get(job.image, 1)
        while True:
            numbered = file if number == 1 else file.with_name(f"{file.stem}-{number}{file.suffix}")
            name = (numbered if page is None else page_path(numbered, page)).as_posix()
            place = run_dir / RECEIVED / numbered
            ours = not job.received and place.is_symlink() and place.readlink() == file_of(job.path)
            number += 1
            if (ours or not os.path.lexists(place)) and not record_path(run_dir, file_name(name)).exists():
                self._next[job.image] = number
                return name, place
