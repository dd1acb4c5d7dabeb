"""What `flawmap evaluate` does: figures into metrics.json, plots and a gallery into RUN_DIR/evaluation/."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.inspect.evaluation.evaluate import Evaluation, NothingToCompareError, evaluate
from flawmap.inspect.evaluation.froc import Froc, froc
from flawmap.inspect.evaluation.image_figures import SIZE_NAMES
from flawmap.inspect.evaluation.matching import DefectOutcome, FalseRegion, ImageOutcome
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.report.detection_limit_page import draw_detection_limit
from flawmap.inspect.report.evaluation_page import Gallery, write_evaluation_page
from flawmap.inspect.report.evaluation_plots import Curve, Point, draw_froc, draw_roc, draw_severities
from flawmap.inspect.report.gallery import Exhibit, draw_exhibits
from flawmap.inspect.report.heat_scale import HeatScale
from flawmap.inspect.report.page import write_page
from flawmap.inspect.report.page_text import number, severity
from flawmap.inspect.run.folder import forget_evaluation
from flawmap.inspect.run.layout import EVALUATION, METRICS, PAGE, evaluation_folder, heatmap_path
from flawmap.inspect.run.record_files import read_run_info
from flawmap.inspect.run.records import RecipeInfo, RunInfo
from flawmap.inspect.true_defects import NEAR
from flawmap.tiling.errors import UsageError
from flawmap.tiling.reading import Reading
from flawmap.tiling.whole_file import write_text

EXHIBITS_MAX = 60  # of each kind


def evaluate_run(run_dir: Path, dataset: Path, *, progress: ShowProgress = silent) -> dict[str, Any]:
    """Compares the run in `run_dir` with `dataset` (MVTec AD layout); returns what is written to metrics.json.

    Of a run with a recipe that is {"models": [...]}: for each model what a run of its bundle alone gives, and `camera`,
    `bundle` and `folder`, where its page lies. A model of whose images the dataset holds none is left out.

    UsageError: no run, no truth, files that do not fit each other, no image of the run in the dataset, or a run folder
    that cannot be written.
    """
    run = read_run_info(run_dir)
    if run is None or run.recipe is None:
        evaluation = evaluate(run_dir, dataset, progress=progress)
        evaluations, metrics = {EVALUATION: evaluation}, evaluation.metrics
    else:
        evaluations, metrics = _evaluate_models(run_dir, dataset, run.recipe, progress)
    try:
        forget_evaluation(run_dir)
        for folder, evaluation in evaluations.items():
            _write_pictures(run_dir / folder, run_dir, evaluation, progress)
        if (run_dir / PAGE).is_file():
            write_page(run_dir)  # which leads to the evaluation now
        elif run is not None:
            draw_detection_limit(run_dir, run)  # which leads there too
        text = json.dumps(metrics, indent=2, allow_nan=False)
        write_text(run_dir / METRICS, text + "\n")  # last: where it stands, the rest does too
    except OSError as error:
        where = error.filename or run_dir
        raise UsageError(f"`RUN_DIR` (={run_dir}) cannot be written: {error.strerror or error} ({where})") from error
    return metrics


def damaged_in(metrics: dict[str, Any]) -> list[str]:
    """A sentence on each record that could not be read, of what `evaluate_run` returned."""
    return list(metrics["models"][0]["records_damaged"] if "models" in metrics else metrics["records_damaged"])


def page_of(run_dir: Path, folder: str = EVALUATION) -> Path:
    """Where the page of an evaluation lies; of a run with a recipe, that of the model with this `folder`."""
    return run_dir / folder / PAGE


def pages_of(run_dir: Path, metrics: dict[str, Any]) -> list[Path]:
    """All pages that `evaluate_run` wrote together with `metrics`."""
    return (
        [page_of(run_dir, model["folder"]) for model in metrics["models"]]
        if "models" in metrics
        else [page_of(run_dir)]
    )


def _evaluate_models(
    run_dir: Path, dataset: Path, recipe: RecipeInfo, progress: ShowProgress
) -> tuple[dict[str, Evaluation], dict[str, Any]]:
    """(evaluations by their folder in the run, metrics of all of them)."""
    evaluations: dict[str, Evaluation] = {}
    metrics = []
    for index, model in enumerate(recipe.models):
        try:
            evaluation = evaluate(run_dir, dataset, model=index, progress=progress)
        except NothingToCompareError:
            if index == len(recipe.models) - 1 and not evaluations:
                raise
            continue
        folder = evaluation_folder(index)
        evaluations[folder] = evaluation
        metrics.append({"camera": model.camera, "bundle": model.bundle, "folder": folder, **evaluation.metrics})
    return evaluations, {"models": metrics}


def _write_pictures(folder: Path, run_dir: Path, evaluation: Evaluation, progress: ShowProgress) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    plots = _draw_plots(folder, evaluation)
    missed, n_missed = _missed(run_dir, evaluation)
    false, n_false = _false(run_dir, evaluation, on_good=True)
    elsewhere, n_elsewhere = _false(run_dir, evaluation, on_good=False)
    scale = HeatScale(evaluation.run.thresholds["review"], evaluation.run.thresholds["ng"])
    exhibits = {"missed": missed, "false": false, "elsewhere": elsewhere}
    with progress("drawing images", sum(len({e.path for e in kind}) for kind in exhibits.values())) as step:
        for prefix, kind in exhibits.items():
            draw_exhibits(folder, prefix, kind, scale, step)
    gallery = Gallery(missed, n_missed, false, n_false, elsewhere, n_elsewhere)
    write_evaluation_page(folder, run_dir, evaluation.run, evaluation.metrics, plots, gallery)


def _draw_plots(folder: Path, evaluation: Evaluation) -> list[str]:
    """The names of the plots drawn: those that show something."""
    metrics, outcomes = evaluation.metrics, evaluation.outcomes
    good = np.array([o.severity for o in outcomes if o.is_good])
    defective = np.array([o.severity for o in outcomes if not o.is_good])
    thresholds = evaluation.run.thresholds
    drawn = []
    if len(good) and len(defective):
        false_alarms = float(np.mean([o.verdict == "NG" for o in outcomes if o.is_good]))
        here = Point("this run's NG", false_alarms, metrics["image_recall"])
        draw_roc(folder / "roc.png", good, defective, here, f"Images: AUROC {metrics['image_auroc']:.3f}")
        drawn.append("roc.png")
    if len(good) and evaluation.curve.n_defects:
        here = Point("this run's NG", metrics["false_regions_per_good_image"], metrics["region_recall"])
        curves = [_curve("all", evaluation.curve)]
        by_size = [(size, froc(outcomes, size)) for size in SIZE_NAMES]
        curves += [_curve(f"{size} px", curve) for size, curve in by_size if curve.n_defects]
        draw_froc(folder / "froc.png", curves, here, len(good))
        drawn.append("froc.png")
    if len(outcomes) and {"severity_review", "severity_ng"} <= thresholds.keys():
        review, ng = thresholds["severity_review"], thresholds["severity_ng"]
        draw_severities(folder / "score_histogram.png", good, defective, review=review, ng=ng)
        drawn.append("score_histogram.png")
    return drawn


def _curve(label: str, curve: Froc) -> Curve:
    return Curve(
        f"{label} ({curve.n_defects})",
        np.concatenate(([0.0], curve.false_regions / max(curve.n_good, 1))),
        np.concatenate(([0.0], curve.found / curve.n_defects)),
    )


def _missed(run_dir: Path, evaluation: Evaluation) -> tuple[list[Exhibit], int]:
    """The largest defects that were missed, and how many were."""
    ng = evaluation.run.thresholds["ng"]
    missed = [(o, d) for o in evaluation.outcomes for d in o.defects if d.score < ng]
    missed.sort(key=lambda pair: (-pair[1].size_px, -pair[1].area_px))
    exhibits = []
    for outcome, defect in missed[:EXHIBITS_MAX]:
        facts = [*_place(defect.box), ("area", f"{defect.area_px} px"), ("seen as", _nearest(defect))]
        exhibits.append(_exhibit(run_dir, evaluation.run, outcome, defect.box, facts))
    return exhibits, len(missed)


def _false(run_dir: Path, evaluation: Evaluation, *, on_good: bool) -> tuple[list[Exhibit], int]:
    """The most severe false regions on good images, or on the defective ones, and how many there were."""
    ng = evaluation.run.thresholds["ng"]
    outcomes = [outcome for outcome in evaluation.outcomes if outcome.is_good == on_good]
    false: list[tuple[ImageOutcome, FalseRegion]] = [
        (outcome, region) for outcome in outcomes for region in outcome.false_regions if region.score >= ng
    ]
    false.sort(key=lambda pair: (-pair[1].severity, -pair[1].score))
    exhibits = []
    for outcome, region in false[:EXHIBITS_MAX]:
        facts = [*_place(region.box), ("severity", severity(region.severity)), ("score", f"{region.score:.4g}")]
        exhibit = _exhibit(run_dir, evaluation.run, outcome, region.box, facts)
        exhibits.append(replace(exhibit, mask=None))  # what is outlined is the region, and no mark beside it
    return exhibits, len(false)


def _exhibit(
    run_dir: Path, run: RunInfo, outcome: ImageOutcome, box: tuple[int, int, int, int], facts: list[tuple[str, str]]
) -> Exhibit:
    heatmap = run_dir / heatmap_path(outcome.name)
    return Exhibit(
        image=outcome.image,
        path=outcome.truth.path,
        mask=outcome.truth.mask,
        heatmap=heatmap if heatmap.is_file() else None,
        box=box,
        facts=facts,
        reading=Reading(**run.images),
    )


def _place(box: tuple[int, int, int, int]) -> list[tuple[str, str]]:
    y0, x0, y1, x1 = box
    return [("box", f"{x1 - x0} × {y1 - y0} px at x {x0}, y {y0}")]


def _nearest(defect: DefectOutcome) -> str:
    """What the model made of a missed defect."""
    nearest = defect.nearest
    if nearest is None:
        return "nothing in this image came near a region"
    what = f"severity {severity(nearest.severity)}, score {number(nearest.score)}"
    what += f", decided by the rule `{nearest.rule}`" if nearest.rule else ""
    return what if nearest.gap_px <= NEAR else f"nothing near it; the nearest, {nearest.gap_px} px away: {what}"
