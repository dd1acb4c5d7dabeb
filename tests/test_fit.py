"""A whole training, small: what it leaves behind, that it learns, and what it refuses."""

import re
import time
from dataclasses import replace
from pathlib import Path

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
from flawmap.training.scoring import RawTile
from flawmap.training.tile_batches import TileDrawer
from tests.products import draw_good, good_images, silent, tiny_config, trained, untrained_model, write_good
from tests.trainings import Told, assert_alike, curve, run

pytestmark = pytest.mark.usefixtures("opencv_threads")


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


def test_a_checkpoint_of_before_there_was_a_padding_was_shown_reflections(tmp_path: Path) -> None:
    content = torch.load(trained()[0], weights_only=True)
    assert content["config"]["tile"].pop("padding") == "replicate"
    torch.save(content | {"flawmap_checkpoint": 2}, tmp_path / "old.ckpt")
    assert checkpoints.load(tmp_path / "old.ckpt").config.tile.padding == "reflect"


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`CHECKPOINT` \(=.*none\.ckpt\) .* there is no such file"):
        checkpoints.load(tmp_path / "none.ckpt")
    for content in (b"", b"rubbish", b"PK\x03\x04"):
        (tmp_path / "bad.ckpt").write_bytes(content)
        with pytest.raises(UsageError, match=r"`CHECKPOINT` \(=.*bad\.ckpt\) is not a flawmap checkpoint: \S"):
            checkpoints.load(tmp_path / "bad.ckpt")
    torch.save({"weights": 99}, tmp_path / "new.ckpt")
    with pytest.raises(UsageError, match=r"must be a model\.ckpt that `flawmap train` wrote"):
        checkpoints.load(tmp_path / "new.ckpt")
    torch.save({"flawmap_checkpoint": 1}, tmp_path / "new.ckpt")
    with pytest.raises(UsageError, match=r"is of format 1, this flawmap reads 2 to 4: train again"):
        checkpoints.load(tmp_path / "new.ckpt")
    torch.save([1], tmp_path / "list.ckpt")
    with pytest.raises(UsageError, match=r"must be a model\.ckpt"):
        checkpoints.load(tmp_path / "list.ckpt")


def test_default_settings_build() -> None:
    """The shipped network, not a tiny one: its stride and receptive field are what the configuration relies on."""
    network = fit.build_network(TrainConfig(), 1)
    assert (network.stride, network.receptive_field) == (8, 96)
    assert TrainConfig().tile.border % network.stride == 0 == TrainConfig().tile.train_size % network.stride
