"""Small products and small models for the tests of training, export and calibration.

Images are drawn with a seed, a few hundred px a side at most; the networks have a few channels, so that a training of
30 steps takes seconds on one core.
"""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import write_image
from flawmap.tiling.padding import Padding
from flawmap.training import checkpoint as checkpoints
from flawmap.training.config import TrainConfig
from flawmap.training.fit import train
from flawmap.training.good_images import GoodImages, Normalisation
from flawmap.training.scoring import RawTile, ScoringModel, build_network
from flawmap.training.split import Split
from flawmap.training.standardisation import Standardisation

torch.set_num_threads(1)  # several test processes share few cores

SCALE = {"uint8": 255.0, "uint16": 65535.0, "float32": 1.0}
SIDE = 96  # px of most images drawn here
TINY: dict[str, Any] = {
    "alignment": False,  # the ribs drawn here are a texture; looking for a layout takes time
    "tile": {"train_size": 64, "border": 16},
    "network": {"channels": [8, 12]},
    "learning": {"steps": 30, "batch_size": 4, "validate_every": 10, "checkpoint_every": 10},
}


def tiny_config(**sections: Any) -> TrainConfig:
    """Settings that train in seconds; `sections` are merged into `TINY` one level deep."""
    merged = {**TINY}
    for name, values in sections.items():
        merged[name] = {**TINY.get(name, {}), **values} if isinstance(values, dict) else values
    return TrainConfig.model_validate(merged)


def draw_good(
    height: int, width: int, *, channels: int = 1, dtype: str = "uint8", seed: int = 0
) -> NDArray[np.generic]:
    """A ribbed surface with noise, [H, W] or [H, W, 3]: enough structure that a network has something to learn."""
    rng = np.random.default_rng(seed)
    x = np.arange(width) + rng.uniform(0, 8)
    ribs = 0.5 + 0.12 * np.sin(x * 2 * np.pi / 8)[None, :, None]
    level = ribs + 0.02 * rng.standard_normal((height, width, channels))
    image = (np.clip(level, 0, 1) * SCALE[dtype]).astype(dtype)
    return image[..., 0] if channels == 1 else image


def write_good(folder: Path, count: int, *, side: int = SIDE, **kind: Any) -> list[Path]:
    """Writes `count` good images of one kind (TIFF, which holds every dtype) and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:03}.tif" for i in range(count)]
    for i, path in enumerate(paths):
        write_image(path, draw_good(side, side, seed=i, **kind))
    return paths


def good_images(
    count: int,
    *,
    side: int = SIDE,
    tile_size: int = 64,
    border: int = 16,
    padding: Padding = "reflect",
    **kind: Any,
) -> GoodImages:
    """As `read_good_images` gives them, without files."""
    grid = TileGrid(side, side, tile_size, 0, multiple=4, border=border, padding=padding)
    padded = [grid.pad(draw_good(side, side, seed=i, **kind)) for i in range(count)]
    paths = [Path(f"{i:03}.tif") for i in range(count)]
    return GoodImages(paths, padded, border, left_out=0, sizes=[(side, side)] * count, padding=padding)


def silent(progress: float, text: str) -> None:
    """A `Report` that says nothing."""


@cache
def trained() -> tuple[Path, list[Path], TrainConfig]:
    """A repair model that really was trained, once for all tests of a process: checkpoint, good images, settings."""
    folder = Path(tempfile.mkdtemp(prefix="flawmap-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    paths = write_good(folder / "good", 8)
    config = tiny_config(learning={"steps": 60}, product="ribs")
    return train(paths, config, folder / "work", device="cpu", report=silent), paths, config


def untrained_model(config: TrainConfig, *, channels: int = 1, dtype: str = "uint8", seed: int = 0) -> ScoringModel:
    """A model with random weights and batch statistics that are not the trivial ones, in eval mode."""
    torch.manual_seed(seed)
    network = build_network(config, channels)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    if config.network.kind == "repair":
        normalisation = Normalisation((0.5 * SCALE[dtype],) * channels, (0.1 * SCALE[dtype],) * channels)
    else:
        normalisation = Normalisation((0.0,) * channels, (SCALE[dtype],) * channels)
    n_maps = 1 if config.network.compare == "ssim" else 2 if config.network.kind == "repair" else 5
    standardisation = Standardisation(
        tuple(0.1 * i for i in range(n_maps)),
        (0.5,) * n_maps,
        tuple(0.7 + 0.6 * i for i in range(n_maps)),
        tuple(0.3 - 0.8 * i for i in range(n_maps)),
    )
    return ScoringModel(network, normalisation, standardisation, np.dtype(dtype), config.network.compare).eval()


def write_untrained(
    folder: Path, config: TrainConfig, *, channels: int = 1, dtype: str = "uint8", tile: int = 64
) -> Path:
    """A checkpoint of `untrained_model`, with good images to measure and to calibrate on."""
    paths = write_good(folder / "good", 4, channels=channels, dtype=dtype)
    model = untrained_model(config, channels=channels, dtype=dtype)
    proof = np.stack([draw_good(tile, tile, channels=channels, dtype=dtype, seed=s) for s in (7, 8)])
    proof[1, tile // 2 : tile // 2 + 5, tile // 2 : tile // 2 + 5] = proof.max()
    provenance = {
        "images_trained_on": 2, "images_standardised_on": 1, "images_held_out_to_calibrate": 1,
        "training_steps": 3, "training_seconds": 1.5,
    }  # fmt: skip
    path = folder / "model.ckpt"
    split = Split(paths[:2], paths[2:3], paths[3:])
    checkpoints.save(path, model, config, split, RawTile(proof), None, provenance)
    return path
