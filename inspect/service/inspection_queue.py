"""Who waits for the one worker: first come, first served, and no more than there are places.

A place is taken before an image is received and given back when its result is there, so what lies on the disk and
waits is bounded, too. Who finds no place is told at once and may come again.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from flawmap.inspect.run.records import ImageRecord


class NoPlaceError(Exception):
    """All places are taken, or the service is about to stop."""


@dataclass(frozen=True)
class Inspected:
    """The result of one image: `run` is the folder that holds it, `name` what its files are called there."""

    run: Path
    name: str
    record: ImageRecord


@dataclass(frozen=True)
class Job:
    """One image that waits. `received`: the file came with the request and is the worker's to keep or remove."""

    path: Path  # a file, or a page of one
    image: str  # its name for people
    received: bool
    result: "Future[Inspected]" = field(default_factory=Future)


class InspectionQueue:
    """Any thread may take a place and put a job; one worker takes them."""

    def __init__(self, waiting: int) -> None:
        """`waiting`: images that may wait beside the one that is being inspected."""
        self.places = waiting + 1
        self.taken = 0  # received, waiting or being inspected
        self.stopping = False
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()

    @property
    def full(self) -> bool:
        return self.taken >= self.places

    def take_place(self) -> None:
        """NoPlaceError where there is none; who has taken one puts a job or gives it back."""
        with self._changed:
            self._check_not_stopping()
            if self.full:
                raise NoPlaceError(f"{self.taken} images wait or are being received, more have no place: come again")
            self.taken += 1

    def give_back(self) -> None:
        with self._changed:
            self.taken -= 1

    def put(self, job: Job) -> None:
        """Lines up `job`, whose place is given back once it has its result. NoPlaceError where the service stops."""
        with self._changed:
            self._check_not_stopping()
            job.result.add_done_callback(lambda _: self.give_back())
            self._jobs.append(job)
            self._changed.notify_all()

    def next(self) -> Job | None:
        """The job that has waited longest; waits for one. None once the service stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self.stopping)
            return None if self.stopping else self._jobs.popleft()

    def stop(self, forget: Callable[[Job], None]) -> None:
        """From now on nobody gets a place; who waits gets NoPlaceError. `forget` hears of each job that goes undone."""
        with self._changed:
            self.stopping = True
            undone = list(self._jobs)
            self._jobs.clear()
            self._changed.notify_all()
        for job in undone:
            forget(job)
            job.result.set_exception(NoPlaceError(STOPPING))

    def _check_not_stopping(self) -> None:
        if self.stopping:
            raise NoPlaceError(STOPPING)


STOPPING = "the service is stopping: come again when it is back"
