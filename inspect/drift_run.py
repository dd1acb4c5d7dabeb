"""Drift of a run: its records against the calibration of the bundle that inspected them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle, read_bundle
from flawmap.inspect.line.drift import DriftMonitor, DriftState, sentence
from flawmap.inspect.line.drift_plot import draw_drift
from flawmap.inspect.run.folder import writing
from flawmap.inspect.run.layout import DRIFT
from flawmap.inspect.run.record_files import read_run_info
from flawmap.inspect.run.recorded_run import recorded_images
from flawmap.inspect.run.records import ImageRecord, RunInfo
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_text

LAST = 100  # good images that are compared, unless told otherwise
NOT_BY_ZONES = "drift cannot be measured on them yet"
TOO_OLD = "its calibration does not say how each image scored: run `flawmap calibrate` again to measure drift"


@dataclass(frozen=True)
class ModelDrift:
    """Drift of one model of a run."""

    camera: str  # empty without a recipe
    state: DriftState
    first_alarm: str  # the image at which the first alarm was raised; empty without one
    picture: str  # its name in the run folder

    @property
    def sentence(self) -> str:
        """For people."""
        return f"camera {self.camera}: {sentence(self.state)}" if self.camera else sentence(self.state)


@dataclass(frozen=True)
class RunDrift:
    """Drift of a run."""

    models: list[ModelDrift]
    not_measured: list[str]  # why, for each model of a recipe whose calibration does not allow it
    damaged: list[str]  # a sentence on each record that cannot be read, and is left out


def measure_drift(run_dir: Path, last: int = LAST, model: Path | None = None) -> RunDrift:
    """Writes drift.json and a picture for each model of the run in `run_dir`; returns what is in them.

    `last`: good images that are compared. `model`: where the bundle lies, if it was moved since.

    Raises UsageError: no run, none of its records can be read, `last` below 2, a bundle that is not there, that is
    another than the run's, or whose calibration is too old or by zones; of a recipe: if that is so of all its bundles.
    """
    run = read_run_info(run_dir)
    if run is None:
        raise UsageError(f"`RUN_DIR` (={run_dir}) holds no run.json: give a folder that flawmap wrote")
    if last < 2:
        raise UsageError(f"`--last` (={last}) must be at least 2 images")
    bundles = _bundles(run, model)
    damaged: list[str] = []
    records = _records(run_dir, damaged)
    found, not_measured = [], []
    for number, (camera, bundle, severity_ng) in enumerate(bundles):
        own = [record for record in records if run.recipe is None or record.model == number]
        picture = picture_name(None if run.recipe is None else number)
        try:
            calibration = calibration_severities(bundle)
        except UsageError as error:
            if run.recipe is None:
                raise
            not_measured.append(f"camera {camera}: drift is not measured: {error}")
            continue
        monitor = DriftMonitor(calibration, severity_ng, last)
        state, first = monitor.state(), ""
        for record in own:
            state = monitor.add(raw_severity(record))
            if state.alarm and not first:
                first = record.image
        title = f"{bundle.info.product}{f', camera {camera}' if camera else ''}: {state.alarm or 'no drift'}"
        severities = np.array([raw_severity(record) for record in own], np.float64)
        with writing(run_dir):
            draw_drift(run_dir / picture, calibration, severities, severity_ng, state, last, title)
        found.append(ModelDrift(camera, state, first, picture))
    if not found:
        raise UsageError(not_measured[0])
    write_drift(run_dir, found, last, not_measured)
    return RunDrift(found, not_measured, damaged)


def picture_name(model: int | None) -> str:
    """The picture's name in the run folder; of a run with a recipe, for each of its models."""
    return "drift.png" if model is None else f"drift-{model + 1}.png"


def write_drift(run_dir: Path, found: Sequence[ModelDrift], last: int, not_measured: Sequence[str]) -> None:
    """drift.json."""
    models: list[dict[str, Any]] = [
        {
            "camera": one.camera,
            **{
                name: round(value, 4) if isinstance(value, float) else value
                for name, value in asdict(one.state).items()
            },
            "first_alarm": one.first_alarm,
            "picture": one.picture,
            "sentence": one.sentence,
        }
        for one in found
    ]
    with writing(run_dir):
        write_text(
            run_dir / DRIFT, json.dumps({"last": last, "models": models, "not_measured": not_measured}, indent=2) + "\n"
        )


def calibration_severities(bundle: Bundle) -> NDArray[np.float64]:
    """Severities of the good images that `bundle` was calibrated on [m]; UsageError where it does not say."""
    calibration = bundle.info.calibration
    if calibration is None or not calibration.image_peaks:
        raise UsageError(f"`bundle` (={bundle.folder}): {TOO_OLD}")
    if calibration.zones:  # the severity of an image is that of a zone, by the zone's own calibration
        raise UsageError(f"`bundle` (={bundle.folder}) has zones with false alarms of their own: {NOT_BY_ZONES}")
    return calibration.severity(np.asarray(calibration.image_peaks, np.float32))


def raw_severity(record: ImageRecord) -> float:
    """Of the highest score of an image, whatever the plant's rules make of it."""
    return max([record.severity, *(region.severity for region in record.regions)])


def _bundles(run: RunInfo, model: Path | None) -> list[tuple[str, Bundle, float]]:
    """Camera, bundle and severity of NG, for each model of the run."""
    if run.recipe is None:
        used = [("", Path(run.bundle) if model is None else model, run.bundle_sha256, run.thresholds["severity_ng"])]
    elif model is not None:
        raise UsageError(f"`--model` (={model}): the run used a recipe, its bundles must lie where they lay")
    else:
        models = run.recipe.models
        used = [(one.camera, Path(one.bundle), one.bundle_sha256, one.thresholds["severity_ng"]) for one in models]
    bundles = []
    for camera, folder, digest, severity_ng in used:
        bundle = read_bundle(folder)
        if bundle.digest != digest:
            raise UsageError(
                f"`bundle` (={folder}) is not the one that inspected the run, or was calibrated again since "
                f"(its digest is {bundle.digest[:12]}, was {digest[:12]})"
            )
        bundles.append((camera, bundle, severity_ng))
    return bundles


def _records(run_dir: Path, damaged: list[str]) -> list[ImageRecord]:
    """Every image that was inspected, in the order in which it was; `damaged` as of `recorded_images`."""
    records = (image.record for image in recorded_images(run_dir, damaged))
    found = [record for record in records if record.verdict != "ERROR"]
    return sorted(found, key=lambda record: (record.inspected, record.image))
