"""The checkpoint of a model without a network: model.npz with everything that `flawmap export` needs, and no code."""

import json
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.classical.model_file import MODELS, ClassicalModel
from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_whole
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import Normalisation
from flawmap.training.split import Split

SUFFIX = ".npz"
FORMAT = 1
PREFIX = "model_"


@dataclass(frozen=True)
class ClassicalCheckpoint:
    """A fitted model and where it came from; `proof_tiles` [n, t, t] or [n, t, t, C] are raw, half of them damaged.

    Of an aligned product, `reference` is what it shows at each place, and `proof_context` at that of the proof tiles.
    """

    model: ClassicalModel
    config: TrainConfig
    split: Split
    normalisation: Normalisation
    proof_tiles: NDArray[np.generic]
    proof_context: NDArray[np.generic] | None
    reference: ContextMap | None
    provenance: dict[str, Any]


def save(path: Path, checkpoint: ClassicalCheckpoint) -> None:
    """Writes a checkpoint, whole or not at all."""
    about = {
        "flawmap_checkpoint": FORMAT,
        "config": checkpoint.config.model_dump(mode="json"),
        "split": {name: [str(p) for p in paths] for name, paths in asdict(checkpoint.split).items()},
        "normalisation": asdict(checkpoint.normalisation),
        "provenance": checkpoint.provenance,
    }
    arrays: dict[str, Any] = {PREFIX + name: value for name, value in checkpoint.model.arrays().items()}
    if checkpoint.reference is not None:
        arrays |= {"reference": checkpoint.reference.pixels, "proof_context": checkpoint.proof_context}
    with write_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), proof_tiles=checkpoint.proof_tiles, **arrays)


def load(path: Path) -> ClassicalCheckpoint:
    """Reads a checkpoint; UsageError where there is none."""
    if not path.is_file():
        raise UsageError(f"`CHECKPOINT` (={path}) must be a file that `flawmap train` wrote: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        about = json.loads(str(arrays["about"]))
        about["config"]["tile"].setdefault("padding", "reflect")  # before there was a choice
        config = TrainConfig.model_validate(about["config"])
        model = MODELS[config.network.kind].from_arrays(
            {name.removeprefix(PREFIX): value for name, value in arrays.items() if name.startswith(PREFIX)}
        )
        return ClassicalCheckpoint(
            model=model,
            config=config,
            split=Split(**{name: [Path(p) for p in paths] for name, paths in about["split"].items()}),
            normalisation=Normalisation(**{name: tuple(values) for name, values in about["normalisation"].items()}),
            proof_tiles=arrays["proof_tiles"],
            proof_context=arrays.get("proof_context"),
            reference=ContextMap(arrays["reference"]) if "reference" in arrays else None,
            provenance=about["provenance"],
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"`CHECKPOINT` (={path}) is not a flawmap checkpoint: {error}") from None
