"""Inspects a folder: every image once, a record each, tables and a page at the end, also after a kill in between."""

import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, get_args

from flawmap.inspect.in_order import in_order
from flawmap.inspect.inspect_image import ScoredImage, judge_image, refused, score_image
from flawmap.inspect.machine import peak_memory_mib
from flawmap.inspect.pipeline import Pipeline, Prepared, Scored
from flawmap.inspect.progress import ShowProgress, Step, silent
from flawmap.inspect.read_ahead import Decoded, Image, read_ahead
from flawmap.inspect.recipe.assignment import Assigned
from flawmap.inspect.recipe.parts import Parts, write_parts
from flawmap.inspect.report.page import write_page
from flawmap.inspect.run.folder import (
    check_continues,
    clear,
    forget,
    forget_evaluation,
    make_run_folder,
    recorded_names,
    remove_leftovers,
    writing,
)
from flawmap.inspect.run.input_images import InputImage, file_name
from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.lock import locked
from flawmap.inspect.run.record_files import read_record, record_path, write_record, write_run_info
from flawmap.inspect.run.records import ImageRecord, RunInfo, Verdict
from flawmap.inspect.run.tables import write_tables
from flawmap.inspect.run_plan import (
    RunPlan,
    describe,
    device_note,
    is_done,
    now,
    open_models,
    plan_run,
    with_unfinished,
)
from flawmap.inspect.write_behind import WriteBehind
from flawmap.tiling.errors import UsageError
from flawmap.tiling.threads import CORES


def inspect_folder(
    paths: Sequence[Path],
    model: Path,
    run_dir: Path,
    *,
    device: str = "auto",
    false_alarms: float | None = None,
    fresh: bool = False,
    heatmaps: bool = False,
    zoom: bool = True,
    workers: int | None = None,
    lanes: int | None = None,
    tile_size: int | None = None,
    progress: ShowProgress = silent,
) -> RunInfo:
    """Inspects `paths` (images and folders of images) with `model`, a bundle or a recipe; everything goes to `run_dir`.

    `false_alarms`: expected false regions on a good image, the recipe's or the bundle's own where None. `workers`:
    threads that decode the next images, one unless given, more beside a GPU. `lanes`: images that are scored at once,
    one unless given, two on a GPU with memory for it. `tile_size`: px, instead of what suits image and device.
    `heatmaps`: also write every heatmap as TIFF. `zoom`: also write every image in tiles, which the page shows at full
    size. `fresh`: remove an earlier run's results first; without it the run is continued and images that are done are
    not done again. `workers` + 2 images are in memory at most with one lane; each further one adds a few.

    Returns what run.json says; an image that could not be inspected counts as ERROR there and stops nothing.

    Raises UsageError (paths, bundle, calibration, run folder: before anything is scored), DeviceError, and, after the
    tables of what is done were written, InspectionStoppedError (a full disk) and KeyboardInterrupt.
    """
    if workers is not None and workers < 1:
        raise UsageError(f"`--workers` (={workers}) must be at least 1")
    plan = plan_run(paths, model, run_dir, false_alarms, device, tile_size)
    make_run_folder(run_dir)
    with locked(run_dir):
        models = open_models(plan, device, lanes, fitted=tile_size is None)
        on_gpu = any(one.room is not None for one in models)
        beside = SideBySide.of(max(one.count for one in models), workers, on_gpu=on_gpu)
        settings = {
            "paths": [str(path.resolve()) for path in map(Path, paths)], "device": device,
            "false_alarms": false_alarms, "heatmaps": heatmaps, "zoom": zoom, "workers": beside.readers,
            "lanes": beside.lanes, "tile_size": tile_size,
        }  # fmt: skip
        run = describe(plan, models, settings)
        with writing(run_dir, at_start=True):
            todo = _begin(run_dir, run, plan.images, fresh)
        pipelines = [Pipeline(m.bundle, one, m.thresholds) for m, one in zip(plan.models, models, strict=True)]
        try:
            with progress("inspecting", len(todo)) as step:
                images = [one for one in todo if one.model is not None]
                work = _Work(run_dir, images, plan, pipelines, heatmaps, zoom, step)
                _inspect_all(work, todo, beside)
        except BaseException:
            with suppress(OSError):  # the disk may be full: what stopped the run is what the user must hear
                conclude(run_dir, run, plan.images, "interrupted")
            raise
        run = run.model_copy(update={"device_note": device_note(models)})
        with writing(run_dir):
            return conclude(run_dir, run, plan.images, "finished")


@dataclass(frozen=True)
class SideBySide:
    """How many images are read, scored, and looked at and drawn at once."""

    readers: int
    lanes: int
    writers: int

    @classmethod
    def of(cls, lanes: int, readers: int | None, *, on_gpu: bool = False) -> "SideBySide":
        """Beside the one lane of a processor it has no more to give; a GPU is faster than one reader and one writer.

        Eight readers beside an H200 and 16 cores: 36 ms an image in float32 and 27 in TF32, four: 38 and 36.
        """
        if lanes == 1 and not on_gpu:
            return cls(readers or 1, 1, 1)
        return cls(readers or max(2, min(8, CORES // 2)), lanes, max(2, min(4, CORES // 4)))


def _begin(run_dir: Path, run: RunInfo, images: Sequence[Assigned], fresh: bool) -> list[Assigned]:
    """Starts, starts over or continues the run in `run_dir`; returns the images that are still to be inspected."""
    if fresh:
        clear(run_dir)
    else:
        check_continues(run_dir, run)
    todo = [one for one in images if not is_done(run_dir, one)]
    write_run_info(run_dir, with_unfinished(run, todo))
    remove_leftovers(run_dir)
    # What is to be done again, and images that have left the folder since: the run ends as if it were its first.
    gone = recorded_names(run_dir) - {one.entry.name for one in images}
    if gone or todo:
        forget(run_dir, gone | {one.entry.name for one in todo})
        forget_evaluation(run_dir)  # it is about other results
    return todo


def _inspect_all(work: "_Work", todo: Sequence[Assigned], beside: SideBySide) -> None:
    for one in todo:
        if one.model is None:
            work.write(one, refused(one.entry, one.error))
    # In the order of the list, not model by model: a run that is broken off has whole parts to show, and changing the
    # session costs no time that was seen (9 images of 1, 2.8 and 4.5 megapixels by three models: 10 s either way).
    with (
        closing(read_ahead([one.entry for one in work.images], beside.readers, work.prepare)) as decoded_images,
        WriteBehind(beside.writers) as behind,
        closing(in_order(work.to_score(decoded_images), work.score, beside.lanes)) as scored_images,
    ):
        for one, image in zip(work.images, scored_images, strict=True):
            behind.begin(partial(work.draw, one, image), partial(work.finish, one))
            del image  # or it would be kept while the next one is waited for


@dataclass
class _Work:
    """What is done with each of `images`, step by step; `prepare`, `score` and `draw` with several at once."""

    run_dir: Path
    images: Sequence[Assigned]
    plan: RunPlan
    pipelines: Sequence[Pipeline]
    heatmaps: bool
    zoom: bool
    step: Step

    def __post_init__(self) -> None:
        self._spare: SimpleQueue[Scored] = SimpleQueue()  # of images that are done: their arrays are written over
        self._end = time.perf_counter()

    def prepare(self, number: int, image: Image) -> Prepared:
        return self.pipelines[_model(self.images[number])].prepare(image)

    def to_score(self, decoded_images: Iterable[Decoded]) -> Iterator[tuple[int, Decoded]]:
        """(place in `images`, image); tile sizes are chosen here, in the order of the list, whatever lane is faster."""
        for number, decoded in enumerate(decoded_images):
            if decoded.prepared is not None:
                self.pipelines[_model(self.images[number])].tile_size(decoded.prepared)
            yield number, decoded

    def score(self, one: tuple[int, Decoded]) -> ScoredImage:
        number, decoded = one
        recycle = None
        with suppress(Empty):
            recycle = self._spare.get_nowait()
        image = score_image(self.run_dir, decoded, self.pipelines[_model(self.images[number])], recycle)
        if image.scored is None and recycle is not None:
            self._spare.put(recycle)
        return image

    def draw(self, one: Assigned, image: ScoredImage) -> ImageRecord:
        model = _model(one)
        thresholds = self.plan.models[model].thresholds
        record = judge_image(
            self.run_dir, image, self.pipelines[model], thresholds, heatmaps=self.heatmaps, zoom=self.zoom
        )
        if image.scored is not None:
            self._spare.put(image.scored)
        return record

    def finish(self, one: Assigned, record: ImageRecord) -> None:
        # From the end of the last image to the end of this one, waiting for the decoder included: the takt.
        start, self._end = self._end, time.perf_counter()
        record.milliseconds["total"] = (self._end - start) * 1e3
        self.write(one, record)

    def write(self, one: Assigned, record: ImageRecord) -> None:
        if self.plan.recipe is not None:
            record.part, record.camera, record.model = one.part, one.camera, one.model
        with writing(self.run_dir):
            write_record(self.run_dir, one.entry.name, record)
        self.step(f"{record.image}: {record.error or _in_words(record)}")


def _model(one: Assigned) -> int:
    assert one.model is not None
    return one.model


def _in_words(record: ImageRecord) -> str:
    n = record.n_regions
    return f"{record.verdict}, {n} region{'' if n == 1 else 's'}"


def conclude(
    run_dir: Path, run: RunInfo, images: Sequence[Assigned], state: Literal["finished", "interrupted"]
) -> RunInfo:
    """Writes the tables, run.json and the page from the records there are."""
    counts = Counter(dict.fromkeys(("images", "regions", "dropped", *get_args(Verdict)), 0))
    stages: dict[str, list[float]] = defaultdict(list)
    tile_sizes: Counter[str] = Counter()
    parts = None if run.recipe is None else Parts(run.recipe)
    recorded = set()

    def counted() -> Iterator[ImageRecord]:
        for record in _records(run_dir, images):
            counts.update({"images": 1, "regions": record.n_regions, record.verdict: 1})
            counts["dropped"] += len(record.regions) - record.n_regions
            if record.tile_size is not None:
                tile_sizes[str(record.tile_size)] += 1
            if record.verdict != "ERROR":
                for stage, milliseconds in record.milliseconds.items():
                    stages[stage].append(milliseconds)
            recorded.add(record.image)
            if parts is not None:
                parts.add(record)
            yield record

    write_tables(run_dir, counted(), with_parts=parts is not None)
    run = run.model_copy(
        update={
            "state": state,
            "finished": now(),
            "counts": dict(counts),
            "milliseconds_median": {stage: statistics.median(values) for stage, values in stages.items()},
            "tile_sizes": dict(tile_sizes),
            "peak_memory_mib": peak_memory_mib(),
        }
    )
    run = with_unfinished(run, [one for one in images if one.entry.image not in recorded])
    if run.recipe is not None and parts is not None:
        results = parts.results(run.recipe.unfinished)
        write_parts(run_dir, results)
        run.recipe.parts = parts.counts(results)
    write_run_info(run_dir, run)
    write_page(run_dir)
    return run


def _records(run_dir: Path, images: Sequence[Assigned]) -> Iterator[ImageRecord]:
    """The records of `images` that are there, one in memory at a time."""
    for one in images:
        record = read_record(record_path(run_dir, one.entry.name))
        if record is not None and record.image == one.entry.image:
            yield record


def recorded(run_dir: Path, folder: Path) -> list[Assigned]:
    """Every image that has a record, in the order in which they were inspected, whether or not it still lies there."""
    found: list[tuple[str, ImageRecord]] = []
    for path in (run_dir / RECORDS).glob("*.json"):
        record = read_record(path)
        if record is not None:
            slim = record.model_copy(update={"regions": [], "candidates": []})
            found.append((record.inspected, slim))
    found.sort(key=lambda one: (one[0], one[1].image))
    return [
        Assigned(InputImage(folder / r.image, r.image, file_name(r.image)), r.model, r.part, r.camera) for _, r in found
    ]
