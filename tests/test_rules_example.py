"""The worked example of docs/rules.md does what it says there: its drawing, its part description, its table."""

import csv
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flawmap.inspect.cli import app

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "rules.md").read_text("utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def table_of_page() -> list[dict[str, str]]:
    """The table below "`run/regions.csv`, some of its columns"."""
    lines = PAGE[PAGE.index("some of its columns:") :].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def commands() -> list[list[str]]:
    """What stands behind `$ flawmap` in the worked example."""
    example = PAGE[PAGE.index("## A worked example") :]
    return [line.split() for line in re.findall(r"^    \$ flawmap (.*)$", example, re.MULTILINE)]


def test_the_worked_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "part.yaml").write_text(block("yaml"), encoding="utf-8")
    exec(compile(block("python"), "docs/rules.md", "exec"), {})
    for arguments in commands():
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert (
        "1 images on cpu: 0 OK, 0 REVIEW, 1 NG, 0 ERROR\n1 region dropped by rules\nrun/index.html\n" in result.output
    )
    with (tmp_path / "run" / "regions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = table_of_page()
    assert len(rows) == len(expected) == 6
    for row, said in zip(rows, expected, strict=True):
        for name, value in said.items():
            if re.fullmatch(r"-?[0-9]+\.[0-9]+", value):
                assert float(row[name]) == pytest.approx(float(value), abs=0.06 if name == "contrast" else 0.006)
            else:
                assert row[name] == value
