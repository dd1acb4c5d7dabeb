"""The part description: what people write beside the pictures, and what is wrong with it."""

from pathlib import Path

import pytest

from flawmap.export.part_record import Part, read_part
from flawmap.tiling.errors import UsageError


def test_an_empty_description_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "part.yaml"
    file.write_text("# nothing yet\nwhere:\n")
    assert read_part(file) == Part()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a\n- b", r"`--part` \(=.*part.yaml\) must hold settings as `key: value`, not list"),
        ("a: [", r"`--part` \(=.*part.yaml\) is not valid YAML"),
        ("wheer: {}", r"unknown setting `wheer`: did you mean `where`\?"),
    ],
)
def test_a_wrong_description_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "part.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_part(file)


def test_a_description_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`--part` \(=.*none.yaml\) cannot be read: No such file"):
        read_part(tmp_path / "none.yaml")
