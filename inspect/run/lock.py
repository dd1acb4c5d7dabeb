"""One process a run folder, also after a kill: the system drops the lock together with the process that held it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flawmap.inspect.run.folder import writing
from flawmap.inspect.run.layout import LOCK
from flawmap.tiling.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Holds the lock of the existing folder `run_dir`.

    UsageError where another process holds it or the lock file cannot be made. A file system that knows no locks (some
    network drives) is used without one.
    """
    with writing(run_dir, at_start=True):
        descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(descriptor, run_dir)
        os.ftruncate(descriptor, 0)
        # A full disk must not hide itself behind the lock: the number only serves the message of the other process.
        with suppress(OSError):
            os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, run_dir: Path) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            _lock_on_windows(descriptor)
    except (BlockingIOError, PermissionError):
        holder = ""
        with suppress(OSError):  # Windows does not let the locked byte be read
            holder = os.read(descriptor, 20).decode(errors="replace")
        raise UsageError(
            f"`-o` (={run_dir}) is in use by another flawmap{f' (process {holder})' if holder else ''}: "
            "wait for it to end, or give another folder"
        ) from None
    except OSError:
        return


def _lock_on_windows(descriptor: int) -> None:
    import msvcrt

    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
