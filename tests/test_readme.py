"""README.md keeps its word: every command in it is run, in its order, on a product drawn as the tour asks for it."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flawmap.sample_data.dataset import write_dataset

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BIN = Path(sys.executable).parent
# The tour lets the network learn for ten minutes; here it learns just enough to write a bundle.
HASTE = "--set learning.steps=6 --set network.channels=[8,12] --set tile.train_size=64"


def shell_lines() -> list[str]:
    """The lines of every ```sh block, comments and empty lines left out."""
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tour after every command of it has been run there."""
    folder = tmp_path_factory.mktemp("tour")
    product = folder / "my_product"
    write_dataset(product, surface="metal", size=(320, 384), train_good=8, test_good=2, test_defect=1)
    shutil.copytree(product / "train" / "good", product / "more_good")
    for command in flawmap_commands():
        words = shlex.split(command.replace("--minutes 10", HASTE))
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]], cwd=folder, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return folder


def flawmap_commands() -> list[str]:
    return [line for line in shell_lines() if line.startswith("flawmap ")]


def test_every_flawmap_command_of_the_tour_works(tour: Path) -> None:
    assert {command.split()[1] for command in flawmap_commands()} == {
        "doctor", "train", "inspect", "evaluate", "calibrate", "export", "report",
    }  # fmt: skip
    assert (tour / "my_run" / "index.html").is_file() and (tour / "my_run" / "metrics.json").is_file()


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [line.split()[1] for line in shell_lines() if line.startswith("make ")]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_columns_and_files_are_those_of_a_run(tour: Path) -> None:
    for table in ("images.csv", "regions.csv"):
        columns = (tour / "my_run" / table).read_text(encoding="utf-8").splitlines()[0].split(",")
        for column in columns:
            assert f"`{column}`" in README, f"README does not explain {column} of {table}"


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in link:
            assert (ROOT / link).exists(), link
