"""The loop of `flawmap watch`: from a picture that is complete to the result of its part.

complete pictures -> read and prepare -> score -> judge, record -> part done? -> result file, broker

The stages overlap as they do in a folder run: while one picture is scored the next is read and the last one written.
What waits, waits on the disk: `workers` pictures are read ahead, and no more.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue

from flawmap.inspect.inspect_image import ScoredImage, judge_image, refused, score_image
from flawmap.inspect.line.arrivals import Arrival, Arrivals, Patience, Stamp
from flawmap.inspect.line.events import Events
from flawmap.inspect.line.part_result import PartResult
from flawmap.inspect.line.publisher import Publisher
from flawmap.inspect.line.service_notice import SignOfLife, notify
from flawmap.inspect.line.stop import Stop
from flawmap.inspect.line.takt import Takt
from flawmap.inspect.pipeline import Pipeline, Prepared, Scored
from flawmap.inspect.read_ahead import Decoded, Image, decode
from flawmap.inspect.recipe.assignment import Assigned, Assigner
from flawmap.inspect.run.folder import writing
from flawmap.inspect.run.input_images import InputImage, file_name
from flawmap.inspect.run.record_files import write_record
from flawmap.inspect.run.records import SourceFile
from flawmap.inspect.run_plan import RunPlan
from flawmap.inspect.watch.live_drift import LiveDrift
from flawmap.inspect.watch.part_book import PartBook
from flawmap.inspect.write_behind import WriteBehind
from flawmap.tiling.errors import UsageError


@dataclass(frozen=True)
class WatchSettings:
    """Seconds, but for `workers` and the switches."""

    patience: Patience = field(default_factory=Patience)
    poll: float = 1.0  # from look to look at the folder, where no event calls for one before
    part_timeout: float = 60.0  # a part waits so long for its next picture
    takt: float | None = None  # a result may take so long, from the picture being complete
    workers: int = 1  # pictures read ahead
    drift_last: int = 100  # good images that are compared with those of the calibration
    heatmaps: bool = False
    zoom: bool = False  # 3.6 MB a picture of 5120x5120 px: a line would fill a disk in a night
    mqtt: str | None = None

    def __post_init__(self) -> None:
        """UsageError for a value out of range."""
        seconds = {
            "--settle": self.patience.settle, "--give-up": self.patience.give_up, "--poll": self.poll,
            "--part-timeout": self.part_timeout, "--takt": self.takt,
        }  # fmt: skip
        for name, value in seconds.items():
            if value is not None and not 0 < value <= 86400:
                raise UsageError(f"`{name}` (={value:g}) must lie above 0 and be at most 86400 s")
        if self.patience.give_up < self.patience.settle:
            give_up, settle = self.patience.give_up, self.patience.settle
            raise UsageError(f"`--give-up` (={give_up:g}) must not be less than `--settle` (={settle:g})")
        if self.drift_last < 2:
            raise UsageError(f"`--drift-last` (={self.drift_last}) must be at least 2 images")
        if self.workers < 1:
            raise UsageError(f"`--workers` (={self.workers}) must be at least 1")


@dataclass
class _Reading:
    """A picture that was taken and is being read."""

    arrival: Arrival
    one: Assigned
    future: "Future[Decoded] | None"  # None where no model may inspect it


@dataclass
class Watch:
    """One watcher. Only `_finish` and `_close` run in the writing thread, one at a time."""

    run_dir: Path
    plan: RunPlan
    pipelines: Sequence[Pipeline]
    arrivals: Arrivals
    book: PartBook
    drift: LiveDrift
    publisher: Publisher | None
    settings: WatchSettings
    say: Callable[[str], None]
    tell: Callable[[PartResult], None]

    def __post_init__(self) -> None:
        self._assigner = None if self.plan.recipe is None else Assigner(self.plan.recipe)
        self._takt = Takt(self.settings.takt, self.say)
        self._reading: deque[_Reading] = deque()
        self._end_of_last = 0.0
        self._n_results = 0
        self._lost = ""

    def run(self, stop: Stop, bell: "SimpleQueue[str]") -> None:
        """Returns when `stop` is asked for and the picture that was being scored has its result."""
        sign_of_life = SignOfLife()
        with ExitStack() as stack:
            events = stack.enter_context(Events(self.arrivals.folder, bell))
            stack.enter_context(self.publisher or nullcontext())
            pool = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="flawmap-decode")
            stack.callback(pool.shutdown, cancel_futures=True)
            behind = stack.enter_context(WriteBehind())
            if events.note:
                self.say(events.note)
            with writing(self.run_dir):
                for result in self.book.restore():
                    self._given(result)
            notify("READY=1")
            spare: Scored | None = None
            busy: Scored | None = None  # the arrays of two pictures take turns: one is scored, one drawn
            closed: set[str] = set()
            while not stop.asked:
                self._look(closed)
                self._take(pool, behind)
                for part in self.book.overdue(self.arrivals.behind):
                    behind.begin(partial(self._close, part))
                sign_of_life.give(f"{self._n_results} results, {self.arrivals.waiting} pictures wait")
                if not self._reading:
                    behind.wait()
                    closed |= _heard(bell, self._pause())
                    continue
                closed |= _heard(bell, 0.0)
                reading = self._reading.popleft()
                decoded = self._decoded(reading)
                if decoded is None:
                    continue
                self._take(pool, behind)  # to be read while this one is scored
                image = self._scored(reading, decoded, spare)
                if image is None:
                    continue
                behind.begin(partial(self._finish, reading, image))
                if image.scored is None:
                    spare, busy = busy or spare, None
                else:
                    spare, busy = busy, image.scored

    def _pause(self) -> float:
        """Seconds to sleep: short while a picture is about to be complete."""
        soon = min(self.settings.patience.settle, self.settings.poll) / 5
        return max(0.01, soon) if self.arrivals.unsettled else self.settings.poll

    def _look(self, closed: set[str]) -> None:
        if not self.arrivals.may_look():
            return
        self.arrivals.look(closed)
        closed.clear()
        if self.arrivals.lost != self._lost:
            self._lost = self.arrivals.lost
            folder = self.arrivals.folder
            self.say(f"{folder} cannot be read: {self._lost}" if self._lost else f"{folder} is back")

    def _take(self, pool: ThreadPoolExecutor, behind: WriteBehind) -> None:
        """Has the next pictures read, as many as there is room for."""
        while len(self._reading) < self.settings.workers and (arrival := self.arrivals.take()):
            entry = InputImage(arrival.path, arrival.image, file_name(arrival.image))
            one = Assigned(entry) if self._assigner is None else self._assigner(entry)
            if one is None:  # the recipe ignores it
                self.arrivals.done(arrival, arrival.stamp)
                continue
            if arrival.again:
                behind.wait()
                with writing(self.run_dir):
                    self.book.come_again(one)
            one = self.book.take(one)
            if one.model is None:
                self._reading.append(_Reading(arrival, one, None))
                continue
            pipeline = self.pipelines[one.model]
            entry = replace(entry, reading=pipeline.info.image.reading)
            future = pool.submit(decode, 0, entry, partial(_prepare, pipeline))
            self._reading.append(_Reading(arrival, one, future))

    def _decoded(self, reading: _Reading) -> Decoded | None:
        """The picture, read; None where it has gone, is not complete yet, or changed while it was read."""
        path, source = reading.arrival.path, SourceFile(**reading.arrival.stamp._asdict())
        if reading.future is None:
            return Decoded(reading.one.entry, source, 0.0, None, None)
        decoded = reading.future.result()
        unread = decoded.image is None and decoded.strip is None
        if decoded.changed or (unread and (not reading.arrival.last_chance or not os.path.lexists(path))):
            self.arrivals.not_yet(reading.arrival)
            return None
        return decoded

    def _scored(self, reading: _Reading, decoded: Decoded, spare: Scored | None) -> ScoredImage | None:
        """The picture, scored; None where it was read in strips just now, and is not complete yet or has changed."""
        model, in_strips = reading.one.model, decoded.strip is not None
        if model is None:
            return ScoredImage(decoded, None, None)
        image = score_image(self.run_dir, decoded, self.pipelines[model], spare)
        unread = image.strip is None and image.scored is None and not reading.arrival.last_chance
        changed = decoded.changed if image.scored is not None else decoded.written_on()
        if in_strips and (unread or changed):
            if image.strip is not None:
                image.strip.files.close()
            self.arrivals.not_yet(reading.arrival)
            return None
        return image

    def _finish(self, reading: _Reading, image: ScoredImage) -> None:
        one, started = reading.one, time.perf_counter()
        if one.model is None:
            record = refused(one.entry, one.error)
        else:
            model = self.plan.models[one.model]
            record = judge_image(
                self.run_dir,
                image,
                self.pipelines[one.model],
                model.thresholds,
                heatmaps=self.settings.heatmaps,
                zoom=self.settings.zoom,
            )
        if self.plan.recipe is not None:
            record.part, record.camera, record.model = one.part, one.camera, one.model
        # From the end of the last picture to the end of this one, as in a folder run, or less where none was there.
        end = time.perf_counter()
        spent = sum(record.milliseconds.values()) / 1e3 or end - started
        record.milliseconds["total"] = min(spent, end - self._end_of_last) * 1e3
        self._end_of_last = end
        with writing(self.run_dir):
            write_record(self.run_dir, one.entry.name, record)
            self.arrivals.done(reading.arrival, Stamp(record.source.size_bytes, record.source.modified_ns))
            result = self.book.add(record)
            self.drift.add(record)
        if result is not None:
            self._given(result)
        self._takt.add(record.image, time.monotonic() - reading.arrival.complete, self.arrivals.waiting)

    def _close(self, part: str) -> None:
        with writing(self.run_dir):
            result = self.book.close(part)
        if result is not None:
            self._given(result)

    def _given(self, result: PartResult) -> None:
        self._n_results += 1
        if self.publisher is not None:
            self.publisher.wake()
        self.tell(result)


def _prepare(pipeline: Pipeline, number: int, image: Image) -> Prepared:
    return pipeline.prepare(image)


def _heard(bell: "SimpleQueue[str]", seconds: float) -> set[str]:
    """What the bell has told, at the latest after `seconds`; empty texts left out."""
    heard = set()
    with suppress(Empty):
        heard.add(bell.get(timeout=seconds) if seconds > 0 else bell.get_nowait())
        while True:
            heard.add(bell.get_nowait())
    return heard - {""}
