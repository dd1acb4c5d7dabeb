"""Fair timing on a machine that others may be using: contenders take turns, and the median counts."""

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Timing:
    """One contender at one step: milliseconds over all rounds."""

    step: str
    contender: str
    median_ms: float
    fastest_ms: float
    slowest_ms: float


def interleaved(step: str, contenders: Mapping[str, Callable[[], Any]], rounds: int) -> list[Timing]:
    """Run all contenders once to warm up, then in turns for `rounds` rounds, so that a busy moment hits them all."""
    milliseconds: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            milliseconds[name].append((time.perf_counter() - start) * 1e3)
    return [Timing(step, name, statistics.median(ms), min(ms), max(ms)) for name, ms in milliseconds.items()]


def circumstances(packages: list[str]) -> dict[str, Any]:
    """What a figure needs beside it to mean anything: date, machine, versions of those `packages` that are there."""
    cpu_info = Path("/proc/cpuinfo")
    installed = {distribution.metadata["Name"] for distribution in distributions()}
    models = [line for line in cpu_info.read_text().splitlines() if "model name" in line] if cpu_info.exists() else []
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": models[0].split(":", 1)[1].strip() if models else platform.processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        },
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in packages if package in installed},
    }


def markdown(title: str, settings: Mapping[str, Any], facts: Mapping[str, Any], timings: list[Timing]) -> str:
    machine, versions = facts["machine"], facts["versions"]
    where = f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}"
    lines = [
        f"# {title}",
        "",
        f"{facts['date']}; {where}; load averages {machine['load_average']}",
        "",
        ", ".join(f"{name} {number}" for name, number in versions.items()),
        "",
        ", ".join(f"{name} {value}" for name, value in settings.items()) + ". Milliseconds.",
        "",
        "| step | contender | median | fastest | slowest |",
        "|---|---|---:|---:|---:|",
    ]
    for row in timings:
        figures = f"{row.median_ms:.1f} | {row.fastest_ms:.1f} | {row.slowest_ms:.1f}"
        lines.append(f"| {row.step} | {row.contender} | {figures} |")
    return "\n".join(lines) + "\n"
