"""ROC, FROC and severities as PNG, 1000 px wide: readable on a line PC's screen, in print, and to colour-blind eyes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flawmap.inspect.shown_severity import PLOTTED_MAX, shown_severity
from flawmap.tiling.whole_file import write_whole

SIZE_INCHES, DPI = (10.0, 6.2), 100
GOOD_COLOUR, DEFECTIVE_COLOUR = "#2f6f9f", "#d1632c"
LINE_COLOURS = ("black", "#d1632c", "#2f6f9f", "#3f8f5f", "#8a5fb0")
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
BINS = 50


@dataclass(frozen=True)
class Curve:
    """One line of a plot."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """One place on a plot that has a name."""

    label: str
    x: float
    y: float


def draw_roc(path: Path, good: NDArray[np.float64], defective: NDArray[np.float64], here: Point, title: str) -> None:
    """Share of defective against good images at or above every severity; `here` is what the run's verdicts gave."""
    figure, axes = _figure(title)
    levels = np.unique(np.concatenate((good, defective)))[::-1]
    raised, caught = (
        np.concatenate(([0.0], (group[None, :] >= levels[:, None]).mean(axis=1))) for group in (good, defective)
    )
    axes.plot(raised, caught, color=LINE_COLOURS[0], linewidth=2, marker="." if len(levels) < 60 else "")
    axes.plot((0, 1), (0, 1), color="0.7", linewidth=1, linestyle=":")
    axes.plot(here.x, here.y, "o", color=DEFECTIVE_COLOUR, markersize=11, markeredgecolor="black", label=here.label)
    axes.set(xlabel="share of good images called defective", ylabel="share of defective images found")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
    _save(figure, path)


def draw_froc(path: Path, curves: Sequence[Curve], here: Point, n_good: int) -> None:
    """Share of defects found against false regions on a good image, a line for each size of defects."""
    figure, axes = _figure("Defects found, at how many false regions")
    for curve, colour, style in zip(curves, LINE_COLOURS, LINE_STYLES, strict=False):
        # Every threshold between two points gives what the stricter one does, and nothing is known beyond the last.
        axes.plot(
            curve.x, curve.y, color=colour, linestyle=style, linewidth=2, label=curve.label, drawstyle="steps-post"
        )
        axes.plot(curve.x[-1:], curve.y[-1:], "|", color=colour, markersize=12)
    axes.plot(here.x, here.y, "o", color=DEFECTIVE_COLOUR, markersize=11, markeredgecolor="black", label=here.label)
    least = 1 / max(n_good, 1)  # one false region on all good images: below it lies 0 alone
    axes.set_xscale("symlog", linthresh=least, linscale=0.5)
    ticks = [0.0, *(tick for tick in (0.01, 0.1, 0.5, 1.0, 10.0, 100.0) if tick >= least)]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    highest = max([1.0, here.x, *(float(curve.x.max()) for curve in curves if len(curve.x))])
    axes.set(xlabel="false regions on a good image", ylabel="share of defects found")
    axes.set(xlim=(-0.03 * least, 1.1 * highest), ylim=(-0.02, 1.02))
    axes.legend(loc="best")
    _save(figure, path)


def draw_severities(
    path: Path, good: NDArray[np.float64], defective: NDArray[np.float64], *, review: float, ng: float
) -> None:
    """How severe good and defective images are, and where REVIEW and NG begin. Both groups fill the same height.

    What lies beyond PLOTTED_MAX is drawn there.
    """
    figure, axes = _figure("Severity of the images")
    beyond = f" (beyond {PLOTTED_MAX:g}: at {PLOTTED_MAX:g})" if max([*good, *defective, 0]) > PLOTTED_MAX else ""
    good, defective = np.minimum(good, PLOTTED_MAX), np.minimum(defective, PLOTTED_MAX)
    everything = np.concatenate((good, defective, [review, ng]))
    edges = np.linspace(everything.min() - 0.05, everything.max() + 0.05, BINS + 1)
    for group, name, colour, hatch in (
        (good, "good", GOOD_COLOUR, ""),
        (defective, "defective", DEFECTIVE_COLOUR, "//"),
    ):
        if len(group):
            axes.hist(
                group, edges, weights=np.full(len(group), 100 / len(group)), label=f"{name} ({len(group)})",
                color=colour, alpha=0.6, hatch=hatch, edgecolor=colour, histtype="stepfilled",
            )  # fmt: skip
    for severity, name, style in ((review, "REVIEW", "--"), (ng, "NG", "-")):
        says = f"{name} from {shown_severity(severity)}"
        axes.axvline(severity, color="black", linestyle=style, linewidth=1.5, label=says)
    axes.set(
        xlabel=f"severity: −log10 of the false regions expected on a good image{beyond}",
        ylabel="% of the images of a group",
    )
    axes.legend(loc="upper right")
    _save(figure, path)


def _figure(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, fontsize=14)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with write_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
