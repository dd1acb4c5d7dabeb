"""What a run has written, to be compared: its tables and the times of its files."""

import csv
from pathlib import Path
from typing import Any

from flawmap.inspect.run.layout import LOCK

Row = dict[str, str]


def table(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.DictReader(file))


def rows(run_dir: Path) -> dict[str, Row]:
    return {row["image"]: row for row in table(run_dir / "images.csv")}


def tables(run_dir: Path) -> tuple[list[Row], list[Row]]:
    """Both tables, without the one column that no two runs share."""
    images = table(run_dir / "images.csv")
    for row in images:
        del row["milliseconds"]
    return images, table(run_dir / "regions.csv")


def tree(folder: Path) -> dict[str, int]:
    """Every file but the lock, with its time of change."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in files}


def parts(run_dir: Path) -> dict[str, dict[str, str]]:
    return {row["part"]: row for row in table(run_dir / "parts.csv")}


def verdicts(run_dir: Path) -> dict[str, str]:
    return {part: row["verdict"] for part, row in parts(run_dir).items()}


def everything(run_dir: Path) -> tuple[Any, ...]:
    return *tables(run_dir), table(run_dir / "parts.csv")
