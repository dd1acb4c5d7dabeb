"""The picture of a drift: every image's severity in time, the statistic with its limits, both distributions."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flawmap.inspect.line.drift import DriftState, deviations
from flawmap.inspect.shown_severity import PLOTTED_MAX
from flawmap.tiling.whole_file import write_whole

SIZE_INCHES, DPI = (12.0, 6.4), 100
CALIBRATION, NOW, REJECTED = "#2f6f9f", "#d1632c", "0.6"


def draw_drift(
    path: Path,
    calibration: NDArray[np.float64],
    severities: NDArray[np.float64],
    severity_ng: float,
    state: DriftState,
    last: int,
    title: str,
) -> None:
    """Writes a PNG. `calibration`: severities of its good images [m]; `severities`: of the run's, in time [k].

    What lies beyond PLOTTED_MAX is drawn there.
    """
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=12)
    grid = figure.add_gridspec(2, 2, width_ratios=(2.2, 1))
    number = np.arange(1, len(severities) + 1)
    good = severities < severity_ng
    severities = np.minimum(severities, max(severity_ng, PLOTTED_MAX))
    times = figure.add_subplot(grid[0, 0])
    times.plot(number[good], severities[good], ".", color=NOW, markersize=4, label="images")
    times.plot(number[~good], severities[~good], "x", color=REJECTED, markersize=4, label="NG, not compared")
    times.axhline(severity_ng, color="black", linewidth=1, linestyle="--", label="NG begins")
    if len(calibration):
        low, middle, high = np.percentile(calibration, (5, 50, 95))
        times.axhspan(low, high, color=CALIBRATION, alpha=0.15, label="calibration, 5 to 95 %")
        times.axhline(middle, color=CALIBRATION, linewidth=1)
    times.set(ylabel="severity", xlim=(0, max(2, len(severities)) + 1))
    times.legend(loc="upper left", fontsize=8, ncols=2)

    moved = figure.add_subplot(grid[1, 0], sharex=times)
    if len(calibration) and good.sum() >= last:
        share = 0.5 + deviations(np.sort(calibration), severities[good], last)
        moved.plot(number[good][last - 1 :], share, color=NOW, linewidth=1.5, marker="." if len(share) < 60 else "")
    for edge in (0.5 - state.limit, 0.5 + state.limit):
        moved.axhline(edge, color="black", linewidth=1, linestyle="--")
    moved.axhline(0.5, color=CALIBRATION, linewidth=1)
    moved.set(xlabel="image", ylabel=f"share above calibration,\nlast {last} good images", ylim=(0, 1))

    both = figure.add_subplot(grid[:, 1])
    lately = severities[good][-last:]
    for values, colour, label in (
        (calibration, CALIBRATION, f"calibration ({len(calibration)} images)"),
        (lately, NOW, f"the last {len(lately)} good images"),
    ):
        if len(values):
            height = np.arange(1, len(values) + 1) / len(values)
            both.step(np.sort(values), height, where="post", color=colour, label=label)
    both.axvline(severity_ng, color="black", linewidth=1, linestyle="--")
    both.set(xlabel="severity", ylabel="share of good images below", ylim=(0, 1.02))
    both.legend(loc="upper left", fontsize=8)
    with write_whole(path) as temporary:
        figure.savefig(temporary, format="png")
