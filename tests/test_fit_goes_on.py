"""A training that was killed or interrupted goes on where it stood, and ends as an undisturbed one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from flawmap.tiling.images import write_image
from flawmap.training import checkpoint as checkpoints
from tests.products import draw_good, write_good
from tests.trainings import SAME, Told, assert_alike, curve, run

pytestmark = pytest.mark.usefixtures("opencv_threads")
BROKEN = {"steps": 24, "checkpoint_every": 8}

TRAIN_IN_A_PROCESS = """
import sys, warnings
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.products import tiny_config
from flawmap.training.fit import train
if __name__ == "__main__":
    def report(progress, text):
        print(text, flush=True)
    paths = sorted(Path({good!r}).glob("*.tif"))
    train(paths, tiny_config(**{sections!r}), Path({work!r}), device="cpu", report=report)
"""


def test_a_killed_training_goes_on_and_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    """SIGKILL to a real process, in the middle of a step."""
    sections = {**SAME, "learning": {"steps": 45, "checkpoint_every": 10, "validate_every": 25}}
    paths = write_good(tmp_path / "good", 5)
    undisturbed = run(tmp_path, work="undisturbed", paths=paths, **sections)
    code = TRAIN_IN_A_PROCESS.format(
        root=str(Path(__file__).parent.parent),
        good=str(tmp_path / "good"),
        work=str(tmp_path / "killed"),
        sections=sections,
    )
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.startswith("step 20,"):
                break
        resume = tmp_path / "killed" / "resume.ckpt"
        deadline = time.monotonic() + 60
        while not resume.is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.ckpt").exists()
    told = Told()
    resumed = run(tmp_path, told, work="killed", paths=paths, **sections)
    assert 0 not in told.steps()  # it did go on
    assert_alike(undisturbed, resumed)
    assert checkpoints.load(resumed).provenance["training_steps"] == 45
    keep = ("step", "learning_rate", "damaged", "clean", "head", "loss")
    for a, b in zip(curve(undisturbed), curve(resumed), strict=True):
        assert [float(a[k]) for k in keep] == pytest.approx([float(b[k]) for k in keep], rel=1e-3)
    assert not (tmp_path / "killed" / "resume.ckpt").exists()


class KilledError(Exception):
    pass


def kill() -> None:
    raise KilledError


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """Settings, images and resume file of a training that died at step 20 of 24."""
    folder = tmp_path_factory.mktemp("broken")
    paths = write_good(folder / "good", 5)
    with pytest.raises(KilledError):
        run(folder, Told(20, kill), paths=paths, learning=BROKEN)
    return folder / "work" / "resume.ckpt", paths


def resumed_steps(tmp_path: Path, broken: tuple[Path, list[Path]], **sections: Any) -> list[int]:
    """The steps that are told when a training is started beside that resume file."""
    (tmp_path / "work").mkdir()
    shutil.copyfile(broken[0], tmp_path / "work" / "resume.ckpt")
    told = Told()
    run(tmp_path, told, paths=broken[1], **sections)
    return told.steps()


def test_a_training_killed_after_its_last_step_does_not_learn_on(tmp_path: Path) -> None:
    paths = write_good(tmp_path / "good", 5)
    sections = {**SAME, "learning": {"steps": 12}}

    class DiesMeasuring(Told):
        def __call__(self, progress: float, text: str) -> None:
            if text.startswith("measuring"):
                raise KilledError

    undisturbed = run(tmp_path, work="a", paths=paths, **sections)
    with pytest.raises(KilledError):
        run(tmp_path, DiesMeasuring(), work="b", paths=paths, **sections)
    told = Told()
    resumed = run(tmp_path, told, work="b", paths=paths, **sections)
    assert told.steps() == []
    assert checkpoints.load(resumed).provenance["training_steps"] == 12
    assert_alike(undisturbed, resumed)


@pytest.mark.parametrize(
    ("changed", "goes_on"),
    [
        ({}, True),
        ({"learning": {"steps": 30, "minutes": 5}}, True),  # more of the same may follow
        ({"learning": {"seed": 1}}, False),
        ({"damage": {"most_per_tile": 2}}, False),
    ],
)
def test_only_the_same_training_is_resumed(
    tmp_path: Path, broken_off: tuple[Path, list[Path]], changed: dict[str, Any], goes_on: bool
) -> None:
    learning = BROKEN | {"steps": 21} | changed.get("learning", {})
    steps = resumed_steps(tmp_path, broken_off, **(changed | {"learning": learning}))
    assert (0 not in steps) == goes_on


def test_other_images_are_another_training(tmp_path: Path, broken_off: tuple[Path, list[Path]]) -> None:
    resume, paths = broken_off
    others = [Path(shutil.copy2(path, tmp_path)) for path in paths]
    write_image(others[0], draw_good(96, 96, seed=77))
    assert 0 in resumed_steps(tmp_path, (resume, others), learning=BROKEN | {"steps": 1})


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"PK\x03\x04 half a file", b"0", b"\x80\x04.", b"\x80\x02]q\x00."]
)
def test_a_broken_resume_file_starts_anew(tmp_path: Path, content: bytes) -> None:
    resume = tmp_path / "resume.ckpt"
    resume.write_bytes(content)
    assert checkpoints.resumable_step(resume, "same") is None
    torch.save({"flawmap": {"step": 7, "identity": "same"}}, resume)
    assert checkpoints.resumable_step(resume, "same") == 7
    assert checkpoints.resumable_step(resume, "other") is None
    resume.write_bytes(resume.read_bytes()[:-40])
    assert checkpoints.resumable_step(resume, "same") is None


def test_ctrl_c_is_a_keyboard_interrupt_and_what_is_done_stays_done(tmp_path: Path) -> None:
    paths = write_good(tmp_path / "good", 5)
    before = signal.getsignal(signal.SIGINT)
    told = Told(20, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, told, paths=paths, learning={"steps": 200, "checkpoint_every": 10})
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "work" / "resume.ckpt").is_file()
    assert not (tmp_path / "work" / "model.ckpt").exists()
    again = Told()
    run(tmp_path, again, paths=paths, learning={"steps": 24, "checkpoint_every": 10})
    assert 0 not in again.steps()
