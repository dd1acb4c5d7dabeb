"""The pixel figures of a run: its heatmaps, read one after the other, and the masks that belong to them."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.evaluation.bootstrap import intervals
from flawmap.inspect.evaluation.matching import ImageOutcome
from flawmap.inspect.evaluation.pixel_metrics import PIMO_BOUNDS, PixelTally
from flawmap.inspect.progress import ShowProgress
from flawmap.inspect.run.heatmap_file import HeatmapFile, open_heatmap, read_heatmap
from flawmap.inspect.run.layout import heatmap_path
from flawmap.inspect.run.records import RunInfo
from flawmap.inspect.true_defects import NEAR
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.strips.open_rows import STRIP_PIXELS

NAMES = ("pixel_ap", "au_pro_0.05", "aupimo")
HOW = "`flawmap inspect --heatmaps` writes what they are drawn from"


def pixel_figures(
    run_dir: Path, run: RunInfo, outcomes: Sequence[ImageOutcome], progress: ShowProgress
) -> dict[str, Any]:
    """`pixel_ap`, `au_pro_0.05`, `aupimo`, `aupimo_interval_95`, None where they cannot be had, and a note on why.

    UsageError: a heatmap that cannot be read or has another size than its image.
    """
    nothing = dict.fromkeys((*NAMES, "aupimo_interval_95"))
    if not run.settings.get("heatmaps"):
        return nothing | {"pixel_metrics_note": f"the run was made without heatmaps: {HOW}"}
    missing = [outcome.image for outcome in outcomes if not (run_dir / heatmap_path(outcome.name)).is_file()]
    if missing:
        note = f"{len(missing)} heatmaps are missing from the run, the first that of {missing[0]}: {HOW}"
        return nothing | {"pixel_metrics_note": note}
    tally = PixelTally()
    # Good images first: AUPIMO's thresholds come from them.
    with progress("reading heatmaps", len(outcomes)) as step:
        for outcome in sorted(outcomes, key=lambda outcome: not outcome.is_good):
            # The masks before the heatmap, and nothing kept of either: both are large.
            defects = outcome.truth.defects(NEAR, outcome.shape)
            with _heatmap(run_dir, outcome) as heatmap:
                if outcome.is_good:
                    tally.add_good(heatmap)
                else:
                    tally.add_defective(heatmap, defects)
            step(outcome.image)
    overlaps = tally.aupimo
    ranges = intervals(0, len(overlaps), {"aupimo": lambda _, w: w @ overlaps / w.sum(axis=1)})
    return {
        "pixel_ap": tally.average_precision(),
        "au_pro_0.05": tally.au_pro(),
        "aupimo": sum(overlaps) / len(overlaps) if overlaps else None,
        "aupimo_interval_95": ranges["aupimo"],
        "pixel_metrics_note": _note(outcomes),
    }


@contextmanager
def _heatmap(run_dir: Path, outcome: ImageOutcome) -> Iterator[NDArray[np.float32] | HeatmapFile]:
    """The heatmap; of a picture too large to be held as a whole the file, to be read in parts."""
    path = run_dir / heatmap_path(outcome.name)
    try:
        if math.prod(outcome.shape) <= STRIP_PIXELS:
            yield read_heatmap(path, outcome.shape)
            return
        with open_heatmap(path, outcome.shape) as file:
            yield file
    except ImageError as error:
        raise UsageError(
            f"{error.path} is not the heatmap that flawmap wrote ({error.reason}): inspect again"
        ) from error


def _note(outcomes: Sequence[ImageOutcome]) -> str:
    """A word where there are too few good pixels to place AUPIMO's thresholds."""
    pixels = sum(outcome.shape[0] * outcome.shape[1] for outcome in outcomes if outcome.is_good)
    if 0 < pixels * PIMO_BOUNDS[0] < 1:
        return (
            f"the good images hold {pixels} px: AUPIMO's strictest threshold, one raised pixel in "
            f"{1 / PIMO_BOUNDS[0]:,.0f}, is none at all"
        )
    return ""
