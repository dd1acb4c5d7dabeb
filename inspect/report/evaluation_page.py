"""The page of an evaluation: the figures, the plots, what was missed and what was raised for nothing.

It opens from its folder without a server or a network, and nothing on it runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from flawmap.inspect.plain_text import plain
from flawmap.inspect.report.gallery import Exhibit
from flawmap.inspect.report.page_text import environment
from flawmap.inspect.run.detection_limit_record import read_detection_limit
from flawmap.inspect.run.layout import DETECTION_LIMIT_PAGE, EVALUATION, PAGE
from flawmap.inspect.run.records import RunInfo
from flawmap.tiling.whole_file import write_text

# Key in metrics.json, name, what it says.
FIGURES = (
    ("region_recall", "defects found", "a region within 3 px of the defect"),
    ("false_regions_per_good_image", "false regions a good image", "what the threshold costs"),
    ("image_recall", "defective images found", "called NG"),
    ("image_precision", "NG images that are defective", "precision"),
    ("image_f1", "image F1", "harmonic mean of the two above"),
    ("image_auroc", "image AUROC", "chance that a defective image is more severe than a good one"),
    ("pixel_ap", "pixel AP", "average precision over all pixels"),
    ("au_pro_0.05", "AU-PRO, 5 % of good pixels raised at most", "every defect weighs the same, whatever its size"),
    ("aupimo", "AUPIMO", "defect pixels raised while 1 to 10 in 100,000 good ones are"),
)
PLOTS = {
    "froc.png": "Defects found against false regions on a good image",
    "roc.png": "Defective images found against good images called defective",
    "score_histogram.png": "Severities of good and of defective images",
}


@dataclass(frozen=True)
class Gallery:
    """What the page shows, worst first, and how much there was in all."""

    missed: Sequence[Exhibit]
    n_missed: int
    false: Sequence[Exhibit]  # on good images
    n_false: int
    elsewhere: Sequence[Exhibit]  # on defective images, near no defect
    n_elsewhere: int


def write_evaluation_page(
    folder: Path, run_dir: Path, run: RunInfo, metrics: dict[str, Any], plots: Sequence[str], gallery: Gallery
) -> Path:
    """Writes index.html into `folder`, which lies below `run_dir`, to whose page it leads back.

    `metrics` as in metrics.json, `plots` the names of those that were drawn.
    """
    here = Path(__file__).parent
    style = "".join((here / name).read_text("utf-8") for name in ("style.css", "evaluation.css"))
    text = environment().from_string((here / "evaluation.html.j2").read_text("utf-8"))
    rendered = text.render(
        run=run,
        name=run_dir.resolve().name,
        report="../" * len(folder.relative_to(run_dir).parts) + PAGE,
        metrics=metrics,
        figures=[(name, says, metrics[key], _interval(metrics, key)) for key, name, says in FIGURES],
        sizes=_sizes(metrics),
        plots=[(name, PLOTS[name]) for name in PLOTS if name in plots],
        gallery=gallery,
        limit=read_detection_limit(run_dir) if folder == run_dir / EVALUATION else None,
        limit_page=Path(DETECTION_LIMIT_PAGE).name,
        style=Markup(style),
    )
    write_text(folder / PAGE, plain(rendered))
    return folder / PAGE


def _interval(metrics: dict[str, Any], key: str) -> list[float] | None:
    found: list[float] | None = metrics["intervals_95"].get(key, metrics.get(f"{key}_interval_95"))
    return found


def _sizes(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every size of which there are defects, and one for all: found at each threshold."""
    thresholds = [metrics["region_recall_by_size_px"]]
    thresholds += [point["region_recall_by_size_px"] for point in metrics["froc"]["points"]]
    rows = [
        {"size": f"{size} px".replace("<=", "≤ ").replace(">", "> "), "counts": [counts[size] for counts in thresholds]}
        for size in thresholds[0]
        if thresholds[0][size]["defects"]
    ]
    if rows:
        total = [
            {key: sum(row["counts"][i][key] for row in rows) for key in ("found", "defects")}
            for i in range(len(thresholds))
        ]
        rows.append({"size": "all", "counts": total})
    return rows
