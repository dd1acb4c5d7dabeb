"""The figures of metrics.json as a few lines that a person reads."""

from typing import Any


def summary(metrics: dict[str, Any]) -> str:
    """Several lines, no trailing newline."""
    images = metrics["images"]
    lines = [
        f"{images['good']} good and {images['defective']} defective images, "
        f"{metrics['false_alarms']:g} false regions allowed"
    ]
    errors = metrics["images_not_inspected"]
    if errors:
        lines.append(f"{errors} image{'s' if errors > 1 else ''} could not be inspected and count nowhere below")
    by_size = metrics["region_recall_by_size_px"]
    total = sum(row["defects"] for row in by_size.values())
    if total:
        found = sum(row["found"] for row in by_size.values())
        parts = ", ".join(
            f"{size} px {row['found']}/{row['defects']}" for size, row in by_size.items() if row["defects"]
        )
        lines.append(f"defects found: {found} of {total} ({parts})")
    if images["good"]:
        lines.append(f"false regions a good image: {metrics['false_regions_per_good_image']:.2f}")
    lines.append(f"false regions on defective images: {metrics['false_regions_on_defective_images']}")
    for name, text in (("image_auroc", "image AUROC"), ("image_f1", "image F1")):
        if metrics[name] is not None:
            lines.append(f"{text}: {metrics[name]:.3f}")
    return "\n".join(lines)
