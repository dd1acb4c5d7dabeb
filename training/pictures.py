"""training.png: the loss curve, and what the model makes of held-out tiles, for the operator who sees it learn."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flawmap.tiling.whole_file import write_whole
from flawmap.training.scoring import ScoringModel
from flawmap.training.tile_batches import TileDrawer

ROWS = 4
SEED = 3_000_017
COLUMNS = ("input", "reconstruction", "residual", "score")


def write_training_picture(path: Path, curve: list[dict[str, float]], model: ScoringModel, drawer: TileDrawer) -> None:
    """Draws `path` (PNG): losses over the steps, and `ROWS` damaged tiles with reconstruction, residual and score."""
    figure = Figure(figsize=(14, 7), layout="constrained")
    FigureCanvasAgg(figure)
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.4))
    left, right = parts
    _draw_curve(left.subplots(), curve)
    _draw_tiles(right.subplots(ROWS, len(COLUMNS)), model, drawer)
    with write_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)


def _draw_curve(axes: Any, curve: list[dict[str, float]]) -> None:
    steps = [row["step"] for row in curve]
    axes.plot(steps, [row["loss"] for row in curve], color="0.7", linewidth=0.8, label="training")
    checked = [(row["step"], row["validation_loss"]) for row in curve if "validation_loss" in row]
    if checked:
        axes.plot(*zip(*checked, strict=True), color="tab:blue", marker="o", markersize=3, label="held-out images")
    axes.set(title="Loss", xlabel="step", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()


@torch.no_grad()
def _draw_tiles(axes: Any, model: ScoringModel, drawer: TileDrawer) -> None:
    batch = drawer.batch((SEED,), 3 * ROWS)
    # Tiles with much to see: the most damaged ones of a few.
    order = torch.argsort(batch.mask.sum(dim=(1, 2, 3)), descending=True)[:ROWS]
    x = batch.damaged[order]
    context = None if batch.context is None else model.normalise_context(batch.context[order])
    reconstruction, evidence = model.explain(x, context)
    score = model.standardise(evidence)
    residual = (x - reconstruction).abs().amax(dim=1)
    for row in range(ROWS):
        shown = (_grey(x[row]), _grey(reconstruction[row]), residual[row].numpy(), score[row].numpy())
        limits = np.percentile(shown[0], (0.5, 99.5))
        # Residuals in the tile's contrast, scores up to twice what one good pixel in a million reaches.
        ranges = (limits, limits, (0.0, float(np.diff(limits)[0]) / 2), (0.0, 2.0))
        for column, (image, (low, high)) in enumerate(zip(shown, ranges, strict=True)):
            axes[row, column].imshow(image, cmap="gray" if column < 2 else "inferno", vmin=low, vmax=high)
            axes[row, column].set_axis_off()
            if row == 0:
                axes[row, column].set_title(COLUMNS[column])


def _grey(tile: torch.Tensor) -> Any:
    return tile.mean(dim=0).numpy()
