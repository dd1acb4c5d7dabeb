"""Runs what follows an image's scoring (regions, pictures, record) in threads while the caller scores the next ones."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

Made = TypeVar("Made")


class WriteBehind:
    """Jobs in the order given, `at_once` at a time. Leaving the `with` block waits for those that run, also after an
    error.

    An error of a job comes out of the next `begin` or `wait`, in the caller's thread, and out of every job that was
    begun after it, which then ends without its second half.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="flawmap-write")
        self._running: deque[Future[None]] = deque()
        self._last: Future[None] | None = None

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
        """Returns when no job runs; raises what the first one that failed raised."""
        while self._running:
            self._wait_for_first()

    def _wait_for_first(self) -> None:
        try:
            self._running.popleft().result()
        except BaseException:
            self._last = None  # what comes next is not to fail for it again
            raise

    def begin(self, job: Callable[[], Made], then: Callable[[Made], None] | None = None) -> None:
        """Starts `job` once there is room for it; of a job that failed, the error comes out and none is begun.

        `then` gets what `job` made, when the jobs before are done with theirs: in order, one at a time.
        """
        while len(self._running) >= self._at_once:
            self._wait_for_first()
        self._last = self._pool.submit(_in_turn, job, then, self._last)
        self._running.append(self._last)


def _in_turn(job: Callable[[], Made], then: Callable[[Made], None] | None, before: Future[None] | None) -> None:
    made = job()
    if before is not None:
        before.result()  # the pool takes jobs in their order: the one before runs already, or is done
    if then is not None:
        then(made)
