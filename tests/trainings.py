"""Small trainings: run, listened to and compared."""

import csv
from pathlib import Path
from typing import Any

import torch

from flawmap.training import checkpoint as checkpoints
from flawmap.training.fit import train
from tests.products import silent, tiny_config, write_good

# Mined places depend on the clock, so that where two runs must end alike none are shown.
SAME = {"damage": {"hard_share": 0.0}}


class Told:
    """A `Report` that remembers, and does something at one step."""

    def __init__(self, at: int = 10**9, act: Any = None) -> None:
        self.at, self.act, self.lines = at, act, list[tuple[float, str]]()

    def __call__(self, progress: float, text: str) -> None:
        self.lines.append((progress, text))
        if text.startswith(f"step {self.at},"):
            self.act()

    def steps(self) -> list[int]:
        return [int(text.split()[1].rstrip(",")) for _, text in self.lines if text.startswith("step ")]


def run(
    tmp_path: Path, report: Any = silent, work: str = "work", paths: list[Path] | None = None, **sections: Any
) -> Path:
    paths = paths or write_good(tmp_path / "good", 5)
    return train(paths, tiny_config(**sections), tmp_path / work, device="cpu", report=report)


def curve(checkpoint: Path) -> list[dict[str, str]]:
    with (checkpoint.parent / "training.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(checkpoint).model.state_dict()


def assert_alike(a: Path, b: Path) -> None:
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6, msg=name)
