"""The real `inspect` folder run on a GPU: images a second from TIFF files to records, by lanes, precision and pictures.

What an image takes is the mean time from the end of one to the end of the next, without the first ones, which pay for
tuning kernels and for allocation.
"""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tifffile

from benchmarks.gpu_session import Bench, Row
from flawmap.export.bundle import GOLDEN_SCORE, MODEL, FasterModel, read_bundle, update_bundle
from flawmap.export.bundle_seal import seal
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.run.records import ImageRecord, RunInfo
from flawmap.tiling.errors import FlawmapError

WARM = 6  # images that do not count
COMPARED = 4  # images that are inspected on the processor too


@dataclass(frozen=True)
class Way:
    """One way to run a folder; `lanes` None: as many as flawmap chooses."""

    lanes: int | None
    zoom: bool = False
    heatmaps: bool = False
    workers: int | None = None

    def __str__(self) -> str:
        written = "records and overviews"
        if self.zoom:
            written = "all pictures"
        if self.heatmaps:
            written += " and heatmaps"
        lanes = "lanes as chosen" if self.lanes is None else f"{self.lanes} lane{'' if self.lanes == 1 else 's'}"
        return f"{lanes}, {written}" + ("" if self.workers is None else f", {self.workers} workers")


WAYS = (Way(1), Way(2), Way(3), Way(2, workers=2), Way(2, workers=8), Way(None, zoom=True), Way(None, True, True))


def write_images(folder: Path, size: int, count: int) -> list[Path]:
    """Uncompressed TIFF files of `size` x `size` px, mono, 8 bits: a soft texture with sensor noise and a few dots."""
    random = np.random.default_rng(0)
    base = cv2.GaussianBlur(random.standard_normal((size, size)).astype(np.float32), (0, 0), 3) * 120 + 128
    noise = (random.standard_normal((size, size)) * 4).astype(np.float32)
    paths = []
    for number in range(count):
        image = np.clip(np.roll(base, 97 * number, axis=1) + np.roll(noise, 31 * number, axis=0), 0, 255)
        for y, x in random.integers(0, size - 5, (20, 2)):
            image[y : y + 5, x : x + 5] = 250
        paths.append(folder / f"{number:03}.tif")
        tifffile.imwrite(paths[-1], image.astype(np.uint8))
    return paths


def with_tf32(bundle: Path, folder: Path) -> Path:
    """A copy of `bundle` that runs in TF32 on CUDA, with its own calibration: for its time, not for its verdicts.

    `flawmap optimise` is how a bundle is really given one.
    """
    copy = folder / "tf32.bundle"
    shutil.copytree(bundle, copy)
    (copy / "faster").mkdir(exist_ok=True)
    for name in (MODEL, GOLDEN_SCORE):
        shutil.copyfile(bundle / name, copy / "faster" / Path(name).name)
    calibration = read_bundle(bundle).info.calibration
    assert calibration is not None
    faster = FasterModel(
        device="cuda",
        precision="tf32",
        model=f"faster/{Path(MODEL).name}",
        golden_score=f"faster/{Path(GOLDEN_SCORE).name}",
        tolerance=0.5,
        calibration=calibration,
        comparison={},
    )
    seal(copy)
    update_bundle(copy, faster=[faster])
    return copy


def folder_rows(
    bench: Bench, images: Path, bundles: dict[str, Path], alone: dict[str, float], ways: Sequence[Way]
) -> None:
    """A row for each precision and way; `alone`: milliseconds of the session alone by precision."""
    for precision, bundle in bundles.items():
        for way in ways:
            with bench.row("inspect, a folder", f"{precision}, {way}") as add, tempfile.TemporaryDirectory() as out:
                run, records = _run([images], bundle, Path(out), bench.device, way)
                takts = [record.milliseconds["total"] for record in records[WARM:] or records]
                ms = sum(takts) / len(takts)
                note = f"{run.settings['lanes']} lanes, {run.settings['workers']} workers, tiles {run.tile_sizes}"
                if precision in alone:
                    note += f", {alone[precision] / ms:.0%} of the session alone"
                if run.device_note:
                    note += f", {run.device_note}"
                stages = {k: v for k, v in run.milliseconds_median.items() if k != "total"}
                note += "; " + ", ".join(f"{stage} {value:.1f}" for stage, value in stages.items())
                add(ms, f"{note}; {run.counts['ERROR']} errors, {run.peak_memory_mib or 0:.0f} MiB")


def same_as_on_cpu(bench: Bench, paths: Sequence[Path], bundles: dict[str, Path]) -> None:
    """Rows that say how far severities and regions are from those of the processor, on a few images."""
    with tempfile.TemporaryDirectory() as out:
        chosen = list(paths[:COMPARED])
        first = next(iter(bundles.values()))
        try:
            _, expected = _run(chosen, first, Path(out) / "cpu", "cpu", Way(1))
        except FlawmapError as error:
            bench.add(Row("against the processor", "cpu", None, str(error)))
            return
        for precision, bundle in bundles.items():
            with bench.row("against the processor", f"{precision}, 2 lanes") as add:
                _, found = _run(chosen, bundle, Path(out) / precision, bench.device, Way(2))
                add(0.0, _compared(expected, found))


def _compared(expected: Sequence[ImageRecord], found: Sequence[ImageRecord]) -> str:
    apart = max(abs(a.severity - b.severity) for a, b in zip(expected, found, strict=True))
    n_expected, n_found = (sum(len(record.regions) for record in records) for records in (expected, found))
    same_boxes = sum(
        (r.x_min, r.y_min, r.x_max, r.y_max) in {(s.x_min, s.y_min, s.x_max, s.y_max) for s in b.regions}
        for a, b in zip(expected, found, strict=True)
        for r in a.regions
    )
    verdicts = sum(a.verdict == b.verdict for a, b in zip(expected, found, strict=True))
    return (
        f"{len(expected)} images: verdicts alike {verdicts}, largest difference of a severity {apart:.2g}; regions "
        f"{n_expected} on the processor, {n_found} here, {same_boxes} in the same box"
    )


def _run(paths: Sequence[Path], bundle: Path, out: Path, device: str, way: Way) -> tuple[RunInfo, list[ImageRecord]]:
    run = inspect_folder(
        paths,
        bundle,
        out,
        device=device,
        heatmaps=way.heatmaps,
        zoom=way.zoom,
        lanes=way.lanes,
        workers=way.workers,
    )
    records = [read_record(path) for path in sorted((out / RECORDS).glob("*.json"))]
    return run, [record for record in records if record is not None]
