"""The self-test of a bundle: its golden tiles must score here as they did where it was made."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import GOLDEN_CONTEXT, GOLDEN_TILES, Bundle
from flawmap.tiling.errors import UsageError

Image = NDArray[Any]

TOLERANCE = 3e-3  # absolute plus relative: what another device's arithmetic moves, and no more


def self_test(
    bundle: Bundle, score: Callable[..., NDArray[np.float32]], batch_size: int, device: str
) -> NDArray[np.float32]:
    """Scores the bundle's golden tiles, compares, and returns the scores float32 [k, t', t'].

    A wrong answer here is a wrong verdict on every part.

    `score`: `batch_size` tiles, and of an aligned product their context, -> score float32 [batch_size, t, t].
    UsageError for tiles that cannot be read or scored, or score otherwise.
    """
    inputs, expected = _golden(bundle)
    found = np.empty_like(expected)
    batches = [np.zeros((batch_size, *values.shape[1:]), values.dtype) for values in inputs]
    try:
        for first in range(0, len(expected), batch_size):
            n = min(batch_size, len(expected) - first)
            for batch, values in zip(batches, inputs, strict=True):
                batch[:n] = values[first : first + n]
            found[first : first + n] = score(*batches)[:n]
    except Exception as error:
        raise UsageError(f"`bundle` (={bundle.folder}) cannot score its own golden tiles: {error}") from error
    difference = np.abs(found.astype(np.float64) - expected)
    tolerance = TOLERANCE if bundle.running is None else bundle.running.tolerance
    allowed = tolerance * (1 + np.abs(expected, dtype=np.float64))
    if not (difference <= allowed).all():  # a NaN fails, too
        raise UsageError(
            f"`bundle` (={bundle.folder}) fails its self-test on {device}: a golden score differs by "
            f"{float(np.max(difference)):.3g}, allowed is {tolerance:g} absolute plus relative; {_remedy(bundle)}"
        )
    return found


def _remedy(bundle: Bundle) -> str:
    if bundle.running is None:
        return "export the bundle again, or try another `--device`"
    return (
        f"its {bundle.running.precision} model was made on another kind of processor: run `flawmap optimise` here, or "
        "inspect with `--device cpu`"
    )


def _golden(bundle: Bundle) -> tuple[list[Image], NDArray[np.float32]]:
    """(golden tiles [k, t', t'(, C)], of an aligned product their context too; their score float32 [k, t', t'])."""
    names = (GOLDEN_TILES, GOLDEN_CONTEXT) if bundle.info.alignment else (GOLDEN_TILES,)
    try:
        inputs = [np.load(bundle.folder / name, allow_pickle=False) for name in names]
        score = np.load(bundle.golden_score_path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"`bundle` (={bundle.folder}): its golden tiles cannot be read: {error}") from error
    tiles = inputs[0]
    if tiles.ndim not in (3, 4) or len(tiles) == 0 or score.shape != tiles.shape[:3] or score.dtype != np.float32:
        raise UsageError(f"`bundle` (={bundle.folder}): golden tiles {tiles.shape} and score {score.shape} do not fit")
    return inputs, score
