"""A contaminated dataset: the share that was asked for, nothing lost, nothing twice, and the truth of what is left."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.contaminate import contaminate
from flawmap.inspect.evaluation.truth import read_truth
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image


def dataset(folder: Path, *, good: int = 19, dents: int = 4, spots: int = 3) -> Path:
    """Images of one pixel, each with a grey value of its own."""
    values = iter(range(1, 256))
    counts = {"train/good": good, "test/good": 2, "test/dent": dents, "test/spot": spots}
    for kind, count in counts.items():
        for i in range(count):
            name = kind.split("/")[1]
            for path in (folder / kind / f"{i:03}.png", folder / "ground_truth" / name / f"{i:03}_mask.png"):
                if "ground_truth" not in path.parts or name != "good":
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_image(path, np.full((1, 1), next(values), np.uint8))
    return folder


def contents(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.png"))


def test_the_share_of_the_training_set_is_defective(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source")
    moved = contaminate(source, tmp_path / "out", 0.05)
    trained_on = list((tmp_path / "out" / "train" / "good").iterdir())
    assert (len(moved), len(trained_on)) == (1, 20)  # 1 of 20 is 5 %
    assert (tmp_path / "out" / "contaminated.txt").read_text() == f"{moved[0]}\n"
    kind, name = Path(moved[0]).parts[1:]
    assert (tmp_path / "out" / "train" / "good" / f"{kind}_{name}").read_bytes() == (source / moved[0]).read_bytes()
    assert not (tmp_path / "out" / moved[0]).exists()
    assert len(read_truth(tmp_path / "out")) == len(read_truth(source)) - 1  # every mask is with its image


@settings(max_examples=8, deadline=None)
@given(share=st.floats(0.01, 0.24), seed=st.integers(0, 10**6))
def test_nothing_is_lost_but_the_masks_of_what_was_moved(
    tmp_path_factory: pytest.TempPathFactory, share: float, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("contaminated")
    source = dataset(folder / "source")
    moved = contaminate(source, folder / "out", share, seed)
    n_train = len(list((folder / "out" / "train" / "good").iterdir()))
    assert len(moved) == len(set(moved)) == n_train - 19
    assert abs(len(moved) - share * n_train) <= 1
    masks = [source / "ground_truth" / Path(m).parts[1] / f"{Path(m).stem}_mask.png" for m in moved]
    assert contents(folder / "out") == sorted(path.read_bytes() for path in source.rglob("*.png") if path not in masks)
    assert contaminate(source, folder / "again", share, seed) == moved


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none(tmp_path: Path, share: float) -> None:
    with pytest.raises(UsageError, match=rf"`--share` \(={share:g}\) must lie between 0 and 1, both excluded"):
        contaminate(dataset(tmp_path / "source"), tmp_path / "out", share)


def test_what_cannot_be_contaminated(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source")
    with pytest.raises(UsageError, match=r"takes 8 defective images and one left to test on, .*test has 7"):
        contaminate(source, tmp_path / "out", 0.3)
    with pytest.raises(UsageError, match=r"must have the MVTec AD layout: .*train/good is missing"):
        contaminate(tmp_path, tmp_path / "out", 0.1)
    with pytest.raises(UsageError, match=r"`OUT` \(=.*\) must be empty or not there"):
        contaminate(source, source, 0.1)
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source")
    command = [sys.executable, "-m", "benchmarks.contaminate", str(source), str(tmp_path / "out")]
    root = Path(__file__).parent.parent
    done = subprocess.run([*command, "--share", "0.1"], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 defective images in ")
    again = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert again.returncode == 1
    assert again.stderr.startswith("contaminate: `OUT` (=")
