"""A graceful stop: SIGTERM (systemd, `kill`), SIGINT (Ctrl-C) and Ctrl-Break (Windows services) ask for it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType


class Stop:
    """Asked for once, for good. `bell` is rung so that a loop that waits on it hears of it at once."""

    def __init__(self, bell: "SimpleQueue[str]") -> None:
        self.asked = False
        self._bell = bell

    def ask(self) -> None:
        """From any thread, and from a signal handler: `SimpleQueue.put` may be called while it is being called."""
        self.asked = True
        self._bell.put("")


@contextmanager
def stopped_by_signals(stop: Stop) -> Iterator[None]:
    """In the main thread. The second signal is not waited for any more: KeyboardInterrupt."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)]
    before = {number: signal.signal(number, ask) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
