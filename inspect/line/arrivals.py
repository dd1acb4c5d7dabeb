"""Which pictures have come into a folder, and which of them are complete.

A picture is complete when whoever wrote it has closed or renamed it (where the system tells, see `events`), when size
and time of change have stood still for a while, or when its marker lies beside it: `part.png.done` or `part.done`.
Reading it has the last word: one that cannot be decoded yet gets time until `give_up`, and only then counts as broken.

    come --> still for `settle` s --> taken --> read: inspected
                  ^                     |
                  +-- changed again <---+-- cannot be read yet; taken once more after `give_up` s, whatever comes of it
"""

import os
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from flawmap.inspect.run.layout import is_run_folder
from flawmap.tiling.errors import UsageError
from flawmap.tiling.image_listing import IMAGE_SUFFIXES, NameKey, natural_order

DONE = ".done"
AFTER_CLOSING = 0.1  # s: who copies a file closes it first and sets its time afterwards
REST = 5  # a folder of very many pictures is looked at for a sixth of the time at most


class Stamp(NamedTuple):
    """Tells one content of a file from the next."""

    size_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Patience:
    """Seconds."""

    settle: float = 0.5  # size and time of change stand still so long
    give_up: float = 10.0  # a picture that cannot be read is broken when it has stood still so long
    done_marker: bool = False  # only pictures with a marker


@dataclass(frozen=True)
class Arrival:
    """A picture to be inspected."""

    path: Path
    image: str  # relative to the folder, with forward slashes
    stamp: Stamp
    complete: float  # `time.monotonic` when it was found complete
    last_chance: bool  # if it cannot be read now, it is broken
    again: bool  # its name has been inspected before, with another content


@dataclass
class _Known:
    """A picture that lies in the folder."""

    path: Path
    order: tuple[list[NameKey], str]
    inspected: Stamp | None
    stamp: Stamp | None = None
    since: float = 0.0  # nothing has changed since then
    closed: float | None = None  # when its writer closed it
    complete: float | None = None  # when it was first found complete
    unreadable: bool = False  # as it is now; once more when the patience ends
    taken: bool = False

    @property
    def is_done(self) -> bool:
        """Whether what lies there has its result.

        So has a picture of the same size and an older time: `cp -p` gives a file the time of its original once it is
        closed, which may be after it was inspected. Whoever writes another picture gives it a later time.
        """
        if self.inspected is None or self.stamp is None:
            return False
        return (
            self.stamp.size_bytes == self.inspected.size_bytes and self.stamp.modified_ns <= self.inspected.modified_ns
        )


@dataclass
class _Found:
    stamps: dict[Path, Stamp] = field(default_factory=dict)
    markers: set[str] = field(default_factory=set)


class Arrivals:
    """Keeps one small entry for every picture that lies in the folder, and forgets those that have left it."""

    def __init__(
        self, folder: Path, run_dir: Path, patience: Patience, inspected: Callable[[str], Stamp | None]
    ) -> None:
        """`inspected`: the content of an image that has its result already, None where it has none.

        UsageError where `folder` is missing, is no folder or cannot be read.
        """
        self.folder = folder.absolute()
        self.lost = ""  # why the folder cannot be read at the moment (a network share that is gone)
        self._run_dir, self._patience, self._inspected = run_dir.resolve(), patience, inspected
        self._known: dict[Path, _Known] = {}
        self._ready: deque[Arrival] = deque()
        self._not_before = 0.0
        if not folder.is_dir():
            raise UsageError(f"`FOLDER` (={folder}) {'must be a folder' if folder.exists() else 'does not exist'}")
        try:
            os.scandir(folder).close()
        except OSError as error:
            raise UsageError(f"`FOLDER` (={folder}) cannot be read: {error.strerror or error}") from None

    @property
    def waiting(self) -> int:
        """Complete pictures that nobody has taken yet."""
        return len(self._ready)

    @property
    def behind(self) -> float:
        """Seconds that the next picture has been waiting for its turn; 0 where none waits."""
        return time.monotonic() - self._ready[0].complete if self._ready else 0.0

    @property
    def unsettled(self) -> bool:
        """Whether a picture lies there that time alone makes complete: worth another look soon."""
        if self._patience.done_marker:
            return False
        return any(not known.taken and not known.is_done for known in self._known.values())

    def look(self, closed: Collection[str] = ()) -> None:
        """Looks at the folder; `closed`: paths of files that were closed or renamed since the last look."""
        start = time.monotonic()
        try:
            found = self._scan()
            self.lost = ""
        except OSError as error:  # what is known stays known: the share will be back
            self.lost = error.strerror or str(error)
            return
        for gone in self._known.keys() - found.stamps.keys():
            if not self._known[gone].taken:
                del self._known[gone]
        now = time.monotonic()
        for path, stamp in found.stamps.items():
            self._note(path, stamp, str(path) in closed, now)
        self._ready = deque(self._complete(found, now))
        self._not_before = now + REST * (now - start)

    def may_look(self) -> bool:
        """False for a while after a look that took long."""
        return time.monotonic() >= self._not_before

    def take(self) -> Arrival | None:
        """The next complete picture, by time of change and then by name; give it back to `done` or `not_yet`."""
        if not self._ready:
            return None
        arrival = self._ready.popleft()
        self._known[arrival.path].taken = True
        return arrival

    def done(self, arrival: Arrival, read: Stamp) -> None:
        """`arrival` has its result, for the content `read`; another content under its name is another picture."""
        known = self._known[arrival.path]
        known.inspected = read  # first: between the two lines another thread may look
        known.taken = False

    def not_yet(self, arrival: Arrival) -> None:
        """`arrival` could not be read; what has come under its name since then may be."""
        known = self._known[arrival.path]
        known.taken, known.unreadable = False, known.stamp == arrival.stamp

    def _note(self, path: Path, stamp: Stamp, closed: bool, now: float) -> None:
        known = self._known.get(path)
        if known is None:
            relative = path.relative_to(self.folder)
            inspected = self._inspected(relative.as_posix())
            known = self._known[path] = _Known(path, natural_order(relative), inspected)
        if known.stamp != stamp:
            known.stamp, known.since = stamp, now
            known.closed, known.complete, known.unreadable = None, None, False
        if closed:
            known.closed, known.unreadable = now, False

    def _complete(self, found: _Found, now: float) -> list[Arrival]:
        ready = []
        for known in self._known.values():
            stamp = known.stamp
            if stamp is None or known.taken or known.is_done:
                continue
            marked = not found.markers.isdisjoint((f"{known.path}{DONE}", str(known.path.with_suffix(DONE))))
            still = now - known.since
            closed = known.closed is not None and now - max(known.closed, known.since) >= AFTER_CLOSING
            complete = marked or (not self._patience.done_marker and (closed or still >= self._patience.settle))
            last_chance = marked or still >= self._patience.give_up
            if complete and (last_chance or not known.unreadable):
                known.complete = now if known.complete is None else known.complete
                image, again = known.path.relative_to(self.folder).as_posix(), known.inspected is not None
                ready.append((stamp, known, Arrival(known.path, image, stamp, known.complete, last_chance, again)))
        ready.sort(key=lambda one: (one[0].modified_ns, one[1].order))
        return [arrival for _, _, arrival in ready]

    def _scan(self) -> _Found:
        """Every picture and marker below the folder; hidden ones, links to folders and run folders are left out."""
        found = _Found()
        folders = [self.folder]
        while folders:
            folder = folders.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError:
                if folder == self.folder:
                    raise
                continue  # removed while we looked, or not ours to read
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if not self._is_output(Path(entry.path)):
                        folders.append(Path(entry.path))
                elif entry.name.endswith(DONE):
                    found.markers.add(entry.path)
                elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                    found.stamps[Path(entry.path)] = _stamp_of(entry)
        return found

    def _is_output(self, folder: Path) -> bool:
        return folder.resolve() == self._run_dir or is_run_folder(folder)


def _stamp_of(entry: "os.DirEntry[str]") -> Stamp:
    """Zeros where it cannot be asked (a link that leads nowhere): reading it will tell what is wrong."""
    try:
        status = Path(entry.path).stat()  # not entry.stat(): Windows keeps there what it knew when the file was made
    except OSError:
        return Stamp(0, 0)
    return Stamp(status.st_size, status.st_mtime_ns)
