"""`flawmap convert`: the command, where it writes, and runs with a recipe."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.folder import inspect_folder
from flawmap.tiling.errors import UsageError
from tests.command_line import run as flawmap
from tests.exchange.pdf_text import pdf_text
from tests.stations import write_recipe
from tests.written_runs import image_record, run_info, write_run


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Path]:
    write_run(tmp_path / "run", [image_record("a.png")], run_info())
    yield tmp_path / "run"


def test_the_command_says_where_it_wrote(plain: Path, tmp_path: Path) -> None:
    done = flawmap("convert", plain, "--to", "coco", "-o", tmp_path / "coco.json")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'coco.json'}\n")
    done = flawmap("convert", plain, "--to", "parquet", "-o", tmp_path / "tables")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'tables'}: 2 files\n")


@pytest.mark.parametrize(
    ("to", "output", "message"),
    [
        (Format.COCO, "folder", r"`-o` \(=.*folder\) must be a file that ends in .json: `--to coco` writes one"),
        (Format.PDF, "x.json", r"`-o` \(=.*x.json\) must be a file that ends in .pdf: `--to pdf` writes one"),
        (Format.PARQUET, "file.txt", r"`-o` \(=.*file.txt\) must be a folder: `--to parquet` writes several files"),
        (Format.LABELME, "run/regions", r"`-o` \(=.*\) must not lie in `regions/` of the run"),
        (Format.COCO, "run/page/x.json", r"`-o` \(=.*\) must not lie in `page/` of the run"),
        (Format.COCO, "run/run.json", r"`-o` \(=.*run.json\) is a file of the run itself"),
        (Format.COCO, "file.txt/x.json", r"`-o` \(=.*x.json\) cannot be written: "),
    ],
)
def test_wrong_outputs_are_named(plain: Path, tmp_path: Path, to: Format, output: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("kept")
    before = sorted(plain.rglob("*"))
    with pytest.raises(UsageError, match=message):
        convert(plain, to, tmp_path / output)
    assert sorted(plain.rglob("*")) == before and (tmp_path / "file.txt").read_text() == "kept"


def test_no_run_and_no_such_format(tmp_path: Path) -> None:
    done = flawmap("convert", tmp_path, "--to", "coco", "-o", tmp_path / "x.json")
    assert done.returncode == 2 and "holds no run.json" in done.stderr
    done = flawmap("convert", tmp_path, "--to", "excel", "-o", tmp_path / "x.json")
    assert done.returncode == 2 and "'coco'" in done.stderr.replace("’", "'")


def test_without_pyarrow_parquet_says_what_to_install(plain: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from flawmap.inspect.convert import convert\n"
        "from flawmap.inspect.exchange.formats import Format\n"
        f"convert(Path({str(plain)!r}), Format.PARQUET, Path({str(tmp_path / 'out')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs pyarrow, which is not installed: pip install 'flawmap[export]'" in done.stderr


def test_a_run_with_a_recipe(station: Path, mixed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    inspect_folder([mixed], write_recipe(station), run, heatmaps=True, zoom=False)
    for to, output in (
        (Format.COCO, "coco.json"),
        (Format.PDF, "s.pdf"),
        (Format.PARQUET, "t"),
        (Format.OME_TIFF, "o"),
    ):
        convert(run, to, tmp_path / output)
    told = json.loads((tmp_path / "coco.json").read_text())
    assert {(image["part"], image["camera"]) for image in told["images"]} >= {("B", "top"), ("C", "side2")}
    parts = {row["part"]: row for row in parquet.read_table(tmp_path / "t" / "parts.parquet").to_pylist()}
    with (run / "parts.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert parts[row["part"]]["verdict"] == row["verdict"]
            assert parts[row["part"]]["missing_cameras"] == [name for name in row["missing_cameras"].split(";") if name]
    assert parts["D"]["verdict"] == "ERROR" and parts["D"]["severity"] is None
    assert len(list((tmp_path / "o").iterdir())) == 11
    assert "no picture of side2" in pdf_text(tmp_path / "s.pdf")
