"""The baselines that are networks: each shipped file trains, exports, inspects, is evaluated, and is what it says."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from flawmap.export.bundle import read_bundle
from flawmap.export.bundle_writer import tile_info, write_bundle
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.tiling.errors import UsageError
from flawmap.training import checkpoint as checkpoints
from flawmap.training.autoencoder import BottleneckAutoencoder, ConvolutionalAutoencoder
from flawmap.training.config import TrainConfig, load_config
from flawmap.training.fit import train
from flawmap.training.losses import activity_loss, ssim_map
from flawmap.training.tile_geometry import needed_overlap, score_receptive_field
from tests.evaluating import assert_defect_stands_out, write_dataset
from tests.products import draw_good, silent, tiny_config, untrained_model, write_good, write_untrained

BASELINES = Path(__file__).parent.parent / "configs" / "baselines"
QUICK = [
    "tile.train_size=64", "network.channels=[8,12]", "learning.steps=8", "learning.batch_size=4",
    "learning.validate_every=8", "learning.checkpoint_every=8",
]  # fmt: skip
CARD = {
    "convolutional_l1": "convolutional autoencoder, no bottleneck",
    "latent16": "bottleneck autoencoder, latent size 16",
    "shrink2048": "larger images are shrunk to 96 px first",
    "ssim": "compared by SSIM",
}


@pytest.fixture(autouse=True)
def opencv_threads() -> Iterator[None]:
    """A training turns OpenCV's thread pool off for its process."""
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


def settings_of(name: str, *overrides: str) -> TrainConfig:
    return load_config(BASELINES / f"{name}.yaml", list(overrides))


@pytest.mark.parametrize("path", sorted(BASELINES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_says_which_question_it_answers_and_loads(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert "?" in text[: text.index("\n\n") if "\n\n" in text else text.index("\nproduct:")]
    assert isinstance(load_config(path), TrainConfig)


@pytest.mark.parametrize("name", CARD)
def test_every_network_goes_from_good_images_to_figures(name: str, tmp_path: Path) -> None:
    """The same way as the default model, with a defect that nobody could miss."""
    small = ["image.longest_side=96", "tile.border=16"] if name == "shrink2048" else []
    config = settings_of(name, *QUICK, *small)
    paths = write_good(tmp_path / "good", 5, side=128)
    checkpoint = train(paths, config, tmp_path / "work", device="cpu", report=silent)
    written = write_bundle(checkpoint, tmp_path / "b")
    assert written.false_alarms == config.false_alarms
    calibrate_bundle(tmp_path / "b", written.held_out, written.false_alarms, device="cpu")
    picture = cv2.imdecode(np.fromfile(tmp_path / "b" / "training.png", np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture[:, : picture.shape[1] // 3].std() > 5  # losses
    assert picture[:, picture.shape[1] // 2 :].std() > 20  # inputs, reconstructions, residuals, scores
    with (tmp_path / "b" / "training.csv").open(encoding="utf-8", newline="") as file:
        assert float(next(csv.DictReader(file))["loss"]) > 0
    bad = draw_good(128, 128, seed=50)
    bad[60:75, 60:75] = 255
    good = [draw_good(128, 128, seed=seed) for seed in (51, 52)]
    data = write_dataset(tmp_path / "data", good, bad, np.s_[60:75, 60:75])
    run = inspect_folder([data / "test"], tmp_path / "b", tmp_path / "run", device="cpu", heatmaps=True)
    assert (run.counts["images"], run.counts["ERROR"]) == (3, 0)
    assert_defect_stands_out(tmp_path / "run", data)
    read = read_bundle(tmp_path / "b")
    assert CARD[name] in (tmp_path / "b" / "MODEL_CARD.md").read_text(encoding="utf-8")
    model = checkpoints.load(checkpoint).model
    assert (model.compare == "ssim", model.location.numel() == 1) == (name == "ssim", name == "ssim")
    heatmap, _ = Pipeline(read, TileScorer(read, "cpu", threads=1)).heatmap(bad)
    y, x = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    assert 50 <= y < 85
    assert 50 <= x < 85


# SSIM


def test_the_ssim_autoencoder_is_trained_on_and_scored_by_ssim() -> None:
    config = settings_of("ssim")
    assert (config.learning.loss, config.network.compare, config.network.latent_size) == ("ssim", "ssim", 100)


@pytest.mark.parametrize("channels", [1, 3])
@torch.no_grad()
def test_the_ssim_score_is_that_of_scikit_image(channels: int) -> None:
    """1 - SSIM of the worst channel, away from the edge, where padding differs."""
    config = tiny_config(network={"kind": "autoencoder", "latent_size": 8, "compare": "ssim"})
    model = untrained_model(config, channels=channels)
    tile = draw_good(64, 64, channels=channels, seed=3)
    x = model.normalise(torch.from_numpy(tile[None]))
    reconstruction, evidence = model.explain(x)
    assert evidence.shape == (1, 1, 64, 64)
    ours, theirs = x[0].double().numpy(), reconstruction[0].double().numpy()
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0, "full": True}
    similarity = np.stack([structural_similarity(a, b, **options)[1] for a, b in zip(ours, theirs, strict=True)])
    np.testing.assert_allclose(evidence[0, 0, 8:-8, 8:-8].numpy(), 1 - similarity[:, 8:-8, 8:-8].min(axis=0), atol=1e-4)
    lines = (model.location, model.scale, model.below, model.height)
    location, scale, below, height = (float(values.flatten()[0]) for values in lines)
    z = (evidence[0].numpy() - location) / scale
    expected = height + np.where(z > 0, z, below * z)
    np.testing.assert_allclose(model(torch.from_numpy(tile[None]))[0].numpy(), expected, atol=1e-4)


def test_a_perfect_reconstruction_scores_nothing() -> None:
    x = torch.rand(1, 2, 32, 32)
    assert float((1 - ssim_map(x, x)).abs().max()) < 1e-5


# The convolutional autoencoder


def test_the_convolutional_file_is_what_its_users_have() -> None:
    config = settings_of("convolutional_l1")
    network = ConvolutionalAutoencoder(1, config.network.channels)
    code = network.encode(torch.rand(1, 1, 256, 512))
    assert code.shape == (1, 128, 16, 32)  # 32-64-128-128, no dense layer
    assert (config.network.latent_size, config.learning.loss) == (None, "bce")
    assert config.learning.activity_weight == 1e-4


@pytest.mark.parametrize("levels", [(4, 6), (4, 6, 8), (4, 4, 6, 6)])
@torch.no_grad()
def test_a_convolutional_code_changes_only_its_surroundings(levels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = ConvolutionalAutoencoder(1, levels).eval()
    assert network.stride == 2 ** len(levels)
    side = network.receptive_field + 4 * network.stride
    tile = torch.rand(1, 1, side, side)
    before, farthest = network(tile), 0
    for at in range(side // 2, side // 2 + network.stride):
        changed = tile.clone()
        changed[0, 0, at, at] += 100
        _, _, ys, xs = torch.nonzero(before != network(changed), as_tuple=True)
        farthest = max(farthest, int((ys - at).abs().max()), int((xs - at).abs().max()))
    assert 0.6 * network.receptive_field / 2 < farthest <= network.receptive_field / 2


@pytest.mark.parametrize("compare", ["residual", "ssim"])
@torch.no_grad()
def test_its_tiles_agree_with_the_whole(compare: str) -> None:
    """So that any tile size gives the same heatmap: the overlap covers what a score can depend on."""
    config = tiny_config(network={"kind": "autoencoder", "latent_size": None, "compare": compare})
    model = untrained_model(config)
    reach, overlap = score_receptive_field(model.network) // 2, needed_overlap(config, model.network)
    assert 2 * reach <= overlap
    assert overlap % model.network.stride == 0
    whole = torch.from_numpy(draw_good(128, 128, seed=4)[None])
    tile = whole[:, 16:112, 24:120].contiguous()
    inner, of_whole = model(tile)[0], model(whole)[0]
    np.testing.assert_allclose(
        inner[0, reach:-reach, reach:-reach].numpy(),
        of_whole[0, 16 + reach : 112 - reach, 24 + reach : 120 - reach].numpy(),
        atol=1e-4,
    )


def test_its_tiles_are_as_large_as_wastes_least(tmp_path: Path) -> None:
    config = settings_of("convolutional_l1", *QUICK, "tile.border=16")
    path = write_untrained(tmp_path, config)
    tile = tile_info(checkpoints.load(path))
    assert (tile.border, tile.overlap, tile.size) == (16, 40, 256)


def test_activity_is_counted_as_keras_counts_it() -> None:
    code = torch.tensor([[1.0, -2.0], [0.0, 4.0]]).view(2, 2, 1, 1)
    assert float(activity_loss(code)) == pytest.approx((1 + 2 + 0 + 4) / 2)


def test_the_penalty_makes_the_code_sparse(tmp_path: Path) -> None:
    paths = write_good(tmp_path / "good", 5)
    sums = {}
    for weight in (0.0, 1e-1):
        config = settings_of(
            "convolutional_l1", *QUICK, "learning.steps=40", "tile.border=16", f"learning.activity_weight={weight}"
        )
        path = train(paths, config, tmp_path / str(weight), device="cpu", report=silent)
        model = checkpoints.load(path).model
        assert isinstance(model.network, ConvolutionalAutoencoder)
        with torch.no_grad():
            code = model.network.encode(model.normalise(torch.from_numpy(draw_good(64, 64, seed=9)[None])))
        assert float(code.min()) >= 0
        sums[weight] = float(code.sum())
        header = (path.parent / "training.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
        assert ("activity" in header) == bool(weight)
    assert sums[1e-1] < 0.75 * sums[0.0]


# Latent 16, a quantile


def test_the_quantile_is_a_rate_of_false_alarms() -> None:
    config = settings_of("latent16")
    assert (config.network.latent_size, config.learning.loss, config.quantile) == (16, "mse", 0.95)
    assert math.exp(-config.false_alarms) == pytest.approx(0.95)
    assert isinstance(untrained_model(config).network, BottleneckAutoencoder)


def test_ssim_needs_an_autoencoder() -> None:
    with pytest.raises(UsageError, match=r"`network\.compare` \(=ssim\) needs `network\.kind` \(=repair\) to be auto"):
        load_config(None, ["network.compare=ssim"])
