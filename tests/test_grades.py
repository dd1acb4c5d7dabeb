"""Recall by grade on sample data: every drawn defect once, counted again from masks and tables."""

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.grades import drawn_defects, main, table
from flawmap.export.bundle import write_info
from flawmap.export.bundle_seal import seal
from flawmap.inspect.evaluation.evaluate import evaluate
from flawmap.inspect.folder import inspect_folder
from flawmap.sample_data.dataset import write_dataset
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image
from tests.bundles import calibration, make_bundle

NEAR = 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(run, dataset): ground metal, inspected by a network that is a mean over 5x5 px."""
    folder = tmp_path_factory.mktemp("grades")
    data, bundle, run = folder / "data", folder / "bundle", folder / "run"
    write_dataset(data, surface="metal", size=(512, 512), train_good=0, test_good=2, test_defect=6, seed=3)
    info = make_bundle(bundle).info
    info.calibration = calibration(grow=1.0, threshold=1.3)  # NG from about 3.6: some are, most are not
    write_info(bundle, info)
    seal(bundle)
    inspect_folder([data / "test"], bundle, run, device="cpu")
    return run, data


def found_by_hand(run: Path, data: Path) -> Counter[tuple[str, bool]]:
    """(grade, found) of every drawn defect: NG boxes of regions.csv within 3 px of a pixel of its mask."""
    with (run / "regions.csv").open(encoding="utf-8", newline="") as file:
        regions = [row for row in csv.DictReader(file) if row["verdict"] == "NG"]
    counts: Counter[tuple[str, bool]] = Counter()
    for name, drawn in json.loads((data / "truth.json").read_text())["images"].items():
        image = name.removeprefix("test/")
        for defect in drawn:
            y0, x0, y1, x1 = defect["box"]
            mask = read_image(data / "ground_truth" / "defect" / f"{Path(image).stem}_mask.png")
            mask[:y0], mask[y1:], mask[:, :x0], mask[:, x1:] = 0, 0, 0, 0
            near = [
                mask[
                    max(0, int(r["y_min"]) - NEAR) : int(r["y_max"]) + NEAR,
                    max(0, int(r["x_min"]) - NEAR) : int(r["x_max"]) + NEAR,
                ].any()
                for r in regions
                if r["image"] == image
            ]
            counts[defect["grade"], any(near)] += 1
    return counts


def test_every_drawn_defect_counts_once(made: tuple[Path, Path]) -> None:
    run, data = made
    evaluation = evaluate(run, data)
    defects = drawn_defects(evaluation, data)
    ng = evaluation.metrics["ng_score"]
    assert Counter((d.grade, d.score >= ng) for d in defects) == found_by_hand(run, data)
    assert {d.score >= ng for d in defects} == {False, True}  # else the comparison would say little
    lines = list(table(evaluation, defects))
    assert lines[0] == "| defects | run's threshold | at 0 | at 0.1 | at 0.5 | at 1 |"
    rows = {line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[1:] for line in lines[2:]}
    assert rows["all"][0] == f"{sum(d.score >= ng for d in defects)}/{len(defects)}"
    for groups in (("strong", "moderate", "faint"), {d.kind for d in defects}):
        parts = [rows[name][0].split("/") for name in groups]
        assert [sum(int(part[i]) for part in parts) for i in (0, 1)] == [int(n) for n in rows["all"][0].split("/")]


def test_as_a_command(
    made: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["grades", *map(str, made)])
    main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("| defects |")
    assert said[-2].endswith("of 2 good images are NG")
    assert said[-1].endswith("of 6 defective images are NG")


def test_a_dataset_of_another_kind(made: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`DATASET` \(=.*\) must be what `python -m flawmap\.sample_data` wrote: no"):
        drawn_defects(evaluate(*made), tmp_path)
