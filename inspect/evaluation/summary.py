"""The figures of metrics.json as a few lines that a person reads."""

import math
from typing import Any

from flawmap.inspect.evaluation.promise import short

FIGURES = (
    ("image_auroc", "image AUROC"),
    ("image_f1", "image F1"),
    ("image_precision", "image precision"),
    ("image_recall", "image recall"),
    ("pixel_ap", "pixel AP"),
    ("au_pro_0.05", "AU-PRO at 0.05"),
    ("aupimo", "AUPIMO"),
)


def summary(metrics: dict[str, Any]) -> str:
    """Several lines, no trailing newline. Behind a figure, in brackets, its 95 % interval."""
    if "models" in metrics:  # of a run with a recipe
        return "\n\n".join(
            f"camera {model['camera']}, {model['bundle']}\n{summary(model)}" for model in metrics["models"]
        )
    images = metrics["images"]
    lines = [
        f"{images['good']} good and {images['defective']} defective images, "
        f"{metrics['false_alarms']:g} false regions allowed"
    ]
    errors = metrics["images_not_inspected"]
    if errors:
        lines.append(f"{errors} image{'s' if errors > 1 else ''} could not be inspected and count nowhere below")
    damaged = len(metrics.get("records_damaged", []))
    if damaged:
        lines.append(f"{damaged} record{'s' if damaged > 1 else ''} cannot be read and count nowhere below")
    lines += _found(metrics)
    if images["good"]:
        lines += _false_regions(metrics)
    lines.append(f"false regions on defective images: {metrics['false_regions_on_defective_images']}")
    for name, text in FIGURES:
        if metrics[name] is not None:
            lines.append(f"{text}: {_figure(metrics, name, 3)}")
    if metrics["pixel_metrics_note"] and images["good"] + images["defective"]:
        lines.append(f"pixel figures: {metrics['pixel_metrics_note']}")
    return "\n".join(lines)


def _found(metrics: dict[str, Any]) -> list[str]:
    """Recall of defects, at the run's threshold and along the FROC."""
    by_size = metrics["region_recall_by_size_px"]
    total = sum(row["defects"] for row in by_size.values())
    if not total:
        return []
    found = sum(row["found"] for row in by_size.values())
    parts = ", ".join(f"{size} px {row['found']}/{row['defects']}" for size, row in by_size.items() if row["defects"])
    lines = [f"defects found: {found} of {total}{_interval(metrics, 'region_recall', 2)} ({parts})"]
    for point in metrics["froc"]["points"]:
        lines.append(
            f"  at {point['false_regions_per_good_image']:g} false regions a good image "
            f"({point['false_regions']} on {point['good_images']}): {point['region_recall']:.2f}"
            + (", no lower score is on record" if point["from_candidates_end"] else "")
        )
    return lines


def _false_regions(metrics: dict[str, Any]) -> list[str]:
    """What good images show against what was allowed; and what the rules leave of it, where they make a difference."""
    as_ruled = f"false regions a good image: {_figure(metrics, 'false_regions_per_good_image', 2)}"
    if not metrics.get("promises"):  # written by an earlier flawmap
        return [as_ruled]
    promise = metrics["promises"][0]
    rate, (low, high) = promise["false_regions_per_good_image"], promise["interval_95"]
    ruled = not math.isclose(rate, metrics["false_regions_per_good_image"])
    too_strict = promise["word"] == "broken" and rate < promise["allowed"]
    sentence = (
        f"false regions a good image{', before the rules' if ruled else ''}: {short(rate)} where "
        f"{promise['allowed']:g} was allowed (95 % interval {short(low)} to {short(high)}): {promise['word']}"
        + (", fewer than half of that" if too_strict else "")
    )
    return [sentence, as_ruled] if ruled else [sentence]


def _figure(metrics: dict[str, Any], name: str, decimals: int) -> str:
    return f"{metrics[name]:.{decimals}f}{_interval(metrics, name, decimals)}"


def _interval(metrics: dict[str, Any], name: str, decimals: int) -> str:
    found = metrics["intervals_95"].get(name, metrics.get(f"{name}_interval_95"))
    return f" [{found[0]:.{decimals}f}, {found[1]:.{decimals}f}]" if found else ""
