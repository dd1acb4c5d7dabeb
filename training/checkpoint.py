"""The checkpoint: everything `flawmap export` needs to make a bundle, in one file that holds no code."""

import csv
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_whole
from flawmap.training.autoencoder import BottleneckAutoencoder
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import GoodImages, Normalisation
from flawmap.training.scoring import RawTile, ScoringModel, build_network
from flawmap.training.split import Split
from flawmap.training.standardisation import Standardisation
from flawmap.training.template_band import TemplateBand

FORMAT = 4  # 3 knew no template beside the network; 2 no `tile.padding`, and reflected; 1 no bend in a standardisation
READ = (2, 3, FORMAT)
STANDARDISATION = ("location", "scale", "below", "height")
PROOF_TILES = 4
PROOF_SIZE = 256  # px; the tiles of an autoencoder with a latent vector have its own size
PROOF_SEED = 2_000_003


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and where it came from."""

    model: ScoringModel
    config: TrainConfig
    split: Split
    proof_tiles: NDArray[np.generic]  # raw tiles, half of them damaged: torch and ONNX Runtime must agree on them
    proof_context: NDArray[np.generic] | None  # of an aligned product: what the reference shows there
    reference: ContextMap | None  # of an aligned product
    provenance: dict[str, Any]
    n_channels: int
    dtype: np.dtype[np.generic]
    folder: Path


def save(
    path: Path,
    model: ScoringModel,
    config: TrainConfig,
    split: Split,
    proof: RawTile,
    reference: ContextMap | None,
    provenance: dict[str, Any],
) -> None:
    """Writes a checkpoint, whole or not at all."""
    content = {
        "flawmap_checkpoint": FORMAT,
        "config": config.model_dump(),
        "n_channels": model.mean.numel(),
        "dtype": proof.pixels.dtype.name,
        "normalisation": {"mean": model.mean.flatten().tolist(), "std": model.std.flatten().tolist()},
        "standardisation": {name: getattr(model, name).flatten().tolist() for name in STANDARDISATION},
        "template": None if model.template is None else asdict(model.template),
        "network": model.network.state_dict(),
        "split": {name: [str(p) for p in paths] for name, paths in asdict(split).items()},
        "proof_tiles": torch.from_numpy(proof.pixels),
        "proof_context": None if proof.context is None else torch.from_numpy(proof.context),
        "reference": None if reference is None else torch.from_numpy(reference.pixels),
        "provenance": provenance,
    }
    with write_whole(path) as temporary:
        torch.save(content, temporary)


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint on the CPU.

    Raises:
        UsageError: there is no such file, or it is not a flawmap checkpoint.
    """
    if not path.is_file():
        raise UsageError(f"`CHECKPOINT` (={path}) must be a file that `flawmap train` wrote: there is no such file")
    try:
        content = _read(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"`CHECKPOINT` (={path}) is not a flawmap checkpoint: {error}") from None
    if not isinstance(content, dict) or "flawmap_checkpoint" not in content:
        raise UsageError(f"`CHECKPOINT` (={path}) must be a model.ckpt that `flawmap train` wrote")
    if content["flawmap_checkpoint"] not in READ:
        raise UsageError(
            f"`CHECKPOINT` (={path}) is of format {content['flawmap_checkpoint']}, this flawmap reads {READ[0]} to "
            f"{FORMAT}: train again"
        )
    content["config"]["tile"].setdefault("padding", "reflect")
    config = TrainConfig.model_validate(content["config"])
    dtype = np.dtype(content["dtype"])
    reference = content["reference"]
    network = build_network(config, content["n_channels"], aligned=reference is not None)
    network.load_state_dict(content["network"])
    normalisation = Normalisation(**{k: tuple(v) for k, v in content["normalisation"].items()})
    standardisation = Standardisation(**{k: tuple(v) for k, v in content["standardisation"].items()})
    template = content.get("template")
    band = None if template is None else TemplateBand(**template)
    return Checkpoint(
        model=ScoringModel(network, normalisation, standardisation, dtype, config.network.compare, band).eval(),
        config=config,
        split=Split(**{name: [Path(p) for p in paths] for name, paths in content["split"].items()}),
        proof_tiles=content["proof_tiles"].numpy(),
        proof_context=None if reference is None else content["proof_context"].numpy(),
        reference=None if reference is None else ContextMap(reference.numpy()),
        provenance=content["provenance"],
        n_channels=content["n_channels"],
        dtype=dtype,
        folder=path.parent,
    )


def resumable_step(path: Path, identity: str) -> int | None:
    """The step that a killed training stopped at; None where there is none, or it was another training."""
    if not path.is_file():
        return None
    try:
        content = _read(path)
    except ValueError:
        return None
    state = content.get("flawmap") if isinstance(content, dict) else None
    return int(state["step"]) if state is not None and state["identity"] == identity else None


def _read(path: Path) -> Any:
    """What torch reads from `path`; ValueError, with a word on why, for what it cannot read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickles of others
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # other bytes lead its unpickler to IndexError, EOFError, struct.error and more
        raise ValueError((str(error).splitlines() or [type(error).__name__])[0]) from None


def draw_proof_tiles(model: ScoringModel, images: GoodImages, config: TrainConfig) -> RawTile:
    """Tiles of held-out `images` as `cut_proof_tiles` gives them, of a size that the model takes."""
    size = config.tile.train_size
    if not isinstance(model.network, BottleneckAutoencoder):
        smallest = min(n for image in images.padded for n in image.shape[:2])
        size = min(PROOF_SIZE, smallest - smallest % model.network.stride)
    return cut_proof_tiles(images, size)


def cut_proof_tiles(images: GoodImages, size: int) -> RawTile:
    """`PROOF_TILES` random tiles, [n, size, size] or [n, size, size, C], every second one with a bright 9 px square."""
    rng = np.random.default_rng(PROOF_SEED)
    tiles, contexts = [], []
    for i in range(PROOF_TILES):
        index = int(rng.integers(len(images.padded)))
        image = images.padded[index]
        y, x = (int(rng.integers(0, n - size + 1)) for n in image.shape[:2])
        tile = image[y : y + size, x : x + size].copy()
        if i % 2:
            middle = size // 2
            tile[middle - 4 : middle + 5, middle - 4 : middle + 5] = image.max()
        tiles.append(tile)
        context = images.context(index, y, x, size, size)
        if context is not None:
            contexts.append(context)
    return RawTile(np.stack(tiles), np.stack(contexts) if contexts else None)


def write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    """training.csv: one row every few steps, the validation loss where it was measured."""
    columns: list[str] = []
    for row in curve:
        columns += [name for name in row if name not in columns]
    with write_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in curve)
