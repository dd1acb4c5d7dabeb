"""A whole training, small: what it leaves behind, that it learns, and that a killed one goes on where it stood."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from flawmap.tiling.errors import DeviceError, ImageError, UsageError
from flawmap.tiling.images import write_image
from flawmap.training import checkpoint as checkpoints
from flawmap.training import fit
from flawmap.training.camera import Camera
from flawmap.training.config import TrainConfig
from flawmap.training.fit import choose_accelerator, train
from flawmap.training.good_images import Normalisation
from flawmap.training.learner import MINING_AT, Learner
from flawmap.training.schedule import FINAL_RATE, WARM_UP, Schedule
from flawmap.training.scoring import RawTile
from flawmap.training.tile_batches import TileDrawer
from tests.products import draw_good, good_images, silent, tiny_config, trained, untrained_model, write_good

# Mined places depend on the clock, so that where two runs must end alike none are shown.
SAME = {"damage": {"hard_share": 0.0}}
BROKEN = {"steps": 24, "checkpoint_every": 8}


class Told:
    """A `Report` that remembers, and does something at one step."""

    def __init__(self, at: int = 10**9, act: Any = None) -> None:
        self.at, self.act, self.lines = at, act, list[tuple[float, str]]()

    def __call__(self, progress: float, text: str) -> None:
        self.lines.append((progress, text))
        if text.startswith(f"step {self.at},"):
            self.act()

    def steps(self) -> list[int]:
        return [int(text.split()[1].rstrip(",")) for _, text in self.lines if text.startswith("step ")]


def run(
    tmp_path: Path, report: Any = silent, work: str = "work", paths: list[Path] | None = None, **sections: Any
) -> Path:
    paths = paths or write_good(tmp_path / "good", 5)
    return train(paths, tiny_config(**sections), tmp_path / work, device="cpu", report=report)


def curve(checkpoint: Path) -> list[dict[str, str]]:
    with (checkpoint.parent / "training.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return checkpoints.load(checkpoint).model.state_dict()


def assert_alike(a: Path, b: Path) -> None:
    ours, theirs = weights(a), weights(b)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.fixture(autouse=True)
def opencv_threads() -> Any:
    """A training turns OpenCV's thread pool off for its process; other tests are not trainings."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def test_a_training_leaves_checkpoint_curve_and_picture() -> None:
    path, images, config = trained()
    assert {p.name for p in path.parent.iterdir()} == {"model.ckpt", "training.csv", "training.png"}
    picture = cv2.imdecode(np.fromfile(path.parent / "training.png", np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape[0] > 400
    assert picture.std() > 10
    loaded = checkpoints.load(path)
    assert loaded.config == config
    assert (loaded.n_channels, loaded.dtype, loaded.folder) == (1, np.uint8, path.parent)
    assert sorted(loaded.split.train + loaded.split.standardise + loaded.split.calibrate) == sorted(images)
    assert loaded.provenance["training_steps"] == 60
    assert loaded.provenance["images_trained_on"] == len(loaded.split.train)
    assert not loaded.model.training


def test_a_training_learns() -> None:
    rows = curve(trained()[0])
    assert [int(float(row["step"])) for row in rows] == [0, 20, 40]
    # Clean pixels are alike in every batch; how much a batch is damaged differs more than so few steps teach.
    assert float(rows[-1]["clean"]) < 0.8 * float(rows[0]["clean"])
    checked = [float(row["validation_loss"]) for row in rows if row["validation_loss"]]
    assert checked[-1] < checked[0]


def test_proof_tiles_are_held_out_and_every_second_one_is_damaged() -> None:
    tiles = checkpoints.load(trained()[0]).proof_tiles
    assert tiles.dtype == np.uint8
    assert tiles.shape[1] % 4 == 0
    middle = tiles.shape[1] // 2
    for i, tile in enumerate(tiles):
        assert (len(np.unique(tile[middle - 4 : middle + 5, middle - 4 : middle + 5])) == 1) == (i % 2 == 1)


def test_good_held_out_pixels_hardly_ever_score_above_0() -> None:
    """Either kind of evidence reaches its 0 about once a megapixel, away from tile edges."""
    loaded = checkpoints.load(trained()[0])
    with torch.no_grad():
        score, _ = loaded.model(torch.from_numpy(loaded.proof_tiles[::2]))
    inner = score[:, 24:-24, 24:-24]
    assert float((inner < 0).float().mean()) > 0.999
    assert float(inner.max()) > -8  # each kind short of its 0 by less than 10^4 on a tenth of a megapixel


@pytest.mark.parametrize("loss", ["mse", "l1", "bce", "ssim", "charbonnier"])
def test_the_autoencoder_trains_with_every_loss(tmp_path: Path, loss: str) -> None:
    learning = {"loss": loss, "steps": 3, "validate_every": 2}
    path = run(tmp_path, network={"kind": "autoencoder", "latent_size": 8}, learning=learning, tile={"border": 0})
    assert all(np.isfinite(float(row["loss"])) for row in curve(path))
    assert checkpoints.load(path).proof_tiles.shape[1:] == (64, 64)


@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 1), ("float32", 1), ("uint8", 3)])
def test_every_kind_of_image_trains(tmp_path: Path, dtype: str, channels: int) -> None:
    paths = write_good(tmp_path / "good", 4, dtype=dtype, channels=channels, side=64)
    loaded = checkpoints.load(run(tmp_path, paths=paths, learning={"steps": 2}))
    assert (loaded.dtype, loaded.n_channels) == (np.dtype(dtype), channels)


def test_images_smaller_than_a_tile_train(tmp_path: Path) -> None:
    paths = write_good(tmp_path / "good", 4, side=20)
    assert run(tmp_path, paths=paths, learning={"steps": 2}).is_file()


@pytest.mark.parametrize(("kind", "loss"), [("autoencoder", "bce"), ("autoencoder", "ssim"), ("repair", "l1")])
def test_half_precision_is_for_the_network_only(kind: str, loss: str) -> None:
    """As on a GPU with mixed precision: binary cross-entropy would refuse there, and SSIM lose its variances."""
    config = tiny_config(network={"kind": kind, "latent_size": 8}, learning={"loss": loss})
    drawer = TileDrawer(good_images(2), Normalisation((0.0,), (255.0,)), Camera(0.01, 0.5), config)
    learner = Learner(untrained_model(config), config, drawer, Path("none"), silent)
    batch = drawer.batch((0,), 2)
    exact = learner.losses(batch)["loss"].detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = learner.losses(batch)["loss"].detach()
    assert rough.dtype == torch.float32
    assert float(rough) == pytest.approx(float(exact), rel=0.05)


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


def test_minutes_end_a_training(tmp_path: Path) -> None:
    started = time.monotonic()
    path = run(tmp_path, learning={"steps": 10**6, "minutes": 1.5 / 60})
    assert 0 < checkpoints.load(path).provenance["training_steps"] < 1000
    assert time.monotonic() - started < 60
    rates = [float(row["learning_rate"]) for row in curve(path)]
    assert rates[-1] <= max(rates)


def test_a_training_that_the_clock_cut_short_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, learning={"steps": 100_000, "minutes": 0.02})
    assert re.search(r"the network learned \d+ steps in \d\.\d minutes, .* fewer than 1500 leave", caplog.text)


def test_a_training_of_as_many_steps_as_asked_for_says_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(tmp_path, learning={"steps": 3})
    assert "the network learned" not in caplog.text


def test_a_training_that_no_longer_gets_better_stops(tmp_path: Path) -> None:
    learning = {"steps": 10**6, "learning_rate": 1e-12, "weight_decay": 0, "validate_every": 2, "patience": 2}
    path = run(tmp_path, learning=learning)
    assert checkpoints.load(path).provenance["training_steps"] < 100


def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"diverged.*`learning\.learning_rate` \(=1e\+20\)"):
        run(tmp_path, learning={"learning_rate": 1e20, "steps": 60})
    assert not (tmp_path / "work" / "model.ckpt").exists()


def test_mining_happens_where_it_should(tmp_path: Path) -> None:
    told = Told()
    run(tmp_path, told, learning={"steps": 20})
    mined = [progress for progress, text in told.lines if "hard places" in text]
    assert mined == pytest.approx(MINING_AT)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(
        DeviceError, match=r"`--device` \(=cuda\) is not available here: torch .* finds no CUDA device"
    ) as told:
        train([], tiny_config(), tmp_path / "work", device="cuda", report=silent)
    assert told.value.exit_code == 4
    assert not (tmp_path / "work").exists()
    assert choose_accelerator("auto") == choose_accelerator("cpu") == "cpu"


def test_too_few_images(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="3 good images found, at least 4 are needed"):
        run(tmp_path, paths=write_good(tmp_path / "good", 3))


@pytest.mark.parametrize("position", range(4))
def test_images_of_two_kinds(tmp_path: Path, position: int) -> None:
    """Wherever the odd one lands: also alone among the held-out ones. Calibration would refuse it by itself."""
    paths = write_good(tmp_path / "good", 4)
    write_image(paths[position], draw_good(96, 96, channels=3))
    config = tiny_config(learning={"steps": 1})
    if paths[position] in fit.split_images(paths, config.split, config.learning.seed).calibrate:
        return
    with pytest.raises(
        UsageError, match=r"good images differ: .* is (mono|RGB) uint8, .* is (mono|RGB) uint8; a bundle"
    ):
        train(paths, config, tmp_path / "work", device="cpu", report=silent)


def test_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    paths = write_good(tmp_path / "good", 5)
    for path in paths:
        path.write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"\d{3}\.tif"):
        run(tmp_path, paths=paths)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        ({"train_size": 66}, r"`tile\.train_size` \(=66\) must be a multiple of the network's stride \(=4\)"),
        ({"border": 17}, r"`tile\.border` \(=17\) must be a multiple of the network's stride \(=4\)"),
    ],
)
def test_tiles_that_the_network_cannot_take(tmp_path: Path, tile: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        run(tmp_path, tile=tile)


def test_what_does_not_fit_the_memory_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = write_good(tmp_path / "good", 14)
    run(tmp_path, paths=paths, learning={"steps": 1, "cache_gib": 1e-6})
    assert "5 of 9 images left out: `learning.cache_gib` is full" in caplog.text


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = trained()[0]
    loaded = checkpoints.load(path)
    checkpoints.save(
        tmp_path / "again.ckpt",
        loaded.model,
        loaded.config,
        loaded.split,
        RawTile(loaded.proof_tiles),
        None,
        loaded.provenance,
    )
    again = checkpoints.load(tmp_path / "again.ckpt")
    assert_alike(path, tmp_path / "again.ckpt")
    assert replace(again, model=loaded.model, proof_tiles=loaded.proof_tiles, folder=loaded.folder) == loaded
    np.testing.assert_array_equal(again.proof_tiles, loaded.proof_tiles)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`CHECKPOINT` \(=.*none\.ckpt\) .* there is no such file"):
        checkpoints.load(tmp_path / "none.ckpt")
    for content in (b"", b"rubbish", b"PK\x03\x04"):
        (tmp_path / "bad.ckpt").write_bytes(content)
        with pytest.raises(UsageError, match=r"`CHECKPOINT` \(=.*bad\.ckpt\) is not a flawmap checkpoint: \S"):
            checkpoints.load(tmp_path / "bad.ckpt")
    torch.save({"flawmap_checkpoint": 99}, tmp_path / "new.ckpt")
    with pytest.raises(UsageError, match=r"must be a model\.ckpt that `flawmap train` wrote, of format 2"):
        checkpoints.load(tmp_path / "new.ckpt")
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(UsageError, match=r"must be a model\.ckpt"):
        checkpoints.load(tmp_path / "list.ckpt")


def test_the_schedule_warms_up_and_comes_down() -> None:
    schedule = Schedule(1000, None)
    rates = []
    for step in range(1001):
        schedule.step = step
        rates.append(schedule.rate())
    top = int(np.argmax(rates))
    assert top == pytest.approx(1000 * WARM_UP, abs=1)
    assert rates[top] == pytest.approx(1)
    assert all(np.diff(rates[: top + 1]) >= 0)
    assert all(np.diff(rates[top:]) <= 0)
    assert rates[0] > 0
    assert rates[-1] == pytest.approx(FINAL_RATE)
    middle = (1000 + top) // 2
    assert rates[middle] == pytest.approx((1 + FINAL_RATE) / 2, abs=0.01)


def test_the_schedule_follows_whatever_runs_out_first() -> None:
    assert Schedule(100, 1.0, step=50).progress == pytest.approx(0.5, abs=0.01)
    assert Schedule(10**6, 1.0, step=5, seconds_before=45.0).progress == pytest.approx(0.75, abs=0.01)
    assert Schedule(100, 1.0, step=90, seconds_before=6.0).progress == pytest.approx(0.9, abs=0.01)
    assert Schedule(100, None, step=300).progress == 1.0


def test_default_settings_build() -> None:
    """The shipped network, not a tiny one: its stride and receptive field are what the configuration relies on."""
    network = fit.build_network(TrainConfig(), 1)
    assert (network.stride, network.receptive_field) == (8, 96)
    assert TrainConfig().tile.border % network.stride == 0 == TrainConfig().tile.train_size % network.stride
