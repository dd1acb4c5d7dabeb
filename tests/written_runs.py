"""Runs as their records say, written without inspecting anything."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.inspect.report.page import write_page
from flawmap.inspect.run.records import ImageRecord, RegionRecord, RunInfo, SourceFile

REVIEW, NG = 6.0, 9.0


def region(box: tuple[int, int, int, int], number: int = 1, **changes: Any) -> RegionRecord:
    y0, x0, y1, x1 = box
    values: dict[str, Any] = {
        "region": number, "x_min": x0, "y_min": y0, "x_max": x1, "y_max": y1, "centroid_x": (x0 + x1) / 2,
        "centroid_y": (y0 + y1) / 2, "area_px": (y1 - y0) * (x1 - x0), "score_max": 12.0, "score_mean": 8.0,
        "severity": 1.5, "verdict": "NG",
    }  # fmt: skip
    return RegionRecord(**(values | changes))


def noise(height: int, width: int, dtype: type = np.uint8, channels: int | None = None) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    values = np.random.default_rng(height * 7 + width).integers(0, 256, shape)
    return values.astype(dtype)


HOSTILE = [
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(1)>.png',
    "a & b 'c' `d` {{ 7*7 }} {% raw %}.png",
    "caf\udce9 %41#frag?x=1.png",
    "lone \ud800.png",
    "https://evil.example/x.png",
    "lot 1/ünïcode\nline.png",
]


def image_record(name: str, **changes: Any) -> ImageRecord:
    values: dict[str, Any] = {
        "image": name, "verdict": "OK", "severity": -1.0, "width": 640, "height": 480,
        "milliseconds": {"decode": 10.0, "score": 30.0, "total": 38.0},
        "source": SourceFile(size_bytes=1, modified_ns=1), "regions": [],
    }  # fmt: skip
    return ImageRecord(**(values | changes))


def run_info(**changes: Any) -> RunInfo:
    values: dict[str, Any] = {
        "state": "finished", "started": "2026-11-22T15:02:11+01:00", "finished": "2026-11-22T15:04:07+01:00",
        "versions": {"flawmap": "0.1.0"}, "bundle": "bundles/<b>", "bundle_sha256": "9f3c1ab27d5e" * 5 + "abcd",
        "product": "board <41> & co", "device": "cpu", "device_note": "no <CUDA>", "settings": {"false_alarms": 0.1},
        "thresholds": {"grow": 4.0, "review": REVIEW, "ng": NG, "severity_review": 0.7, "severity_ng": 1.0},
        "counts": {}, "milliseconds_median": {"decode": 10.0, "score": 30.0, "total": 38.0},
    }  # fmt: skip
    return RunInfo(**(values | changes))


def write_run(run_dir: Path, records: list[ImageRecord], run: RunInfo, stems: Sequence[str] = ()) -> Path:
    """`stems`: what the files of the first images are called."""
    (run_dir / "regions").mkdir(parents=True, exist_ok=True)
    (run_dir / "run.json").write_text(json.dumps(run.model_dump()))
    for index, record in enumerate(records):
        stem = stems[index] if index < len(stems) else f"{index:04d}"
        (run_dir / "regions" / f"{stem}.json").write_text(json.dumps(record.model_dump()))
    return write_page(run_dir)
