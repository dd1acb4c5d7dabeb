"""The split of good images: disjoint, complete, by image, and always the same."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.tiling.errors import UsageError
from flawmap.training.config import SplitSettings
from flawmap.training.split import FEWEST, split_images

DEFAULT = SplitSettings()


def names(count: int) -> list[Path]:
    return [Path(f"{i:04}.png") for i in range(count)]


@given(
    count=st.integers(FEWEST, 200),
    seed=st.integers(0, 99),
    shares=st.tuples(st.floats(0.01, 0.3), st.floats(0.01, 0.3)),
)
def test_parts_are_disjoint_and_complete(count: int, seed: int, shares: tuple[float, float]) -> None:
    settings = SplitSettings(calibrate_share=shares[0], standardise_share=shares[1])
    split = split_images(names(count), settings, seed)
    assert Counter(split.train + split.standardise + split.calibrate) == Counter(names(count))
    assert min(len(split.standardise), len(split.calibrate)) >= 1
    assert len(split.train) >= 2
    assert abs(len(split.calibrate) - count * shares[0]) <= 1
    assert abs(len(split.standardise) - count * shares[1]) <= 1


@given(count=st.integers(FEWEST, 60), seed=st.integers(0, 99))
def test_the_same_paths_and_seed_give_the_same_parts(count: int, seed: int) -> None:
    assert split_images(names(count), DEFAULT, seed) == split_images(names(count), DEFAULT, seed)


def test_another_seed_gives_other_parts() -> None:
    assert len({tuple(split_images(names(40), DEFAULT, seed).calibrate) for seed in range(10)}) > 5


def test_held_out_images_are_drawn_from_everywhere() -> None:
    """Not the last ones of a folder: those were taken on the same day."""
    drawn = Counter(path for seed in range(200) for path in split_images(names(20), DEFAULT, seed).calibrate)
    assert set(drawn) == set(names(20))
    assert max(drawn.values()) < 2 * min(drawn.values())


def test_parts_are_sorted() -> None:
    split = split_images(names(50), DEFAULT, 3)
    for part in (split.train, split.standardise, split.calibrate):
        assert part == sorted(part)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 good images"), (1, "1 good image"), (2, "2 good images"), (3, "3 good images")]
)
def test_too_few_images(count: int, text: str) -> None:
    with pytest.raises(
        UsageError, match=rf"^{text} found, at least 4 are needed: 2 to learn from, 1 .* 1 to calibrate on$"
    ):
        split_images(names(count), DEFAULT, 0)


def test_four_images_are_enough() -> None:
    split = split_images(names(4), DEFAULT, 0)
    assert (len(split.train), len(split.standardise), len(split.calibrate)) == (2, 1, 1)


@pytest.mark.parametrize(("count", "shares"), [(4, (0.5, 0.1)), (6, (0.6, 0.3)), (10, (0.5, 0.4)), (8, (0.9, 0.05))])
def test_shares_that_leave_too_few(count: int, shares: tuple[float, float]) -> None:
    settings = SplitSettings(calibrate_share=shares[0], standardise_share=shares[1])
    with pytest.raises(
        UsageError, match=rf"leave \d of {count} good images to learn from, at least 2 are needed: lower"
    ) as told:
        split_images(names(count), settings, 0)
    needed = int(str(told.value).split("give ")[1].split(" good")[0])
    assert needed > count
    assert len(split_images(names(needed), settings, 0).train) >= 2  # what the message advises is enough


def test_shares_that_leave_nobody() -> None:
    settings = SplitSettings(calibrate_share=0.6, standardise_share=0.5)
    message = r"`split\.calibrate_share` \(=0\.6\) and `split\.standardise_share` \(=0\.5\) leave 0 of 50 .*: lower"
    with pytest.raises(UsageError, match=rf"{message} the shares$"):
        split_images(names(50), settings, 0)
