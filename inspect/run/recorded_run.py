"""A run as it was written down, read back for whoever shows it or hands it on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from flawmap.inspect.run.layout import RECORDS, RUN_INFO
from flawmap.inspect.run.record_files import read_as
from flawmap.inspect.run.records import ImageRecord, RunInfo
from flawmap.tiling.errors import UsageError
from flawmap.tiling.image_listing import natural_order

THRESHOLDS = ("review", "ng", "severity_review", "severity_ng")  # without which nothing can be said of an image


@dataclass(frozen=True)
class RecordedImage:
    """One image of a run, and what its files in the run folder are called."""

    name: str
    record: ImageRecord


@dataclass(frozen=True)
class RecordedRun:
    """Everything that `folder` holds, images in natural order of their names."""

    folder: Path
    info: RunInfo
    images: list[RecordedImage]
    damaged: list[str] = field(default_factory=list)  # a sentence on each record that cannot be read, and is left out

    @property
    def inspected(self) -> list[RecordedImage]:
        """Without those that could not be: nobody has looked at them."""
        return [image for image in self.images if image.record.verdict != "ERROR"]

    def thresholds_of(self, record: ImageRecord) -> dict[str, float]:
        """Those by which an image was judged; empty where no model of a recipe inspected it."""
        if self.info.recipe is None:
            return self.info.thresholds
        return {} if record.model is None else self.info.recipe.models[record.model].thresholds


def read_recorded_run(run_dir: Path) -> RecordedRun:
    """The run in `run_dir`; UsageError where the folder holds none, or none of its records can be read."""
    info = read_described_run(run_dir)
    damaged: list[str] = []
    images = list(recorded_images(run_dir, damaged))
    images.sort(key=lambda image: natural_order(PurePosixPath(image.record.image)))
    return RecordedRun(run_dir, info, images, damaged)


def recorded_images(run_dir: Path, damaged: list[str]) -> Iterator[RecordedImage]:
    """Every image of the run that has a record, by the names of the records, one in memory at a time.

    A record that cannot be read stops no other: a sentence on it is added to `damaged`. UsageError where none can be
    read: they are another program's, or another flawmap's.
    """
    n_read = 0
    for path in record_paths(run_dir):
        try:
            record = read_as(path, ImageRecord)
        except UsageError as error:
            damaged.append(str(error))
            continue
        n_read += 1
        yield RecordedImage(path.name.removesuffix(".json"), record)
    if damaged and not n_read:
        raise UsageError(damaged[0])


def record_paths(run_dir: Path) -> list[Path]:
    """The records of a run. Hidden files are records still being written."""
    return sorted(path for path in (run_dir / RECORDS).rglob("*.json") if not path.name.startswith("."))


def read_described_run(run_dir: Path) -> RunInfo:
    """run.json, sound enough to show its images; UsageError otherwise."""
    if not (run_dir / RUN_INFO).is_file():
        raise UsageError(f"`RUN_DIR` (={run_dir}) holds no run.json: give a folder that `flawmap inspect` wrote")
    info = read_as(run_dir / RUN_INFO, RunInfo)
    for thresholds in [info.thresholds] if info.recipe is None else [model.thresholds for model in info.recipe.models]:
        missing = [name for name in THRESHOLDS if name not in thresholds]
        if missing:
            raise UsageError(
                f"{run_dir / RUN_INFO} is not a record of this flawmap: `thresholds.{missing[0]}`: missing"
            )
    return info
