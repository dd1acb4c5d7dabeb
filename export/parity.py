"""The parity gate: ONNX Runtime must say what torch says, on real tiles, or there is no bundle."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from flawmap.tiling.errors import FlawmapError
from flawmap.tiling.regions import find_regions
from flawmap.training.scoring import ScoringModel

TOLERANCE = 3e-3  # of a standardised score, 1 of which is ten times rarer: 0.7 % of a rate
REGION_LEVEL = 1.0  # score that good images reach once in ten megapixels
MARGIN = 1e-2  # regions are compared at levels that no score comes this near to


class ParityError(FlawmapError):
    """The exported graph does not do what the trained model does."""


@dataclass(frozen=True)
class Parity:
    """What the comparison found."""

    largest_difference: float  # of a score
    largest_score: float
    n_regions: int
    score: NDArray[np.float32]  # of ONNX Runtime, whole tiles: the golden answer


def check_parity(
    model: ScoringModel,
    onnx_path: Path,
    tiles: NDArray[np.generic],
    context: NDArray[np.generic] | None = None,
    *,
    margin: int = 0,
) -> Parity:
    """Scores `tiles` ([n, t, t] or [n, t, t, C], raw) both ways; `context` [n, t, t, C + 1] of an aligned product.

    What lies within `margin` px of a tile's edge is not compared: see `flawmap.export.inference_form`.

    Raises:
        ParityError: scores differ by more than `TOLERANCE` (absolute, and relative above 1), reconstructions by more
            than one grey level, or the regions are not the same.
    """
    with torch.no_grad():
        given = None if context is None else torch.from_numpy(context)
        score, reconstruction = (output.numpy() for output in model(torch.from_numpy(tiles), given))
    session = onnxruntime.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])
    # One tile at a time: a graph with a fixed batch takes nothing else.
    batch = session.get_inputs()[0].shape[0]
    n = batch if isinstance(batch, int) else 1
    pieces = []
    for start in range(0, len(tiles), n):
        inputs = {"tiles": tiles} if context is None else {"tiles": tiles, "context": context}
        piece = {name: np.resize(values[start : start + n], (n, *values.shape[1:])) for name, values in inputs.items()}
        pieces.append(session.run(["score", "reconstruction"], piece))
    exported_score = np.concatenate([p[0] for p in pieces])[: len(tiles)]
    exported_reconstruction = np.concatenate([p[1] for p in pieces])[: len(tiles)]
    inner = (slice(None), *(slice(margin, side - margin) for side in tiles.shape[1:3]))
    parity = compare(score[inner], exported_score[inner], reconstruction[inner], exported_reconstruction[inner])
    return replace(parity, score=exported_score)


def compare(
    score: NDArray[np.float32],
    exported_score: NDArray[np.float32],
    reconstruction: NDArray[np.generic],
    exported_reconstruction: NDArray[np.generic],
) -> Parity:
    """Compares the outputs of torch and of the exported graph; see `check_parity`."""
    difference = np.abs(score - exported_score)
    relative = float((difference / np.maximum(1, np.abs(score))).max())
    if not relative <= TOLERANCE:  # a NaN fails too
        raise ParityError(
            f"the exported model differs from the trained one: largest score difference {relative:.2g}, "
            f"at most {TOLERANCE:g} is allowed; no bundle was written"
        )
    unit = 1.0 if reconstruction.dtype.kind == "u" else max(float(np.ptp(reconstruction)), 1e-6) * TOLERANCE
    apart = float(np.abs(reconstruction.astype(np.float64) - exported_reconstruction.astype(np.float64)).max())
    if not apart <= unit:
        raise ParityError(
            f"the exported model reconstructs differently: by {apart:.3g}, at most {unit:.3g} is allowed; "
            "no bundle was written"
        )
    n_regions = 0
    for mine, theirs in zip(score, exported_score, strict=True):
        level = clear_level(mine)
        regions, exported = (
            find_regions(np.ascontiguousarray(s), grow=level, seed=level)[["y0", "x0", "y1", "x1", "area_px"]]
            for s in (mine, theirs)
        )
        if sorted(regions.tolist()) != sorted(exported.tolist()):
            raise ParityError(
                f"the exported model finds other regions: {len(exported)} instead of {len(regions)}; "
                "no bundle was written"
            )
        n_regions += len(regions)
    return Parity(float(difference.max()), float(exported_score.max()), n_regions, exported_score)


def clear_level(score: NDArray[np.float32]) -> float:
    """The lowest level from `REGION_LEVEL` up that no score of this tile comes within `MARGIN` of.

    On such a level both runtimes must cut the very same regions; on any other one a pixel may fall on either side.
    """
    values = np.sort(score[score > REGION_LEVEL - MARGIN])
    levels = np.concatenate(([REGION_LEVEL - MARGIN], values, [max(REGION_LEVEL, float(score.max())) + 2 * MARGIN]))
    gaps = np.flatnonzero(np.diff(levels) >= 2 * MARGIN)
    return float(levels[gaps[0]] + MARGIN)
