"""model.npz: the fitted numbers of a model without a network; no pickle, so that reading it runs nothing."""

import zipfile
from pathlib import Path

import numpy as np

from flawmap.tiling.classical.golden_template import GoldenTemplate
from flawmap.tiling.classical.hog_machine import HogMachine
from flawmap.tiling.classical.local_median import LocalMedian
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_whole

ClassicalModel = HogMachine | LocalMedian | GoldenTemplate
MODELS: dict[str, type[ClassicalModel]] = {"hog": HogMachine, "median": LocalMedian, "template": GoldenTemplate}


def write_model(path: Path, model: ClassicalModel) -> None:
    """Writes `path`, whole or not at all."""
    with write_whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **model.arrays())  # type: ignore[arg-type]  # numpy's stub takes every name for a flag


def read_model(kind: str, path: Path) -> ClassicalModel:
    """The model of `kind` (a key of `MODELS`) in `path`; UsageError where it holds none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return MODELS[kind].from_arrays(dict(arrays))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be loaded as a {kind} model: {error}") from error
