"""Runs what follows an image's scoring (regions, pictures, record) in a thread while the caller scores the next one."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class WriteBehind:
    """One job at a time, in the order given. Leaving the `with` block waits for the job that runs, also after an error.

    An error of a job comes out of the next `wait`, in the caller's thread.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="flawmap-write")
        self._running: Future[None] | None = None

    def __enter__(self) -> "WriteBehind":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown()

    def wait(self) -> None:
        """Returns when no job runs; raises what the last one raised."""
        running, self._running = self._running, None
        if running is not None:
            running.result()

    def begin(self, job: Callable[[], None]) -> None:
        """Waits for the job before and starts this one; of a job that failed, the error comes out and none is begun."""
        self.wait()
        self._running = self._pool.submit(job)
