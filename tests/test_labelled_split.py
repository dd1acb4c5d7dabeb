"""A dataset in two: every image on one side, no item on both, masks beside their images."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.labelled_split import main, split_labelled
from flawmap.inspect.evaluation.truth import read_truth
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from flawmap.training.classical.labelled import labelled_images
from flawmap.training.config import ImageSettings

NUMBER = r"item(\d+)"


def dataset(folder: Path, items: list[int]) -> Path:
    """Two views of each item, every other item a scratch; images of one pixel, each with a grey value of its own."""
    value = 1
    for item in items:
        kind = "dent" if item % 2 else "scratch"
        for view in "ab":
            for path in (f"test/{kind}/item{item}_{view}", f"ground_truth/{kind}/item{item}_{view}_mask"):
                value += 1
                _pixel(folder / f"{path}.png", value)
    for path in ("train/good/item1_c", "train/good/item3_c", "test/good/item2_c"):
        value += 1
        _pixel(folder / f"{path}.png", value)
    return folder


def _pixel(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((1, 1), value, np.uint8))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}


@settings(max_examples=10, deadline=None)
@given(items=st.lists(st.integers(0, 30), min_size=2, max_size=6, unique=True), data=st.data())
def test_every_image_is_on_one_side_and_no_item_on_both(
    tmp_path_factory: pytest.TempPathFactory, items: list[int], data: st.DataObject
) -> None:
    learned = sorted(data.draw(st.lists(st.sampled_from(items), min_size=1, max_size=len(items), unique=True)))
    first, last = learned[0], learned[-1]
    inside = [item for item in items if first <= item <= last]
    folder = tmp_path_factory.mktemp("split")
    source, out = dataset(folder / "source", items), folder / "out"
    if len(inside) == len(items):
        with pytest.raises(UsageError, match=rf"`--labelled` \(={first}-{last}\) must leave .* holds \d+ of \d+$"):
            split_labelled(source, out, NUMBER, first, last)
        return
    assert split_labelled(source, out, NUMBER, first, last) == (2 * len(inside), 2 * (len(items) - len(inside)))
    labelled, rest = names(out / "labelled"), names(out / "rest")
    assert labelled | rest == names(source)
    assert not labelled & rest
    for name in names(source):
        (item,) = (int(found) for found in re.findall(NUMBER, name))
        assert (name in labelled) == (item in inside and "good" not in name)
        side = "labelled" if name in labelled else "rest"
        assert (out / side / name).read_bytes() == (source / name).read_bytes()


def test_both_sides_are_datasets(tmp_path: Path) -> None:
    split_labelled(dataset(tmp_path / "source", [1, 2, 3]), tmp_path / "out", NUMBER, 2, 2)
    assert [pair[0].stem for pair in labelled_images(tmp_path / "out" / "labelled", ImageSettings())] == [
        "item2_a",
        "item2_b",
    ]
    rest = read_truth(tmp_path / "out" / "rest")
    assert sorted((image.path.stem, image.mask is None) for image in rest) == [
        *((f"item1_{view}", False) for view in "ab"),
        ("item2_c", True),
        *((f"item3_{view}", False) for view in "ab"),
    ]


def test_what_cannot_be_split(tmp_path: Path) -> None:
    source = dataset(tmp_path / "source", [1, 2])
    for number, rule in (
        (r"part(\d+)", "does not fit the name of"),
        (r"item\d+", "no such group"),
        ("(item", "missing"),
    ):
        with pytest.raises(UsageError, match=rf"^`--number` \(={re.escape(number)}\) .*{rule}"):
            split_labelled(source, tmp_path / "out", number, 1, 1)
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(UsageError, match=r"`OUT` \(=.*used\) must be empty or not there"):
        split_labelled(source, tmp_path / "used", NUMBER, 1, 1)
    with pytest.raises(UsageError, match=r"`DATASET` \(=.*\) must have the MVTec AD layout: .*good is missing"):
        split_labelled(tmp_path, tmp_path / "out", NUMBER, 1, 1)


def test_as_a_command(tmp_path: Path) -> None:
    source, out = dataset(tmp_path / "source", [1, 2]), tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.labelled_split", str(source), str(out), "--number", NUMBER]
    done = subprocess.run(
        [*command, "--labelled", "2-2"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stdout == f"2 defective images in {out / 'labelled'}, 2 in {out / 'rest'}\n"


@pytest.mark.parametrize(
    ("labelled", "code", "said"),
    [
        ("3-4", "labelled_split: `--labelled` (=3-4) must leave defective images on both sides: it holds 0 of 4", ""),
        ("3", 2, "`--labelled` (=3) must have the form FIRST-LAST, for example 13-25\n"),
    ],
)
def test_a_range_that_is_none(
    labelled: str,
    code: str | int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = dataset(tmp_path / "source", [1, 2])
    given_arguments = [str(source), str(tmp_path / "out"), "--number", NUMBER, "--labelled", labelled]
    monkeypatch.setattr(sys, "argv", ["labelled_split", *given_arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code  # a text is said and ends with 1
    assert capsys.readouterr().err.endswith(said)
