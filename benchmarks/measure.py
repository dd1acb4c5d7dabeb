"""Fair timing on a machine that others may be using: contenders are checked, then take turns, and the median counts."""

import ctypes
import datetime
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flawmap.tiling.whole_file import write_text

SECONDS_A_CONTENDER = 20.0  # a slow one gets fewer rounds, three at least
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """One contender at one step: milliseconds over all its rounds, and memory beyond what was there before."""

    step: str
    contender: str
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    rounds: int
    memory_mib: float | None  # None where the system does not tell


@dataclass(frozen=True)
class Goal:
    """A ratio of two figures of one run, and what the issue asks of it."""

    text: str
    figure: float
    limit: float
    at_least: bool  # or at most

    @property
    def met(self) -> bool:
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit


def interleaved(
    step: str, contenders: Mapping[str, Callable[[], Any]], rounds: int, check: Callable[[Any], None] | None = None
) -> list[Timing]:
    """Run every contender once and `check` what it returns, then all in turns, so that a busy moment hits them all.

    An answer that `check` refuses (AssertionError) ends the benchmark, naming the contender.
    """
    milliseconds: dict[str, list[float]] = {name: [] for name in contenders}
    wanted, memory = {}, {}
    for name, run in contenders.items():
        try:
            answer = run()
            if check is not None:
                check(answer)
        except AssertionError as error:
            raise AssertionError(f"{step}: {name} answers otherwise: {error}") from error
        del answer
        start = time.perf_counter()
        memory[name] = memory_beyond(run)
        seconds = time.perf_counter() - start
        wanted[name] = max(min(rounds, FEWEST_ROUNDS), min(rounds, int(SECONDS_A_CONTENDER / max(seconds, 1e-6))))
    for turn in range(rounds):
        for name, run in contenders.items():
            if turn < wanted[name]:
                start = time.perf_counter()
                run()
                milliseconds[name].append((time.perf_counter() - start) * 1e3)
    return [
        Timing(step, name, statistics.median(ms), min(ms), max(ms), len(ms), memory[name])
        for name, ms in milliseconds.items()
    ]


def memory_beyond(run: Callable[[], Any]) -> float | None:
    """Most memory that `run` holds at a time beyond what the process holds before, MiB; Linux only."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what is free in the process would be taken again unseen
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    except OSError:
        return None
    before = _status("VmRSS")
    answer = run()
    beyond = _status("VmHWM") - before
    del answer
    return max(0.0, beyond)


def _status(name: str) -> float:
    """MiB of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def circumstances(packages: list[str]) -> dict[str, Any]:
    """What a figure needs beside it to mean anything: date, machine, versions."""
    cpu_info = Path("/proc/cpuinfo")
    models = [line for line in cpu_info.read_text().splitlines() if "model name" in line] if cpu_info.exists() else []
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": models[0].split(":", 1)[1].strip() if models else platform.processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        },
        "versions": {"python": platform.python_version()} | {package: _version(package) for package in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


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
        ", ".join(f"{name} {value}" for name, value in settings.items()) + ". Milliseconds; MiB beyond the input.",
        "",
        "| step | contender | median | fastest | slowest | MiB |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in timings:
        memory = "" if row.memory_mib is None else f"{row.memory_mib:.0f}"
        figures = f"{row.median_ms:.1f} | {row.fastest_ms:.1f} | {row.slowest_ms:.1f} | {memory}"
        lines.append(f"| {row.step} | {row.contender} | {figures} |")
    return "\n".join(lines) + "\n"


def goals_markdown(goals: list[Goal]) -> str:
    lines = ["| goal | asked | measured | |", "|---|---:|---:|---|"]
    for goal in goals:
        sign = ">=" if goal.at_least else "<="
        lines.append(f"| {goal.text} | {sign} {goal.limit:g} | {goal.figure:.3g} | {'met' if goal.met else 'missed'} |")
    return "\n".join(lines) + "\n"


def write_results(out: Path, name: str, text: str, record: Mapping[str, Any]) -> None:
    """NAME.md and NAME.json in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / f"{name}.md", text)
    write_text(out / f"{name}.json", json.dumps(record, indent=1) + "\n")
