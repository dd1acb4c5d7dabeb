"""Which parts are still being looked at, and the result of each that is done.

Without a recipe every image is a part. With one, a part is done when each camera of `expected` has had its image
inspected, or when it has waited for them too long: then it is ERROR, and the missing cameras are named.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from flawmap.inspect.line.hand_over import HandOver
from flawmap.inspect.line.part_result import Judged, PartResult, ResultWriter
from flawmap.inspect.recipe.assignment import Assigned
from flawmap.inspect.recipe.parts import Parts
from flawmap.inspect.run.folder import forget
from flawmap.inspect.run.input_images import file_name
from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.run.records import ImageRecord, RunInfo


@dataclass
class _Open:
    records: list[ImageRecord] = field(default_factory=list)
    last: float = field(default_factory=time.monotonic)


class PartBook:
    """Images in, results out; everything in it can be had again from the run folder.

    `take` and `overdue` may be called from another thread than the rest.
    """

    def __init__(
        self, run_dir: Path, run: RunInfo, hand_over: HandOver, part_timeout: float, say: Callable[[str], None]
    ) -> None:
        self._run_dir, self._run, self._hand_over, self._say = run_dir, run, hand_over, say
        self._part_timeout = part_timeout
        self._writer = ResultWriter(run)
        self._open: dict[str, _Open] = {}
        self._taken: dict[tuple[str, str], str] = {}  # part, camera -> its image

    def restore(self) -> list[PartResult]:
        """Takes up what an earlier watcher left; returns the results that it had not given yet, given now."""
        records = map(read_record, (self._run_dir / RECORDS).glob("*.json"))
        found = [r for r in records if r is not None and not self._hand_over.has(part_of(r))]
        given = []
        for record in sorted(found, key=lambda record: record.inspected):
            if record.part:
                self._taken[record.part, record.camera] = record.image
            given.append(self.add(record))
        return [result for result in given if result is not None]

    def take(self, one: Assigned) -> Assigned:
        """`one`, refused if its part is being looked at and has another image of its camera."""
        if not one.part or one.model is None:
            return one
        other = self._taken.setdefault((one.part, one.camera), one.entry.image)
        if other == one.entry.image:
            return one
        error = f"part `{one.part}` has another picture of camera `{one.camera}`: `{other}`"
        return replace(one, model=None, error=error)

    def come_again(self, one: Assigned) -> None:
        """The image of `one` has another content than the one inspected: what was said of it, and of its part, ends."""
        part = one.part or one.entry.image
        for image in {one.entry.image, *self._hand_over.images_of(part)}:
            forget(self._run_dir, [file_name(image)])
        self._hand_over.take_back(part)
        waiting = self._open.get(part)
        if waiting is not None:
            waiting.records = [record for record in waiting.records if record.image != one.entry.image]

    def add(self, record: ImageRecord) -> PartResult | None:
        """An image whose record is written; returns the result of its part if that is done with it, given already."""
        part = part_of(record)
        if record.part and self._hand_over.has(part):
            self._say(f"{record.image} ({record.verdict}) came after the result of its part {part} was given")
            return None
        waiting = self._open.setdefault(part, _Open())
        waiting.records.append(record)
        waiting.last = time.monotonic()
        if self._run.recipe is not None and record.part:
            cameras = {one.camera for one in waiting.records}
            if not cameras.issuperset(self._run.recipe.expected):
                return None
        return self.close(part)

    def overdue(self, behind: float) -> list[str]:
        """Parts that have waited too long for their next image; so many seconds later if pictures wait so long."""
        limit = time.monotonic() - self._part_timeout - behind
        return [part for part, waiting in list(self._open.items()) if waiting.last < limit]

    def close(self, part: str) -> PartResult | None:
        """Gives the result of a part as it is now; None if it has it already."""
        waiting = self._open.get(part)
        if waiting is None:
            return None
        result = self._writer.result(self._judge(part, waiting.records), waiting.records)
        self._hand_over.give(part, result)
        del self._open[part]
        for record in waiting.records:
            self._taken.pop((record.part, record.camera), None)
        return result

    def _judge(self, part: str, records: list[ImageRecord]) -> Judged:
        first = records[0]
        if self._run.recipe is None or not first.part:
            thresholds = self._run.thresholds or {"severity_review": 0.0, "severity_ng": 0.0}
            review, ng = thresholds["severity_review"], thresholds["severity_ng"]
            return Judged(part, first.verdict, first.severity, review, ng, [])
        parts = Parts(self._run.recipe)
        for record in records:
            parts.add(record)
        (judged,) = parts.results(())
        return Judged(
            part, judged.verdict, judged.severity, judged.severity_review, judged.severity_ng, judged.missing_cameras
        )


def part_of(record: ImageRecord) -> str:
    """The part that an image belongs to: itself, where no recipe says or its name does not tell."""
    return record.part or record.image
