"""detection_limit.png: for each kind the chance of being found over size, with what was counted and how sure it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter, StrMethodFormatter

from flawmap.inspect.detection_limit.analysis import WANTED, DetectionCurve
from flawmap.inspect.detection_limit.sentence import NAMES
from flawmap.tiling.whole_file import write_whole

COLUMNS = 3
DRAWN_AT = 50  # sizes at which a curve and its band are computed
COLOURS = ("#9ecae1", "#4292c6", "#08519c", "#041f4a")  # faint to strong
BESIDE = 0.03  # of a size: points of one size stand side by side


def write_picture(path: Path, curves: Sequence[DetectionCurve], title: str) -> None:
    """Draws `path` (PNG); `curves` over size, one picture a kind. OSError where it cannot be written."""
    kinds = list(dict.fromkeys(curve.kind for curve in curves))
    rows = max(1, -(-len(kinds) // COLUMNS))
    figure = Figure(figsize=(15, 4.2 * rows + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, wrap=True)
    axes: Any = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True)
    for index in range(rows * COLUMNS):
        here = axes[index // COLUMNS, index % COLUMNS]
        if index >= len(kinds):
            here.set_axis_off()
            continue
        _draw_kind(here, [curve for curve in curves if curve.kind == kinds[index]])
        if index % COLUMNS == 0:
            here.set_ylabel("found")
    with write_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90)


def _draw_kind(axes: Any, curves: Sequence[DetectionCurve]) -> None:
    for number, curve in enumerate(curves):
        colour = COLOURS[min(number, len(COLOURS) - 1)] if len(curves) > 1 else COLOURS[-2]
        name = "any contrast" if curve.contrast is None else f"{curve.contrast:g} sigma ({curve.levels:.3g} levels)"
        shift = 1 + BESIDE * (number - (len(curves) - 1) / 2)
        shares = [rate.found / rate.tried for rate in curve.rates]
        below = [max(share - rate.low, 0) for share, rate in zip(shares, curve.rates, strict=True)]
        above = [max(rate.high - share, 0) for share, rate in zip(shares, curve.rates, strict=True)]
        axes.errorbar(
            [rate.value * shift for rate in curve.rates], shares, [below, above],
            fmt="o", color=colour, markersize=4, linewidth=0.6, alpha=0.8, label=f"{name}, {curve.tried} tried",
        )  # fmt: skip
        if curve.curve is not None:
            grid = curve.grid(DRAWN_AT)
            low, high = curve.curve.bounds(grid)
            axes.plot(grid, curve.curve.probability(grid), color=colour, linewidth=2)
            axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(WANTED, color="0.4", linewidth=0.8, linestyle="--")
    axes.set(title=NAMES[curves[0].kind], xlabel="size in px", xscale="log", ylim=(-0.03, 1.03))
    axes.xaxis.set_major_locator(FixedLocator(sorted({rate.value for curve in curves for rate in curve.rates})))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
