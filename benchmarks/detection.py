"""One table: every method on every product, through the same three commands, on the same images.

    python -m benchmarks.detection DATASETS_DIR WORK_DIR --products fabric-02 metal --methods flawmap ssim --minutes 10

DATASETS_DIR/<product> holds train/good, test/<kind> and ground_truth/<kind> in the MVTec AD layout. A method is
`flawmap`, the default settings, or the name of a file in configs/baselines. Each pair is trained, inspected and
evaluated as a user would do it; its figures go into benchmarks/results/detection.json as soon as they are there, and a
pair that stands there already is not run again unless `--again` says so. detection.md is drawn from that file.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import circumstances

RESULTS = Path(__file__).parent / "results"
TABLE, PAGE = RESULTS / "detection.json", RESULTS / "detection.md"
BASELINES = Path(__file__).parent.parent / "configs" / "baselines"
OWN = "flawmap"
COLUMNS = (
    ("recall", "region recall"),
    ("false", "false regions a good image"),
    ("recall_0.1", "recall at 0.1"),
    ("recall_0.5", "at 0.5"),
    ("recall_1", "at 1"),
    ("auroc", "image AUROC"),
    ("f1", "image F1"),
    ("steps", "steps"),
    ("train_minutes", "minutes to train"),
    ("seconds_an_image", "seconds an image"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--products", nargs="+", required=True)
    parser.add_argument("--methods", nargs="+", default=[OWN])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--again", action="store_true", help="run pairs that have their figures already")
    parser.add_argument("--trained", action="store_true", help="export and calibrate the checkpoints in WORK_DIR again")
    args = parser.parse_args()
    for product in args.products:
        for method in args.methods:
            rows = read_rows()
            if not args.again and any((row["product"], row["method"]) == (product, method) for row in rows):
                continue
            print(f"{time.strftime('%H:%M')} {product}: {method}", flush=True)
            minutes = None if args.trained else args.minutes
            row = measure(args.datasets / product, method, args.work / f"{product}.{method}", minutes)
            rows = [r for r in rows if (r["product"], r["method"]) != (product, method)]
            write_rows([*rows, {"product": product, "method": method, **row}])


def measure(dataset: Path, method: str, work: Path, minutes: float | None) -> dict[str, Any]:
    """Trains, or where `minutes` is None takes the checkpoint that is there, inspects and evaluates: one row."""
    bundle, run = work.with_name(work.name + ".bundle"), work.with_name(work.name + ".run")
    settings = [] if method == OWN else ["-c", str(BASELINES / f"{method}.yaml")]
    if minutes is None:
        flawmap("export", bundle.with_name(bundle.name + ".work") / "model.ckpt", "-o", bundle)
    else:
        flawmap("train", dataset / "train" / "good", "-o", bundle, "--minutes", minutes, *settings)
    flawmap("inspect", dataset / "test", "-m", bundle, "-o", run, "--fresh")
    flawmap("evaluate", run, "--truth", dataset)
    return row_of(bundle, run)


def row_of(bundle: Path, run: Path) -> dict[str, Any]:
    """The figures of a run that was evaluated."""
    metrics = json.loads((run / "metrics.json").read_text())
    info = json.loads((bundle / "bundle.json").read_text())
    stages = json.loads((run / "run.json").read_text())["milliseconds_median"]
    points = {f"recall_{p['false_regions_per_good_image']:g}": p["region_recall"] for p in metrics["froc"]["points"]}
    return {
        "recall": metrics["region_recall"],
        "false": metrics["false_regions_per_good_image"],
        "images": metrics["images"],
        "by_size": {k: f"{v['found']}/{v['defects']}" for k, v in metrics["region_recall_by_size_px"].items()},
        **points,
        "auroc": metrics["image_auroc"],
        "f1": metrics["image_f1"],
        "false_alarms": metrics["false_alarms"],
        "steps": info["provenance"].get("training_steps"),
        "train_minutes": round(info["provenance"]["training_seconds"] / 60, 1),
        "seconds_an_image": round(stages["total"] / 1e3, 2),
        "circumstances": circumstances(["torch", "onnxruntime", "numpy", "flawmap"]),
    }


def flawmap(*arguments: object) -> None:
    """Runs the command line; what it says goes to this terminal, a failure ends the benchmark."""
    command = [str(Path(sys.executable).parent / "flawmap"), *map(str, arguments)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")


def read_rows() -> list[dict[str, Any]]:
    return list(json.loads(TABLE.read_text())) if TABLE.is_file() else []


def write_rows(rows: list[dict[str, Any]]) -> None:
    rows.sort(key=lambda row: (row["product"], row["method"] != OWN, row["method"]))
    TABLE.write_text(json.dumps(rows, indent=1) + "\n")
    header = ["product", "method", *(title for _, title in COLUMNS), "found by size"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        cells = [row["product"], row["method"], *(_cell(row.get(key)) for key, _ in COLUMNS)]
        sizes = ", ".join(f"{size} {found}" for size, found in row["by_size"].items() if not found.endswith("/0"))
        lines.append("| " + " | ".join([*cells, sizes]) + " |")
    PAGE.write_text("\n".join(lines) + "\n")


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.3g}"


if __name__ == "__main__":
    main()
