"""What a run is about to do: which image goes to which bundle, at which thresholds; known before anything is scored."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flawmap.export.bundle import Bundle, read_bundle
from flawmap.inspect.machine import versions
from flawmap.inspect.read_ahead import source_of
from flawmap.inspect.recipe.assignment import Assigned, assign
from flawmap.inspect.recipe.recipe_file import Recipe, is_recipe, read_recipe
from flawmap.inspect.run.input_images import list_inputs
from flawmap.inspect.run.record_files import read_record, record_path
from flawmap.inspect.run.records import ModelInfo, RecipeInfo, RunInfo
from flawmap.inspect.scoring.lanes import Lanes, open_lanes
from flawmap.inspect.scoring.scorers import as_it_runs
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import UsageError


@dataclass(frozen=True)
class RunPlan:
    """Everything about a run that its inputs decide."""

    source: Path  # what `-m` was given
    images: list[Assigned]
    models: list["PlannedModel"]  # of a bundle: it alone
    recipe: Recipe | None
    ignored: int


@dataclass(frozen=True)
class PlannedModel:
    """One bundle and the thresholds it runs at."""

    bundle: Bundle
    thresholds: Thresholds


def plan_run(
    paths: Sequence[Path],
    source: Path,
    run_dir: Path,
    false_alarms: float | None,
    device: str = "auto",
    tile_size: int | None = None,
) -> RunPlan:
    """`source` is a bundle or a recipe; `false_alarms` (expected on a good image) and `tile_size` go before what either
    says; on `device` a bundle may have a faster model, with a calibration of its own.

    Raises UsageError: paths, recipe, or a bundle that is not sound or not calibrated.
    """
    recipe = read_recipe(source) if is_recipe(source) else None
    entries, ignored = list_inputs(paths, run_dir), 0
    if recipe is None:
        images = [Assigned(entry) for entry in entries]
    else:
        images, ignored = assign(recipe, entries)
    models = _models(source, recipe, false_alarms, device, tile_size)
    return RunPlan(source, as_pictures(images, models), models, recipe, ignored)


def plan_watch(source: Path, false_alarms: float | None, device: str = "auto") -> RunPlan:
    """The same before an image is known; UsageError: recipe, or a bundle that is not sound or not calibrated."""
    recipe = read_recipe(source) if is_recipe(source) else None
    return RunPlan(source, [], _models(source, recipe, false_alarms, device), recipe, 0)


def _models(
    source: Path, recipe: Recipe | None, false_alarms: float | None, device: str, tile_size: int | None = None
) -> list[PlannedModel]:
    if recipe is None:
        return [_planned(source, false_alarms, device, tile_size)]
    models = []
    for number, entry in enumerate(recipe.models):
        own = recipe.false_alarms_of(number)
        try:
            allowed = own if false_alarms is None else false_alarms
            models.append(_planned(source.parent / entry.bundle, allowed, device, tile_size))
        except UsageError as error:
            raise UsageError(f"`--model` (={source}): camera `{entry.camera}`: {error}") from None
    return models


def as_pictures(images: Iterable[Assigned], models: Sequence[PlannedModel]) -> list[Assigned]:
    """`images`, each to be read as its model's bundle wants it, and page by page where it takes pages for pictures."""
    found = []
    for one in images:
        if one.model is None:
            found.append(one)
        else:
            reading = models[one.model].bundle.info.image.reading
            found += [replace(one, entry=entry) for entry in one.entry.pictures(reading)]
    return found


def _planned(bundle_dir: Path, false_alarms: float | None, device: str, tile_size: int | None) -> PlannedModel:
    bundle = as_it_runs(read_bundle(bundle_dir), device, tile_size)
    calibration = bundle.info.calibration
    if calibration is None:
        raise UsageError(f"`bundle` (={bundle.folder}) is not calibrated: run `flawmap calibrate` on good images first")
    return PlannedModel(
        bundle, Thresholds.of(calibration, calibration.false_alarms if false_alarms is None else false_alarms)
    )


def open_models(plan: RunPlan, device: str, lanes: int | None = None, *, fitted: bool = True) -> list[Lanes]:
    """The lanes of each of `plan.models`, as `open_lanes` has them; models that share a bundle share them."""
    n_models = len({model.bundle.folder.resolve() for model in plan.models})
    opened: dict[Path, Lanes] = {}
    for model in plan.models:
        folder = model.bundle.folder.resolve()
        if folder not in opened:
            opened[folder] = open_lanes(model.bundle, device, lanes, fitted=fitted, models=n_models)
    return [opened[model.bundle.folder.resolve()] for model in plan.models]


def describe(plan: RunPlan, models: Sequence[Lanes], settings: dict[str, Any]) -> RunInfo:
    """run.json as it stands while the run goes on; `settings` but for the false alarms and the recipe."""
    infos = [_describe_model(plan, number, lanes) for number, lanes in enumerate(models)]
    run = RunInfo(
        state="running",
        started=now(),
        versions=versions(),
        **infos[0].model_dump(exclude={"camera", "false_alarms"}),
        settings=settings | {"false_alarms": infos[0].false_alarms},
        counts={},
        milliseconds_median={},
    )
    if plan.recipe is None:
        return run
    digests = "".join(f"{info.bundle_sha256}\n" for info in infos)
    return run.model_copy(
        update={
            "bundle": str(plan.source.resolve()),
            "bundle_sha256": hashlib.sha256(digests.encode()).hexdigest(),
            "product": plan.source.stem,
            "device": ", ".join(dict.fromkeys(info.device for info in infos)),
            "device_note": device_note(models),
            "calibration_note": "; ".join(
                f"camera {info.camera}: {info.calibration_note}" for info in infos if info.calibration_note
            ),
            "settings": settings | {"recipe": plan.recipe.model_dump()},
            "images": {},
            "thresholds": {},
            "zone_false_alarms": {},
            "recipe": RecipeInfo(models=infos, expected=plan.recipe.expected, ignored=plan.ignored, parts={}),
        }
    )


def _describe_model(plan: RunPlan, number: int, lanes: Lanes) -> ModelInfo:
    bundle, thresholds = plan.models[number].bundle, plan.models[number].thresholds
    zones = bundle.info.part.where.zones
    return ModelInfo(
        camera="" if plan.recipe is None else plan.recipe.models[number].camera,
        bundle=str(bundle.folder.resolve()),
        bundle_sha256=bundle.digest,
        product=bundle.info.product,
        device=lanes.device,
        device_note=lanes.device_note,
        calibration_note="; ".join(
            filter(None, (bundle.info.counted_note, thresholds.calibration.few_images_note(thresholds.false_alarms)))
        ),
        images=asdict(bundle.info.image.reading),
        false_alarms=thresholds.false_alarms,
        thresholds=thresholds.as_numbers(),
        zone_false_alarms={zone.name: zone.false_alarms for zone in zones if zone.false_alarms is not None},
        pixel_size=bundle.info.part.pixel_size,
        rules=bundle.info.part.rules,
    )


def device_note(models: Sequence[Lanes]) -> str:
    """What is to be said of the device they run on, each note once; empty for nothing."""
    return "; ".join(dict.fromkeys(lanes.device_note for lanes in models if lanes.device_note))


def is_done(run_dir: Path, one: Assigned) -> bool:
    """Whether an image was inspected as it is now, for the part that it belongs to now; an ERROR is tried again."""
    entry = one.entry
    record = read_record(record_path(run_dir, entry.name))
    return (
        record is not None
        and one.model is not None
        and record.image == entry.image
        and record.verdict != "ERROR"
        and record.source == source_of(entry.path)
        and (record.part, record.camera) == (one.part, one.camera)
    )


def with_unfinished(run: RunInfo, images: Iterable[Assigned]) -> RunInfo:
    """`run`, told that `images` have yet to be inspected."""
    if run.recipe is None:
        return run
    parts = list(dict.fromkeys(one.part for one in images if one.part))
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"unfinished": parts})})


def now() -> str:
    """ISO 8601 with time zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")
