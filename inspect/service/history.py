"""The runs in a folder as they are now: finished ones, and those that somebody is writing at this moment.

Runs and images are found by looking through what is there, never by putting a name from a request into a path: no
name leads out of the folder. A record that cannot be read is shown as damaged and takes nothing else down.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flawmap.inspect.plain_text import plain
from flawmap.inspect.run.layout import RECORDS, RUN_INFO
from flawmap.inspect.run.record_files import read_as
from flawmap.inspect.run.records import ImageRecord, RunInfo
from flawmap.tiling.errors import UsageError


@dataclass(frozen=True)
class Summary:
    """One image of a run, as lists show it: texts as the record has them."""

    id: str  # what its files in the run folder are called: the name of its record
    problem: str  # why the record cannot be read; then all else is empty
    image: str
    verdict: str  # OK, REVIEW, NG, ERROR; DAMAGED where the record cannot be read
    severity: float | None  # None where nobody has looked at the image
    n_regions: int = 0
    n_dropped: int = 0  # regions that a rule dropped
    width: int = 0
    height: int = 0
    milliseconds: float = 0.0
    inspected: str = ""
    error: str = ""
    part: str = ""
    camera: str = ""
    overlay: str | None = None

    @classmethod
    def of(cls, id: str, record: ImageRecord) -> "Summary":
        return cls(
            id=id,
            problem="",
            image=record.image,
            verdict=record.verdict,
            severity=None if record.verdict == "ERROR" else record.severity,
            n_regions=record.n_regions,
            n_dropped=len(record.regions) - record.n_regions,
            width=record.width,
            height=record.height,
            milliseconds=record.milliseconds.get("total", sum(record.milliseconds.values())),
            inspected=record.inspected,
            error=record.error,
            part=record.part,
            camera=record.camera,
            overlay=record.overlay,
        )


class History:
    """The runs right below `runs_dir`. Any number of threads may ask at once."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self._known: dict[Path, RunOnDisk] = {}
        self._turn = threading.Lock()

    def runs(self) -> list["RunOnDisk"]:
        """Every folder that holds a run.json, in the order of their names."""
        found = [Path(entry.path) for entry in _entries(self.runs_dir) if not entry.name.startswith(".")]
        folders = sorted(folder for folder in found if (folder / RUN_INFO).is_file())
        with self._turn:
            self._known = {folder: self._known.get(folder) or RunOnDisk(folder) for folder in folders}
            return list(self._known.values())

    def run(self, id: str) -> "RunOnDisk | None":
        """The run of this id; None where there is none."""
        return next((run for run in self.runs() if run.id == id), None)


class RunOnDisk:
    """One run folder; what was read of it is kept for as long as the file stays as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = plain(folder.name)
        self._read: dict[str, tuple[tuple[int, int], Summary]] = {}  # by id; with time of change and size of its record
        self._turn = threading.Lock()

    def info(self) -> RunInfo:
        """run.json; UsageError where it cannot be read."""
        return read_as(self.folder / RUN_INFO, RunInfo)

    def images(self) -> list[Summary]:
        """Every image that has a record, in the order of their ids."""
        with self._turn:
            before, self._read = self._read, {}
            for entry in _records(self.folder):
                id = _id(entry)
                try:
                    status = entry.stat()
                except OSError:  # removed just now
                    continue
                stamp = status.st_mtime_ns, status.st_size
                known = before.get(id)
                self._read[id] = known if known and known[0] == stamp else (stamp, _summary(id, Path(entry.path)))
            return [self._read[id][1] for id in sorted(self._read)]

    def counts(self) -> dict[str, int]:
        """Images by verdict, and `images`, `regions`, `dropped`; from the records."""
        counts = Counter(dict.fromkeys(("images", "OK", "REVIEW", "NG", "ERROR", "DAMAGED", "regions", "dropped"), 0))
        for image in self.images():
            counts.update({"images": 1, image.verdict: 1, "regions": image.n_regions, "dropped": image.n_dropped})
        return dict(counts)

    def record(self, id: str) -> ImageRecord | None:
        """Everything about one image; None where there is no such record, UsageError where it cannot be read."""
        for entry in _records(self.folder):
            if _id(entry) == id:
                return read_as(Path(entry.path), ImageRecord)
        return None


def _summary(id: str, path: Path) -> Summary:
    try:
        return Summary.of(id, read_as(path, ImageRecord))
    except UsageError as error:
        return Summary(id, str(error), "", "DAMAGED", None)


def _records(run_dir: Path) -> Iterator["os.DirEntry[str]"]:
    """Hidden files are records still being written."""
    for entry in _entries(run_dir / RECORDS):
        if entry.name.endswith(".json") and not entry.name.startswith(".") and entry.is_file():
            yield entry


def _id(entry: "os.DirEntry[str]") -> str:
    return plain(entry.name.removesuffix(".json"))


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """What lies right in `folder`; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
