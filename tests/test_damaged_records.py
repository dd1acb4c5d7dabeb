"""One damaged record of a run: every command that reads runs goes on, names it, ends with 3, and says what mends it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from pycocotools.coco import COCO
from typer.testing import CliRunner

from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.cli import app
from flawmap.inspect.commands.damaged_records import NAMED_MAX
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.run.recorded_run import read_recorded_run
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle
from tests.command_line import run as flawmap

SHAPE = (64, 80)
AGAIN = "records left out: 1; the command that made the run, given again, inspects their images again"
# Of pycocotools 2.0.11, with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated bundle, a dataset of three good images and a defective one, and the run over it."""
    folder = tmp_path_factory.mktemp("product")
    bundle = make_bundle(folder / "toy.bundle").folder
    good = [folder / f"good{seed}.png" for seed in range(10)]
    for seed, path in enumerate(good):
        write_image(path, good_image(*SHAPE, seed=100 + seed))
    calibrate_bundle(bundle, good, 0.1)
    data, mask = folder / "data", np.zeros(SHAPE, np.uint8)
    mask[10:50, 10:70] = 255
    for kind in ("test/good", "test/dot", "ground_truth/dot"):
        (data / kind).mkdir(parents=True)
    for seed in range(3):
        write_image(data / "test" / "good" / f"{seed}.png", good_image(*SHAPE, seed=seed))
    write_image(data / "test" / "dot" / "bad.png", good_image(*SHAPE, seed=3, defects=6))
    write_image(data / "ground_truth" / "dot" / "bad_mask.png", mask)
    inspect_folder([data / "test"], bundle, folder / "run", zoom=False)
    return folder


@pytest.fixture
def run_dir(product: Path, tmp_path: Path) -> Path:
    """A copy of the run in which the record of good/1.png is cut off."""
    run_dir = Path(shutil.copytree(product / "run", tmp_path / "run"))
    record = damaged_record(run_dir)
    record.write_bytes(record.read_bytes()[:200])
    return run_dir


def damaged_record(run_dir: Path) -> Path:
    (record,) = (path for path in (run_dir / "regions").iterdir() if path.name.startswith("good_1.png"))
    return record


def call(*words: object) -> Result:
    """The command's result, its one damaged record named."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 3, done.output
    assert "good_1.png" in done.stderr and "is not JSON" in done.stderr and AGAIN in done.stderr
    return done


def test_report(run_dir: Path) -> None:
    done = call("report", run_dir)
    assert done.stdout == f"{run_dir / 'index.html'}\n"
    page = (run_dir / "index.html").read_text("utf-8")
    assert "<b>Records left out: 1.</b>" in page and str(damaged_record(run_dir)) in page
    assert "good/0.png" in page and "dot/bad.png" in page


def test_convert(run_dir: Path, tmp_path: Path) -> None:
    call("convert", run_dir, "--to", "coco", "-o", tmp_path / "coco.json")
    names = [image["file_name"] for image in COCO(str(tmp_path / "coco.json")).dataset["images"]]
    assert names == ["dot/bad.png", "good/0.png", "good/2.png"]
    call("convert", run_dir, "--to", "pdf", "-o", tmp_path / "summary.pdf")
    assert (tmp_path / "summary.pdf").is_file()


def test_evaluate(run_dir: Path, product: Path) -> None:
    done = call("evaluate", run_dir, "--truth", product / "data")
    assert "2 good and 1 defective images" in done.stdout
    assert "1 record cannot be read and count nowhere below" in done.stdout
    (sentence,) = json.loads((run_dir / "metrics.json").read_text())["records_damaged"]
    assert sentence.startswith(f"{damaged_record(run_dir)} is not JSON")
    assert "1 records could not be read" in (run_dir / "evaluation" / "index.html").read_text("utf-8")


def test_drift(run_dir: Path) -> None:
    assert str(run_dir / "drift.json") in call("drift", run_dir, "--last", 2).stdout
    (model,) = json.loads((run_dir / "drift.json").read_text())["models"]
    assert model["n_images"] == 2


def test_the_same_inspection_again_mends_it(product: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    command = ("inspect", product / "data" / "test", "-m", product / "toy.bundle", "-o", run_dir)
    assert flawmap(*command).returncode == 0
    before = (run_dir / "regions.csv").read_bytes()
    damaged_record(run_dir).write_text("{")
    assert flawmap("report", run_dir).returncode == 3
    done = flawmap(*command)
    assert done.returncode == 0 and "inspecting 1/1" in done.stderr
    assert flawmap("report", run_dir).returncode == 0
    assert (run_dir / "regions.csv").read_bytes() == before


def test_records_of_which_none_can_be_read_are_no_run(run_dir: Path) -> None:
    for record in (run_dir / "regions").iterdir():
        record.write_text('{"image": 3}')
    with pytest.raises(UsageError, match=r"is not a record of this flawmap: `image`: Input should be a valid string"):
        read_recorded_run(run_dir)


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"image": NaN}', b"\xff\xfe", b"[]"])
def test_whoever_asks_for_one_record_gets_none(content: bytes, tmp_path: Path) -> None:
    """As `flawmap inspect` does, which then inspects the image again."""
    (tmp_path / "a.json").write_bytes(content)
    assert read_record(tmp_path / "a.json") is None
    assert read_record(tmp_path / "b.json") is None


def test_many_are_counted(run_dir: Path) -> None:
    for number in range(20):
        (run_dir / "regions" / f"x{number:02}.json").write_text("[]")
    done = CliRunner().invoke(app, ["report", str(run_dir)])
    assert done.exit_code == 3
    assert done.stderr.count("is not") == NAMED_MAX and "records left out: 21;" in done.stderr
