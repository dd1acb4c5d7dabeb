"""A run in the formats of other programs: what `flawmap convert` does."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from flawmap.inspect.evaluation.summary import summary
from flawmap.inspect.exchange.coco_file import write_coco
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.exchange.labelme_files import write_labelme
from flawmap.inspect.exchange.ome_tiff import images_with_heatmaps, write_ome_tiff
from flawmap.inspect.exchange.parquet_tables import write_parquet
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.recipe.parts import PartResult, Parts
from flawmap.inspect.report.pdf_summary import write_pdf
from flawmap.inspect.run.layout import DRIFT, EVALUATION, METRICS, OUTPUT_FOLDERS, RUN_INFO, WATCH_FOLDERS
from flawmap.inspect.run.recorded_run import RecordedRun, read_recorded_run
from flawmap.tiling.errors import ImageError, UsageError

SUFFIXES = {Format.COCO: ".json", Format.PDF: ".pdf"}  # of the formats that are one file; the others are folders


@dataclass
class Converted:
    """What was written, and what could not be."""

    paths: list[Path]
    notes: list[str] = field(default_factory=list)  # what the files leave out, and why
    failures: list[str] = field(default_factory=list)  # heatmaps that are damaged
    damaged: list[str] = field(default_factory=list)  # records that are, and so are left out of every format


def convert(run_dir: Path, to: Format, output: Path, *, progress: ShowProgress = silent) -> Converted:
    """Writes the run in `run_dir` as `to` says: one file `output`, or files in the folder `output`, made where needed.

    Raises UsageError: no run, none of its records can be read, an output that cannot be written or lies among the files
    of the run, no heatmaps for OME-TIFF, pyarrow missing for Parquet; ImageError for a damaged heatmap that COCO or
    LabelMe would draw outlines from. A damaged one stops no other OME-TIFF.
    """
    run = read_recorded_run(run_dir)
    _check_place(run_dir, output)
    try:
        converted = _as_file(run, to, output) if to in SUFFIXES else _into_folder(run, to, output, progress)
    except OSError as error:
        raise UsageError(f"`-o` (={output}) cannot be written: {error.strerror or error}") from error
    converted.damaged = run.damaged
    return converted


def _as_file(run: RecordedRun, to: Format, output: Path) -> Converted:
    suffix = SUFFIXES[to]
    if output.suffix.lower() != suffix or output.is_dir():
        raise UsageError(f"`-o` (={output}) must be a file that ends in {suffix}: `--to {to}` writes one")
    output.parent.mkdir(parents=True, exist_ok=True)
    if to is Format.PDF:
        write_pdf(run, _evaluated(run), output)
        return Converted([output])
    write_coco(run, output)
    return Converted([output], _left_out(run))


def _into_folder(run: RecordedRun, to: Format, output: Path, progress: ShowProgress) -> Converted:
    if output.exists() and not output.is_dir():
        raise UsageError(f"`-o` (={output}) must be a folder: `--to {to}` writes several files")
    if to is Format.PARQUET:
        output.mkdir(parents=True, exist_ok=True)
        return Converted(write_parquet(run, _parts(run), output))
    if to is Format.LABELME:
        return Converted(write_labelme(run, output), _left_out(run))
    return _ome_tiffs(run, output, progress)


def _ome_tiffs(run: RecordedRun, output: Path, progress: ShowProgress) -> Converted:
    """One damaged heatmap stops no other."""
    images = images_with_heatmaps(run)
    output.mkdir(parents=True, exist_ok=True)
    converted = Converted([])
    without = len(run.images) - len(images)
    if without:
        converted.notes.append(f"{without} of {len(run.images)} images have no heatmap, and so no file")
    with progress("converting", len(images)) as step:
        for image in images:
            try:
                converted.paths.append(write_ome_tiff(run, image, output))
            except ImageError as error:
                converted.failures.append(str(error))
            step(image.record.image)
    return converted


def _evaluated(run: RecordedRun) -> str:
    """What `flawmap evaluate` found about the run, if it was asked; empty otherwise."""
    try:
        return summary(json.loads((run.folder / METRICS).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or another flawmap's
        return ""


def _parts(run: RecordedRun) -> list[PartResult] | None:
    """The results of the parts, worked out as for parts.csv; None without a recipe."""
    if run.info.recipe is None:
        return None
    parts = Parts(run.info.recipe)
    for image in run.images:
        parts.add(image.record)
    return parts.results(run.info.recipe.unfinished)


def _left_out(run: RecordedRun) -> list[str]:
    """What a format for labelling tools does not hold."""
    errors = len(run.images) - len(run.inspected)
    dropped = sum(region.dropped for image in run.inspected for region in image.record.regions)
    notes = []
    if errors:
        notes.append(f"{errors} of {len(run.images)} images could not be inspected, and are left out")
    if dropped:
        notes.append(
            f"{dropped} region{'s' if dropped > 1 else ''} that rules dropped {'are' if dropped > 1 else 'is'} left out"
        )
    return notes


def _check_place(run_dir: Path, output: Path) -> None:
    """UsageError where files would land among those of the run, which are its only copy."""
    inside = Path(os.path.realpath(output))
    for name in (*OUTPUT_FOLDERS, *WATCH_FOLDERS, EVALUATION):
        if inside.is_relative_to(Path(os.path.realpath(run_dir)) / name):
            raise UsageError(f"`-o` (={output}) must not lie in `{name}/` of the run: that is where its own files are")
    if inside in [Path(os.path.realpath(run_dir)) / name for name in (RUN_INFO, METRICS, DRIFT)]:
        raise UsageError(f"`-o` (={output}) is a file of the run itself")
