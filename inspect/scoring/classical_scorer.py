"""Scores tiles without a network: the same interface as the ONNX scorer, one tile at a time, on the CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle
from flawmap.inspect.scoring import device as devices
from flawmap.inspect.scoring.self_test import self_test
from flawmap.tiling.classical.model_file import read_model
from flawmap.tiling.errors import DeviceError

Image = NDArray[Any]


class ClassicalScorer:
    """Scores single tiles with the fitted numbers of model.npz; self-tested when the constructor returns."""

    device = "cpu"
    device_note = ""

    def __init__(self, bundle: Bundle, device: str = "auto") -> None:
        """DeviceError for a `device` that is no CPU, UsageError for a model that cannot be read or scores otherwise."""
        info = bundle.info
        if device not in ("auto", "cpu"):
            devices.check_name(device)
            raise DeviceError(
                f"`--device` (={device}) cannot run this bundle: a {info.network.kind} model needs the CPU"
            )
        self._model = read_model(info.network.kind, bundle.model_path)
        channels = () if info.image.channels == 1 else (info.image.channels,)
        self.batch_shape = (1, info.tile.size, info.tile.size, *channels)
        self.dtype = np.dtype(info.image.dtype)
        self.context_shape = (*self.batch_shape[:3], info.image.channels + 1) if info.alignment else None
        self_test(bundle, lambda *inputs: self._run(*inputs)[0], 1, self.device)

    def score(self, tiles: Image, context: Image | None = None) -> tuple[NDArray[np.float32], Image]:
        """One tile, `batch_shape` and `dtype` -> score float32 [1, t, t], higher is worse; reconstruction like it.

        `context`: `context_shape`, `dtype`, of an aligned product.
        """
        if tiles.shape != self.batch_shape or tiles.dtype != self.dtype:
            raise ValueError(
                f"`tiles` (={tiles.dtype} {list(tiles.shape)}) must be {self.dtype} {list(self.batch_shape)}"
            )
        if (None if context is None else context.shape) != self.context_shape:
            raise ValueError(
                f"`context` must be {self.context_shape}, not {None if context is None else context.shape}"
            )
        return self._run(*((tiles,) if context is None else (tiles, context)))

    def _run(self, *inputs: Image) -> tuple[NDArray[np.float32], Image]:
        score, reconstruction = self._model.score(*(batch[0] for batch in inputs))
        return score[None], reconstruction[None]
