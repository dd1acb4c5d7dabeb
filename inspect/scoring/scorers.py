"""The right scorer for a bundle."""

from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import Bundle
from flawmap.inspect.scoring import device as devices
from flawmap.inspect.scoring.classical_scorer import ClassicalScorer
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.tiling.errors import UsageError
from flawmap.tiling.grid import TileGrid


class Scorer(Protocol):
    """What the pipeline asks of a model; ready and self-tested once it is made."""

    device: str  # what really runs
    device_note: str  # why `auto` left a GPU out
    batch_shape: tuple[int, ...]  # [N, t, t] or [N, t, t, 3]
    context_shape: tuple[int, ...] | None  # [N, t, t, C + 1] of an aligned product
    dtype: np.dtype[Any]

    def score(
        self, tiles: NDArray[Any], context: NDArray[Any] | None = None, /
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """`batch_shape` tiles -> score float32 [N, t, t], higher is worse, and the reconstruction like the tiles.

        What it returns is stitched while the next batch is scored: its arrays are left alone until that one is done.
        """
        ...


def as_it_runs(bundle: Bundle, device: str, tile_size: int | None = None) -> Bundle:
    """`bundle` with the faster model that runs on `device`, and its calibration, where the bundle has one.

    `auto` is a GPU that starts, before a faster model on the processor, before the bundle's own. `tile_size` takes the
    place of the bundle's; UsageError where the network cannot have such tiles.
    """
    if tile_size is not None:
        bundle = _tiled_otherwise(bundle, tile_size)
    if device != "auto":
        return bundle.on(device)
    if not bundle.info.faster or bundle.is_classical:
        return bundle
    return bundle.on("cuda" if devices.starts("cuda") else "openvino" if devices.starts("openvino") else "cpu")


def _tiled_otherwise(bundle: Bundle, tile_size: int) -> Bundle:
    tile, stride = bundle.info.tile, bundle.info.network.stride
    try:
        TileGrid(1, 1, tile_size, tile.overlap, multiple=stride, border=tile.border)
    except UsageError as error:
        raise UsageError(f"`--tile-size` (={tile_size}): {error}") from None
    tile = tile.model_copy(update={"size": tile_size})
    return replace(bundle, info=bundle.info.model_copy(update={"tile": tile}))


def open_scorer(bundle: Bundle, device: str, *, any_shape: bool = False) -> Scorer:
    """The scorer of `bundle`, `as_it_runs` on `device`; DeviceError or UsageError where it cannot be had.

    `any_shape`: see `TileScorer`.
    """
    if bundle.is_classical:
        return ClassicalScorer(bundle, device)
    return TileScorer(bundle, device, any_shape=any_shape)
