"""Compares a run with the truth: what was found, what was missed, what was raised for nothing.

A defect is found when a region comes within `NEAR` px of it. A region that comes near no defect is false. Regions count
when their verdict is NG, images by their verdict; the FROC asks the same at every other threshold.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.evaluation.bootstrap import Statistic, Weights, estimates, intervals
from flawmap.inspect.evaluation.froc import Froc, OperatingPoint, as_json, froc, operating_points
from flawmap.inspect.evaluation.image_figures import (
    SIZE_NAMES,
    false_regions_statistic,
    found_of,
    image_statistics,
    recall_statistic,
)
from flawmap.inspect.evaluation.matching import ImageOutcome, compare
from flawmap.inspect.evaluation.pixel_figures import pixel_figures
from flawmap.inspect.evaluation.promise import promises
from flawmap.inspect.evaluation.truth import GOOD, TrueImage, read_truth
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.run.record_files import read_run_info
from flawmap.inspect.run.recorded_run import record_paths, recorded_images
from flawmap.inspect.run.records import RunInfo
from flawmap.tiling.errors import UsageError
from flawmap.tiling.reading import Reading


class NothingToCompareError(UsageError):
    """No image of the run is a test image of the dataset."""


@dataclass(frozen=True)
class Evaluation:
    """What a run is worth: `metrics` as they stand in metrics.json, and what they were drawn from."""

    run: RunInfo
    metrics: dict[str, Any]
    outcomes: list[ImageOutcome]
    curve: Froc


@dataclass(frozen=True)
class _Compared:
    outcomes: list[ImageOutcome]
    without_truth: int
    not_inspected: int
    damaged: list[str]


def evaluate(run_dir: Path, dataset: Path, *, model: int | None = None, progress: ShowProgress = silent) -> Evaluation:
    """Compares the run in `run_dir` with `dataset` (MVTec AD layout); writes nothing, holds one image at a time.

    `model`: of a run with a recipe, the place of the one model whose images are compared.

    Raises:
        UsageError: no run, none of its records can be read, no truth, a mask or a heatmap that does not fit, or no
            image of the run is a test image of the dataset (NothingToCompareError).
    """
    run = read_run_info(run_dir)
    if run is None:
        raise UsageError(f"`RUN_DIR` (={run_dir}) holds no run.json: give a folder that `flawmap inspect` wrote")
    run = run if model is None else run.of_model(model)
    if "ng" not in run.thresholds or "review" not in run.thresholds:
        raise UsageError(f"{run_dir / 'run.json'} is not a record of this flawmap: `thresholds` lack ng or review")
    pages = Reading(**run.images).pages
    truths = {truth.path.relative_to(dataset / "test").as_posix(): truth for truth in read_truth(dataset, pages)}
    compared = _compare_all(run_dir, run, truths, model, progress)
    if not compared.outcomes and not compared.not_inspected:
        raise NothingToCompareError(
            f"no image of `RUN_DIR` (={run_dir}) is a test image of `--truth` (={dataset}): "
            f"inspect {dataset / 'test'} as one folder"
        )
    curve = froc(compared.outcomes)
    metrics = {
        "false_alarms": run.settings["false_alarms"],
        "ng_score": run.thresholds["ng"],
        "images_without_truth": compared.without_truth,
        "images_not_inspected": compared.not_inspected,
        "records_damaged": compared.damaged,
        "promises": promises([outcome.raised for outcome in compared.outcomes if outcome.is_good], run),
        **_figures(compared.outcomes, run.thresholds["ng"], curve),
        **pixel_figures(run_dir, run, compared.outcomes, progress),
        "missed": missed(compared.outcomes, run.thresholds["ng"]),
    }
    return Evaluation(run, metrics, compared.outcomes, curve)


def missed(outcomes: Sequence[ImageOutcome], score: float) -> list[dict[str, Any]]:
    """The defects that are not found at `score`: image, box [y0, x0, y1, x1], area_px and the score near it, if any."""
    return [
        {
            "image": outcome.image,
            "box": list(defect.box),
            "area_px": defect.area_px,
            "score": defect.score if np.isfinite(defect.score) else None,
        }
        for outcome in outcomes
        for defect in outcome.defects
        if defect.score < score
    ]


def _compare_all(
    run_dir: Path, run: RunInfo, truths: dict[str, TrueImage], model: int | None, progress: ShowProgress
) -> _Compared:
    candidate_score = run.thresholds.get("candidate", run.thresholds["review"])  # earlier runs recorded regions alone
    ng = run.thresholds["ng"]
    outcomes, unknown, not_inspected = [], 0, 0
    damaged: list[str] = []
    with progress("comparing", len(record_paths(run_dir))) as step:
        for image in recorded_images(run_dir, damaged):
            record, truth = image.record, truths.get(image.record.image)
            if record.model != model:
                pass  # another model's
            elif truth is None:
                unknown += 1
            elif record.verdict == "ERROR":
                not_inspected += 1
            else:
                outcomes.append(compare(record, image.name, truth, candidate_score, ng))
            step(record.image)
    return _Compared(outcomes, unknown, not_inspected, damaged)


def _figures(outcomes: list[ImageOutcome], ng: float, curve: Froc) -> dict[str, Any]:
    """Everything that records and masks tell; None where there is nothing to count."""
    points = operating_points(outcomes)
    statistics = {
        "region_recall": recall_statistic(outcomes, ng),
        "false_regions_per_good_image": false_regions_statistic(outcomes, ng),
        **image_statistics(outcomes),
    }
    by_size = {f"size {size}": recall_statistic(outcomes, ng, size) for size in SIZE_NAMES}
    at_points = {f"rate {point.rate}": recall_statistic(outcomes, point.score) for point in points}
    kinds = sorted({outcome.truth.kind for outcome in outcomes} - {GOOD})
    by_kind = {
        f"kind {kind} {name}": _of_kind(outcomes, kind, statistics[name])
        for kind in kinds
        for name in ("region_recall", "image_recall", "image_auroc")
    }
    n_good = sum(outcome.is_good for outcome in outcomes)
    n_images = n_good, len(outcomes) - n_good
    everything = statistics | by_size | at_points | by_kind
    figures, ranges = estimates(*n_images, everything), intervals(*n_images, everything)
    return {
        "images": {"good": n_images[0], "defective": n_images[1]},
        **{name: figures[name] for name in statistics},
        "intervals_95": {name: ranges[name] for name in statistics},
        "region_recall_by_size_px": {
            size: _recall(outcomes, ng, size) | {"interval_95": ranges[f"size {size}"]} for size in SIZE_NAMES
        },
        "false_regions_on_defective_images": _false_on_defective(outcomes, ng),
        "froc": {
            "complete_from_score": curve.complete_from if outcomes else None,
            # Below the lowest candidate that each of them kept, its recall is a lower bound.
            "defective_images_cut_off": sum(
                not outcome.is_good and outcome.complete_from > curve.complete_from for outcome in outcomes
            ),
            "points": [
                _point(outcomes, point, n_good, ranges[f"rate {point.rate}"], figures[f"rate {point.rate}"])
                for point in points
            ],
            "curve": as_json(curve),
        },
        "by_kind": {kind: _kind(outcomes, kind, figures, ranges) for kind in kinds},
    }


def _of_kind(outcomes: Sequence[ImageOutcome], kind: str, statistic: Statistic) -> Statistic:
    """`statistic` with the defective images of `kind` alone, against all good ones."""
    inside = np.array([o.truth.kind == kind for o in outcomes if not o.is_good], np.float64)

    def of_kind(good: Weights, defective: Weights) -> NDArray[np.float64]:
        return statistic(good, defective * inside)

    return of_kind


def _kind(
    outcomes: Sequence[ImageOutcome],
    kind: str,
    figures: dict[str, float | None],
    ranges: dict[str, list[float] | None],
) -> dict[str, Any]:
    names = ("region_recall", "image_recall", "image_auroc")
    inside = [outcome for outcome in outcomes if outcome.truth.kind == kind]
    return {
        "images": len(inside),
        "defects": sum(len(outcome.defects) for outcome in inside),
        **{name: figures[f"kind {kind} {name}"] for name in names},
        "intervals_95": {name: ranges[f"kind {kind} {name}"] for name in names},
    }


def _recall(outcomes: Sequence[ImageOutcome], score: float, size: str) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        found, defects = found_of(outcome, score, size)
        counts.update(found=found, defects=defects)
    share = counts["found"] / counts["defects"] if counts["defects"] else None
    return {"defects": counts["defects"], "found": counts["found"], "recall": share}


def _point(
    outcomes: Sequence[ImageOutcome],
    point: OperatingPoint,
    n_good: int,
    interval: list[float] | None,
    recall: float | None,
) -> dict[str, Any]:
    """One threshold of the FROC; the interval holds this threshold fixed."""
    return {
        "false_regions_per_good_image": point.rate,
        "false_regions": point.false_regions,
        "good_images": n_good,
        "score": point.score,
        "from_candidates_end": point.from_candidates_end,
        "region_recall": recall,
        "interval_95": interval,
        "region_recall_by_size_px": {size: _recall(outcomes, point.score, size) for size in SIZE_NAMES},
        "false_regions_on_defective_images": _false_on_defective(outcomes, point.score),
    }


def _false_on_defective(outcomes: Sequence[ImageOutcome], score: float) -> int:
    return sum(outcome.n_false(score) for outcome in outcomes if not outcome.is_good)
