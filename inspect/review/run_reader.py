"""The records of a run folder, which somebody may be writing into: read again only where a file has changed."""

import os
import threading
from pathlib import Path, PurePosixPath

from flawmap.inspect.plain_text import plain
from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.record_files import read_as
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun, read_described_run
from flawmap.inspect.run.records import ImageRecord
from flawmap.tiling.errors import UsageError
from flawmap.tiling.image_listing import natural_order

Stamp = tuple[int, int]  # time of change in ns, size in bytes


class RunReader:
    """One run folder. Any number of threads may ask at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[Stamp, RecordedImage | str]] = {}  # by name; what is wrong with a damaged one
        self._turn = threading.Lock()

    @property
    def version(self) -> int:
        """Another number once another file was read."""
        with self._turn:
            return hash(frozenset((name, stamp) for name, (stamp, _) in self._known.items()))

    def read(self) -> RecordedRun:
        """The run as it is now, images in natural order; a record that cannot be read is among `damaged`.

        UsageError where run.json is missing or cannot be read.
        """
        info = read_described_run(self.folder)
        with self._turn:
            before, self._known = self._known, {}
            for name, path, stamp in _records(self.folder):
                known = before.get(name)
                self._known[name] = known if known and known[0] == stamp else (stamp, _read(name, path))
            read = [one for _, one in self._known.values()]
        images = [one for one in read if isinstance(one, RecordedImage)]
        images.sort(key=lambda image: natural_order(PurePosixPath(image.record.image)))
        return RecordedRun(self.folder, info, images, [one for one in read if isinstance(one, str)])

    def image(self, name: str) -> RecordedImage | None:
        """One image as it is now, whose files are called `name`; the others are not asked for where it is known."""
        with self._turn:
            known = self._known.get(name)
        if known is not None and isinstance(known[1], RecordedImage):
            try:
                status = (self.folder / RECORDS / f"{name}.json").stat()
            except OSError:  # gone just now
                pass
            else:
                if known[0] == (status.st_mtime_ns, status.st_size):
                    return known[1]
        return next((image for image in self.read().images if image.name == name), None)


def _read(name: str, path: Path) -> RecordedImage | str:
    try:
        return RecordedImage(name, read_as(path, ImageRecord))
    except UsageError as error:
        return str(error)


def _records(folder: Path) -> list[tuple[str, Path, Stamp]]:
    """(name, path, stamp); hidden files are records still being written."""
    found = []
    try:
        with os.scandir(folder / RECORDS) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    status = entry.stat()
                    stamp = status.st_mtime_ns, status.st_size
                    found.append((plain(entry.name.removesuffix(".json")), Path(entry.path), stamp))
    except OSError:  # a run that has not begun, or is cleared just now
        pass
    return found
