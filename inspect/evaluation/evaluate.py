"""Compares a run with the truth: what was found, what was missed, what was raised for nothing.

A defect is found when a region comes within `NEAR` px of it. A region that comes near no defect is false. Regions count
when their verdict is NG, images by their verdict.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.evaluation.truth import GOOD, TrueDefect, TrueImage, read_truth
from flawmap.inspect.record_files import read_record, read_run_info
from flawmap.inspect.records import ImageRecord, RegionRecord
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_text

NEAR = 3  # px
SIZES = (8, 25, 100)  # px, longer side: recall is reported up to each, and beyond


@dataclass
class Tally:
    """Counts over the images of a run."""

    found: list[bool] = field(default_factory=list)  # a truth each
    sizes: list[int] = field(default_factory=list)
    missed: list[dict[str, Any]] = field(default_factory=list)
    false_on_good: int = 0
    false_on_defective: int = 0
    good_severities: list[float] = field(default_factory=list)
    defective_severities: list[float] = field(default_factory=list)
    good_verdicts: list[str] = field(default_factory=list)
    defective_verdicts: list[str] = field(default_factory=list)

    def add(self, record: ImageRecord, truth: TrueImage) -> None:
        """Counts one image that was inspected."""
        regions = [region for region in record.regions if region.verdict == "NG"]
        if truth.kind == GOOD:
            self.false_on_good += len(regions)
            self.good_severities.append(record.severity)
            self.good_verdicts.append(record.verdict)
            return
        defects = truth.defects(NEAR, (record.height, record.width))
        near = np.array([[is_near(region, defect) for region in regions] for defect in defects], bool)
        near = near.reshape(len(defects), len(regions))
        for defect, hits in zip(defects, near, strict=True):
            hit = bool(hits.any())
            self.found.append(hit)
            self.sizes.append(defect.size_px)
            if not hit:
                box = [defect.y0, defect.x0, defect.y1, defect.x1]
                self.missed.append({"image": record.image, "box": box, "area_px": defect.area_px})
        self.false_on_defective += int((~near.any(axis=0)).sum())
        self.defective_severities.append(record.severity)
        self.defective_verdicts.append(record.verdict)

    def metrics(self) -> dict[str, Any]:
        """Figures of metrics.json; None where there is nothing to count."""
        true_positive = self.defective_verdicts.count("NG")
        false_positive = self.good_verdicts.count("NG")
        n_good, n_defective = len(self.good_verdicts), len(self.defective_verdicts)
        return {
            "images": {"good": n_good, "defective": n_defective},
            "region_recall": _share(sum(self.found), len(self.found)),
            "region_recall_by_size_px": self._recall_by_size(),
            "false_regions_per_good_image": _share(self.false_on_good, n_good),
            "false_regions_on_defective_images": self.false_on_defective,
            "image_auroc": auroc(np.array(self.good_severities), np.array(self.defective_severities)),
            "image_recall": _share(true_positive, n_defective),
            "image_precision": _share(true_positive, true_positive + false_positive),
            "image_f1": _share(2 * true_positive, 2 * true_positive + false_positive + n_defective - true_positive),
            "missed": self.missed,
        }

    def _recall_by_size(self) -> dict[str, dict[str, Any]]:
        sizes, found = np.array(self.sizes), np.array(self.found, bool)
        rows: dict[str, dict[str, Any]] = {}
        for low, high in zip((0, *SIZES), (*SIZES, None), strict=True):
            inside = (sizes > low) & (sizes <= high if high else True)
            count = int(inside.sum())
            name = f"<={high}" if high else f">{low}"
            rows[name] = {
                "defects": count,
                "found": int(found[inside].sum()),
                "recall": _share(int(found[inside].sum()), count),
            }
        return rows


def evaluate(run_dir: Path, dataset: Path) -> dict[str, Any]:
    """Compares the run in `run_dir` with `dataset` and writes `run_dir`/metrics.json; returns what stands there.

    Raises:
        UsageError: no run, no truth, or no image of the run is a test image of the dataset.
    """
    run = read_run_info(run_dir)
    if run is None:
        raise UsageError(f"`RUN_DIR` (={run_dir}) holds no run.json: give a folder that `flawmap inspect` wrote")
    truths = {truth.path.relative_to(dataset / "test").as_posix(): truth for truth in read_truth(dataset)}
    tally, unknown, not_inspected = Tally(), 0, 0
    for path in sorted((run_dir / "regions").glob("*.json")):
        record = read_record(path)
        if record is None:
            continue
        truth = truths.get(record.image)
        if truth is None:
            unknown += 1
            continue
        if record.verdict == "ERROR":
            not_inspected += 1
            continue
        tally.add(record, truth)
    if not tally.good_verdicts and not tally.defective_verdicts and not not_inspected:
        raise UsageError(
            f"no image of `RUN_DIR` (={run_dir}) is a test image of `--truth` (={dataset}): "
            f"inspect {dataset / 'test'} as one folder"
        )
    metrics = {
        "false_alarms": run.settings["false_alarms"],
        "images_without_truth": unknown,
        "images_not_inspected": not_inspected,
        **tally.metrics(),
    }
    write_text(run_dir / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics


def is_near(region: RegionRecord, defect: TrueDefect) -> bool:
    """Whether the region's box, `NEAR` px wider on every side, holds a pixel of the defect."""
    y0, x0 = max(region.y_min - NEAR - defect.y0, 0), max(region.x_min - NEAR - defect.x0, 0)
    y1, x1 = region.y_max + NEAR - defect.y0, region.x_max + NEAR - defect.x0
    if y1 <= 0 or x1 <= 0:
        return False
    return bool(defect.pixels[y0:y1, x0:x1].any())


def auroc(good: NDArray[np.float64], defective: NDArray[np.float64]) -> float | None:
    """Chance that a defective image is more severe than a good one, ties counting half (Mann and Whitney 1947)."""
    if not len(good) or not len(defective):
        return None
    order = np.sort(good)
    below = np.searchsorted(order, defective, side="left")
    up_to = np.searchsorted(order, defective, side="right")
    return float((below + up_to).sum() / 2 / (len(good) * len(defective)))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
