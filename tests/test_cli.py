"""The command line as a shell sees it: messages, exit codes, what is loaded. Every test runs the installed command."""

import csv
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle
from tests.command_line import FLAWMAP, run
from tests.products import write_good


def images_of(run_dir: Path) -> list[dict[str, str]]:
    """The rows of images.csv."""
    with (run_dir / "images.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "toy.bundle"
    make_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good parts and one with dots."""
    folder = tmp_path_factory.mktemp("parts")
    for i, defects in enumerate((0, 0, 3)):
        write_image(folder / f"part-{i}.png", good_image(150, 200, seed=i, defects=defects))
    return folder


def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in (
        "train",
        "calibrate",
        "export",
        "inspect",
        "evaluate",
        "report",
        "doctor",
        "demo",
        "watch",
        "drift",
        "convert",
    ):
        assert command in done.stdout


def test_help_cuts_no_line_short() -> None:
    listed = run("--help").stdout.partition("Commands:")[2]
    assert all(line.endswith(".") and not line.endswith("...") for line in listed.split("\n") if line)


def test_version() -> None:
    done = run("--version")
    assert done.returncode == 0 and done.stdout == f"flawmap {version('flawmap')}\n"


def test_a_good_folder_ends_with_0(bundle: Path, parts: Path, tmp_path: Path) -> None:
    done = run("inspect", parts, "-m", bundle, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "3 images on cpu: 2 OK, 0 REVIEW, 1 NG, 0 ERROR" in done.stdout
    assert str(tmp_path / "run" / "index.html") in done.stdout
    assert [row["verdict"] for row in images_of(tmp_path / "run")] == ["OK", "OK", "NG"]
    assert "note: calibrated on 10 good images: a rate of 0.1 false regions an image was counted on few" in done.stderr
    strict = run("inspect", parts, "-m", bundle, "-o", tmp_path / "strict", "--false-alarms", "0.001")
    assert "note: calibrated on 10 good images: a rate of 0.001 false regions an image is extrapolated" in strict.stderr
    assert "12000 good images would measure it" in (tmp_path / "strict" / "index.html").read_text(encoding="utf-8")
    assert run("report", tmp_path / "run").stdout.strip() == str(tmp_path / "run" / "index.html")


def test_an_ng_ends_with_1_only_when_asked(bundle: Path, parts: Path, tmp_path: Path) -> None:
    assert run("inspect", parts, "-m", bundle, "-o", tmp_path / "run", "--fail-on-ng").returncode == 1
    good = parts / "part-0.png"
    assert run("inspect", good, "-m", bundle, "-o", tmp_path / "good", "--fail-on-ng").returncode == 0


def test_an_image_that_cannot_be_inspected_ends_with_3(bundle: Path, parts: Path, tmp_path: Path) -> None:
    bad = tmp_path / "note.png"
    bad.write_text("no image")
    done = run("inspect", parts, bad, "-m", bundle, "-o", tmp_path / "run", "--fail-on-ng")
    assert done.returncode == 3
    assert "1 ERROR" in done.stdout
    assert "not inspected: 1; " in done.stderr and "images.csv says why" in done.stderr


def test_a_device_that_is_not_there_ends_with_4(bundle: Path, parts: Path, tmp_path: Path) -> None:
    done = run("inspect", parts, "-m", bundle, "-o", tmp_path / "run", "--device", "tensorrt")
    assert done.returncode == 4
    assert "flawmap: `--device` (=tensorrt) is not available here" in done.stderr
    done = run("train", parts, "-o", tmp_path / "x.bundle", "--device", "cuda")
    assert done.returncode == 4
    assert "`--device` (=cuda) is not available here" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "nowhere", "-m", "BUNDLE", "-o", "run"], "nowhere"),
        (["inspect", "PARTS", "-m", "nowhere", "-o", "run"], "`bundle` (=nowhere) is not there"),
        (["inspect", "PARTS", "-m", "BUNDLE", "-o", "run", "--false-alarms", "0"], "`--false-alarms` (=0) must lie"),
        (["inspect", "PARTS", "-m", "BUNDLE", "-o", "run", "--workers", "0"], "`--workers` (=0) must be at least 1"),
        (["report", "PARTS"], "holds no run.json"),
        (["evaluate", "PARTS", "--truth", "PARTS"], "holds no run.json"),
        (["train", "nowhere", "-o", "x.bundle"], "nowhere"),
        (["train", "PARTS", "-o", "x.bundle"], "3 good images found, at least 4 are needed"),
        (["train", "PARTS", "-o", "x.bundle", "--set", "learning.step=5"], "did you mean `learning.steps`?"),
        (["train", "PARTS", "-o", "x.bundle", "--minutes", "-1"], "`learning.minutes` (=-1.0)"),
        (["train", "PARTS", "-o", "x.bundle", "-c", "no.yaml"], "`--config` (=no.yaml) cannot be read"),
        (["export", "no.ckpt", "-o", "x.bundle"], "`CHECKPOINT` (=no.ckpt)"),
        (["calibrate", "nowhere", "PARTS"], "`bundle` (=nowhere) is not there"),
    ],
)  # fmt: skip
def test_wrong_use_ends_with_2(arguments: list[str], message: str, bundle: Path, parts: Path, tmp_path: Path) -> None:
    places = {"BUNDLE": str(bundle), "PARTS": str(parts)}
    done = run(*(places.get(argument, argument) for argument in arguments), cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("flawmap: ") and message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_tiles_that_cannot_work_are_refused_before_learning(tmp_path: Path) -> None:
    write_good(tmp_path / "good", 4)
    command = ["train", tmp_path / "good", "-o", tmp_path / "x.bundle", "--set", "tile.size=256"]
    done = run(*command, "--set", "tile.overlap=256")
    assert done.returncode == 2
    assert "flawmap: `tile.overlap` (=256) must be smaller than `tile.size` (=256)" in done.stderr
    assert not (tmp_path / "x.bundle.work" / "model.ckpt").exists()


def test_an_option_that_does_not_exist_ends_with_2() -> None:
    assert run("inspect", "--fluffy").returncode == 2


def test_calibrate_says_when_images_are_few(bundle: Path, parts: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path / "toy.bundle")
    done = run("calibrate", tmp_path / "toy.bundle", parts, "--false-alarms", "0.1")
    assert done.returncode == 0, done.stderr
    assert "calibrated on 3 good images" in done.stderr and "120 good images would measure it" in done.stderr
    assert "now allows" not in done.stderr
    assert run("inspect", parts, "-m", tmp_path / "toy.bundle", "-o", tmp_path / "run").returncode == 0


def test_calibrate_says_when_the_rate_changes(parts: Path, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "toy.bundle").folder
    assert "allows 0.02 false regions" in run("calibrate", folder, parts, "--false-alarms", "0.02").stderr
    done = run("calibrate", folder, parts)
    assert done.returncode == 0
    assert "now allows 0.1 false regions on a good image, before it was 0.02 (`--false-alarms 0.02` " in done.stderr


def test_doctor_looks_at_this_machine() -> None:
    done = run("doctor")
    assert done.returncode == 0, done.stdout
    assert "onnxruntime" in done.stdout and "PROBLEM" not in done.stdout


def test_inspecting_and_helping_never_load_torch(bundle: Path, parts: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from flawmap.inspect.cli import app\n"
        f"words = ['inspect', {str(parts)!r}, '-m', {str(bundle)!r}, '-o', {str(tmp_path / 'run')!r}]\n"
        "app(words, standalone_mode=False)\n"
        "assert not {'torch', 'albumentations', 'pytorch_lightning'} & set(sys.modules), 'training was loaded'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    for i in range(40):
        write_image(folder / f"{i}.png", good_image(700, 900, seed=i))
    command = [str(FLAWMAP), "inspect", str(folder), "-m", str(bundle), "-o", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    records = tmp_path / "run" / "regions"
    until = time.monotonic() + 120
    while not (records.is_dir() and len(list(records.glob("[!.]*.json"))) >= 2) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said
    assert 2 <= len(images_of(tmp_path / "run")) < 40
    assert run(*command[1:]).returncode == 0
    assert len(images_of(tmp_path / "run")) == 40


def test_ctrl_c_while_learning_keeps_the_checkpoint(tmp_path: Path) -> None:
    good = tmp_path / "good"
    write_good(good, 5)
    tiny = ["network.channels=[8,12]", "tile.train_size=64", "tile.border=16", "learning.checkpoint_every=5"]
    settings = [word for setting in tiny for word in ("--set", setting)]
    process = subprocess.Popen(
        [str(FLAWMAP), "train", str(good), "-o", str(tmp_path / "x.bundle"), *settings],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    resume = tmp_path / "x.bundle.work" / "resume.ckpt"
    until = time.monotonic() + 200
    while not resume.is_file() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted" in said and "Traceback" not in said
    assert resume.is_file() and not (tmp_path / "x.bundle").exists()
