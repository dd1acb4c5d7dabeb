"""The marks on the runs of a folder: read with what they are on, and set, by whoever reviews."""

import threading
from collections.abc import Callable
from pathlib import Path

from flawmap.inspect.review.mark_record import Box, LookEntry, Mark, MarkEntry
from flawmap.inspect.review.mark_store import MarkStore
from flawmap.inspect.review.reviewed_run import (
    ReviewedImage,
    ReviewedRun,
    box_of,
    reviewed_image,
    reviewed_run,
    source_of,
)
from flawmap.inspect.review.run_reader import RunReader
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun, read_described_run
from flawmap.inspect.run.records import ImageRecord, RegionRecord
from flawmap.tiling.errors import UsageError


class NotThereError(UsageError):
    """No such run, image, region or mark."""


class ChangedError(UsageError):
    """What was to be marked is not as the reviewer saw it."""


class Reviews:
    """Runs and their marks. Any number of threads may ask and mark at once."""

    def __init__(self, store: MarkStore, folder_of: Callable[[str], Path | None]) -> None:
        """`folder_of`: where the run of an id lies; None where there is none."""
        self.store = store
        self._folder_of = folder_of
        self._readers: dict[Path, RunReader] = {}
        self._turn = threading.Lock()

    def run(self, run: str) -> ReviewedRun:
        """A run as it is now. NotThereError; UsageError where run.json cannot be read."""
        return self.run_and_version(run)[0]

    def run_and_version(self, run: str) -> tuple[ReviewedRun, str]:
        """A run, and a text that is another one once a record or a mark of it has changed."""
        reader = self._reader(run)
        recorded = reader.read()
        version = hash((reader.version, self.store.state(run)))  # before the marks: a new one is seen twice, not never
        return reviewed_run(recorded, self.store.marks(run), self.store.looks(run)), f"{version:x}"

    def image(self, run: str, image: str) -> tuple[RecordedRun, RecordedImage, ReviewedImage]:
        """One image of a run, by the name of its files, with its marks; the run holds no other."""
        reader = self._reader(run)
        one = reader.image(image)
        if one is None:
            raise NotThereError(f"run `{run}` has no image `{image[:200]}`")
        recorded = RecordedRun(reader.folder, read_described_run(reader.folder), [one])
        marks, looks = self.store.marks(run, image), self.store.looks(run, image)
        return recorded, one, reviewed_image(one, marks, looks.get(image))

    def mark(
        self, run: str, image: str, mark: Mark | None, *, region: int | None, box: Box | None, reviewer: str, note: str
    ) -> MarkEntry:
        """Marks a region, by its number, or a place; None as `mark` takes an earlier one back.

        `box` tells which place is meant. Beside `region` it is what the reviewer saw of it: ChangedError where the
        region has another box by now. A box without a region is a defect that was missed, or whatever the reviewer
        means by it.
        """
        recorded, _, seen = self.image(run, image)
        record = seen.record
        if record.verdict == "ERROR":
            raise ChangedError(f"image `{image}` could not be inspected: there is nothing to mark")
        regions = {box_of(one): one for one in record.regions}
        marked = _region(record, image, region, box) if region is not None else regions.get(box or (0, 0, 0, 0))
        place = box_of(marked) if marked is not None else box
        if place is None:
            raise ChangedError("`region` or `box` must say what is marked")
        drawn = marked is None
        if mark is None:
            earlier = next((one.entry for one in seen.marks if one.entry.box == place), None)
            if earlier is None:
                raise NotThereError(f"image `{image}` has no mark there to take back")
            drawn = earlier.drawn
        elif drawn:
            _check_inside(place, record)
        return self.store.add_mark(
            MarkEntry(
                run=run,
                image=image,
                box=place,
                drawn=drawn,
                mark=mark,
                reviewer=reviewer,
                note=note,
                source=source_of(record),
                region=None if marked is None else marked.region,
                severity=None if marked is None else marked.severity,
                verdict="" if marked is None else marked.verdict,
                bundle_sha256=_bundle_of(recorded, record),
            )
        )

    def look(self, run: str, image: str, complete: bool, reviewer: str) -> LookEntry:
        """Says that a picture was looked at as a whole, or takes that back."""
        _, _, seen = self.image(run, image)
        if seen.record.verdict == "ERROR":
            raise ChangedError(f"image `{image}` could not be inspected: there is nothing to look at")
        return self.store.add_look(LookEntry(run, image, complete, reviewer, source_of(seen.record)))

    def _reader(self, run: str) -> RunReader:
        folder = self._folder_of(run)
        if folder is None:
            raise NotThereError(f"there is no run `{run[:200]}`")
        with self._turn:
            return self._readers.setdefault(folder, RunReader(folder))


def _region(record: ImageRecord, image: str, number: int, box: Box | None) -> RegionRecord:
    for region in record.regions:
        if region.region == number:
            if box is not None and box != box_of(region):
                raise ChangedError(
                    f"region {number} of image `{image}` is not where it was: the image was inspected again meanwhile"
                )
            return region
    raise NotThereError(f"image `{image}` has no region {number}")


def _check_inside(box: Box, record: ImageRecord) -> None:
    y0, x0, y1, x1 = box
    if not (0 <= y0 < y1 <= record.height and 0 <= x0 < x1 <= record.width):
        raise ChangedError(
            f"`box` (=x {x0} to {x1}, y {y0} to {y1}) must be a box inside the picture of {record.width} x "
            f"{record.height} px, its last row and column excluded"
        )


def _bundle_of(recorded: RecordedRun, record: ImageRecord) -> str:
    if recorded.info.recipe is None or record.model is None:
        return recorded.info.bundle_sha256
    return recorded.info.recipe.models[record.model].bundle_sha256
