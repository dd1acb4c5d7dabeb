"""Injects, inspects and writes: RUN_DIR/evaluation/detection_limit.json, .csv and .png.

The bundle, its calibration and the false alarms allowed are the run's own, and so is the pipeline: what is measured is
what the line does.
"""

import csv
import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.export.bundle import Bundle, BundleInfo, read_bundle
from flawmap.inspect.detection_limit.analysis import (
    DetectionCurve,
    Injection,
    curves_over_contrast,
    curves_over_size,
    rates_by_place,
)
from flawmap.inspect.detection_limit.injected_defects import Planned
from flawmap.inspect.detection_limit.injection import Design, Injector
from flawmap.inspect.detection_limit.judge import judge
from flawmap.inspect.detection_limit.picture import write_picture
from flawmap.inspect.detection_limit.sentence import headline, statement
from flawmap.inspect.inspect_image import region_records
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.progress import ShowProgress, Step, silent
from flawmap.inspect.run.layout import DETECTION_LIMIT
from flawmap.inspect.run.record_files import json_text, read_run_info
from flawmap.inspect.run.records import RunInfo
from flawmap.inspect.scoring.lanes import open_lanes
from flawmap.inspect.scoring.scorers import as_it_runs
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import list_images, read_image
from flawmap.tiling.pages import pictures_of
from flawmap.tiling.reading import Pages
from flawmap.tiling.whole_file import write_text, write_whole

DEFAULT_DESIGN = Design()


@dataclass
class Outcome:
    """What became of the defects, image by image."""

    injections: list[Injection] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    images_not_inspected: dict[str, str] = field(default_factory=dict)  # name: why
    without_place: Counter[str] = field(default_factory=Counter)  # kind: defects that would have shown nowhere
    false_regions: int = 0  # on the untouched images

    def add(
        self, path: Path, name: str, planned: Sequence[Planned], pipeline: Pipeline, design: Design, step: Step
    ) -> None:
        """Inspects one image as it is, then with as many defects at a time as have room."""
        try:
            image, stated = read_image(path, pipeline.info.image.reading), pipeline.info.part.stated_by(path)
            inspection = pipeline.inspect(image, stated=stated)
        except ImageError as error:
            self.images_not_inspected[name] = error.reason
            for _ in planned:
                step(f"{name}: {error.reason}")
            return
        regions = region_records(inspection)
        untouched = np.array([(r.y_min, r.x_min, r.y_max, r.x_max) for r in regions], np.int64).reshape(-1, 4)
        self.images.append(name)
        self.false_regions += sum(region.verdict == "NG" for region in regions)
        injector = Injector(image, untouched, _gap_px(pipeline.info, design, image.shape), inspection.look)
        left, not_showing = list(planned), []
        while left:
            injected = injector.inject(left)
            left = injected.no_room
            not_showing += injected.not_showing
            if not injected.placed:
                break
            inspection = pipeline.inspect(injected.image, recycle=inspection, stated=stated)
            for injection in judge(name, injected.placed, inspection):
                self.injections.append(injection)
                step(f"{name}: {injection.kind} of {injection.size_px} px {'found' if injection.found else 'missed'}")
        for one in (*left, *not_showing):
            self.without_place[one.kind] += 1
            step(f"{name}: no place for a {one.kind} of {one.size_px} px")


def measure_detection_limit(
    run_dir: Path,
    dataset: Path,
    *,
    images: int = 6,
    design: Design = DEFAULT_DESIGN,
    device: str = "auto",
    progress: ShowProgress = silent,
) -> dict[str, Any]:
    """Injects `design` into at most `images` of `dataset`/test/good; returns what detection_limit.json says.

    Every image is inspected once as it is and at least once with defects in it. Nothing is written before the end.

    Raises:
        UsageError: no run, its bundle is gone or another one by now, no good image of the bundle's kind, or a run
            folder that cannot be written.
        DeviceError: `device` is not here.
    """
    if images < 1:
        raise UsageError(f"`--images` (={images}) must be at least 1")
    run = read_run_info(run_dir)
    if run is None:
        raise UsageError(f"`RUN_DIR` (={run_dir}) holds no run.json: give a folder that `flawmap inspect` wrote")
    if run.recipe is not None:
        raise UsageError(
            f"`RUN_DIR` (={run_dir}) was made with a recipe, and a detection limit belongs to one bundle: inspect the "
            "images of one camera with its bundle (`-m`) into a folder of their own, and measure there"
        )
    bundle = as_it_runs(_bundle_of(run), device)
    chosen = _good_images(dataset, images, bundle.info.image.pages)
    assert bundle.info.calibration is not None  # the run could not have been made without
    thresholds = Thresholds.of(bundle.info.calibration, float(run.settings["false_alarms"]))
    lanes = open_lanes(bundle, device, 1)
    pipeline = Pipeline(bundle, lanes, thresholds)
    outcome = Outcome()
    with progress("injecting defects", len(chosen) * design.per_image) as step:
        for path, planned in zip(chosen, design.plan(len(chosen)), strict=True):
            name = path.relative_to(dataset / "test").as_posix()
            outcome.add(path, name, planned, pipeline, design, step)
    if not outcome.images:
        name, reason = next(iter(outcome.images_not_inspected.items()))
        raise UsageError(f"no image of {dataset / 'test' / 'good'} could be inspected: {name}: {reason}")
    curves = curves_over_size(outcome.injections)
    result = _result(run, lanes.device, design, outcome, curves)
    _write(run_dir, result, outcome.injections, curves)
    return result


def _good_images(dataset: Path, most: int, pages: Pages) -> list[Path]:
    """At most `most` of the good test images, spread evenly over the list."""
    good = dataset / "test" / "good"
    if not good.is_dir():
        raise UsageError(
            f"`--truth` (={dataset}) must hold test/good, the images into which defects are injected: it does not"
        )
    paths = pictures_of(list_images(good), pages)
    n = min(most, len(paths))
    return [paths[i * len(paths) // n] for i in range(n)]


def _bundle_of(run: RunInfo) -> Bundle:
    folder = Path(run.bundle)
    if not folder.is_dir():
        raise UsageError(
            f"the bundle of this run, {folder}, is gone: inspect again with the one that is to be measured"
        )
    bundle = read_bundle(folder)
    if bundle.digest != run.bundle_sha256:
        raise UsageError(
            f"the bundle of this run, {folder}, has changed since (it was {run.bundle_sha256[:12]}, "
            f"is {bundle.digest[:12]}): inspect again with the one that is to be measured"
        )
    return bundle


def _gap_px(info: BundleInfo, design: Design, shape: tuple[int, ...]) -> int:
    """As far apart that no pixel of the network sees two defects; it sees farther where it is shown the image small."""
    longest_side = info.image.longest_side
    shrunk = max(1.0, max(shape[:2]) / longest_side) if longest_side else 1.0
    return max(design.gap_px, math.ceil(info.network.receptive_field * shrunk))


def _result(
    run: RunInfo, device: str, design: Design, outcome: Outcome, curves: Sequence[DetectionCurve]
) -> dict[str, Any]:
    false_alarms = float(run.settings["false_alarms"])
    return {
        "sentence": headline(curves, false_alarms, len(outcome.injections), len(outcome.images)),
        "statements": [statement(curve) for curve in curves],
        "bundle": run.bundle,
        "bundle_sha256": run.bundle_sha256,
        "product": run.product,
        "device": device,
        "false_alarms": false_alarms,
        "design": {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(design).items()},
        "images": outcome.images,
        "images_not_inspected": outcome.images_not_inspected,
        "false_regions_on_untouched_images": outcome.false_regions,
        "defects": len(outcome.injections),
        "defects_without_place": dict(outcome.without_place),
        "found_by_place": {
            place: dataclasses.asdict(rate) for place, rate in rates_by_place(outcome.injections).items()
        },
        "over_size": [_curve(curve, "px") for curve in curves],
        "over_contrast": [_curve(curve, "sigma") for curve in curves_over_contrast(outcome.injections)],
    }


def _curve(curve: DetectionCurve, unit: str) -> dict[str, Any]:
    fitted = curve.curve
    return {
        "kind": curve.kind,
        "contrast_sigma": curve.contrast,
        "size_px": curve.size_px,
        "median_change_grey_levels": curve.levels,
        "tried": curve.tried,
        "intercept": None if fitted is None else fitted.intercept,
        "slope": None if fitted is None else fitted.slope,
        f"a90_{unit}": dataclasses.asdict(curve.limit),
        f"a90_95_{unit}": dataclasses.asdict(curve.limit_95),
        "exceptions": curve.exceptions,
        "rates": [dataclasses.asdict(rate) for rate in curve.rates],
    }


def _write(
    run_dir: Path, result: dict[str, Any], injections: Sequence[Injection], curves: Sequence[DetectionCurve]
) -> None:
    base = run_dir / DETECTION_LIMIT
    try:
        base.parent.mkdir(exist_ok=True)
        _write_table(base.with_suffix(".csv"), injections)
        write_picture(base.with_suffix(".png"), curves, result["sentence"])
        write_text(base.with_suffix(".json"), json_text(result))  # last: where it stands, the rest does too
    except OSError as error:
        where = error.filename or base.parent
        raise UsageError(f"`RUN_DIR` (={run_dir}) cannot be written: {error.strerror or error} ({where})") from error


def _write_table(path: Path, injections: Sequence[Injection]) -> None:
    """One row an injection, as planned; an empty field where there is nothing to say."""
    with (
        write_whole(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        table = csv.writer(file)
        table.writerow(name.name for name in dataclasses.fields(Injection))
        for one in sorted(injections, key=lambda one: one.number):
            table.writerow(_field(value) for value in dataclasses.astuple(one))


def _field(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    return f"{value:.6g}" if isinstance(value, float) else value
