"""What of the good images may not be good, as tables and pictures for the operator to judge.

suspicious.csv and suspicious.png show places that look like defects; they were left out of the training. doubtful.csv
and doubtful.png show the oddest place of each picture in the oddest twentieth, defects or not; these were not shown
more often than others. Who finds a real defect here takes the image out of the folder of good ones; who finds good
structure that is merely rare adds more good images that show it.
"""

import csv
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from flawmap.tiling.sheet_text import sheet_text
from flawmap.tiling.whole_file import write_whole
from flawmap.training.good_images import GoodImages
from flawmap.training.hard_places import Peak

TABLE, PICTURE = "suspicious.csv", "suspicious.png"
DOUBTFUL_TABLE, DOUBTFUL_PICTURE = "doubtful.csv", "doubtful.png"
AROUND = 48  # px shown to each side of a place
COLUMNS = 6
SHOWN = 24  # the highest


def write_suspicious(work: Path, peaks: list[Peak], images: GoodImages) -> None:
    """Writes both files into `work`, the most suspicious place first; removes older ones where there is none."""
    _write(work / TABLE, work / PICTURE, "logit", peaks, images)


def write_doubtful(work: Path, peaks: list[Peak], images: GoodImages) -> None:
    """The same of doubtful pictures, `peaks` as `flawmap.training.doubtful` gives them."""
    _write(work / DOUBTFUL_TABLE, work / DOUBTFUL_PICTURE, "oddness", peaks, images)


def _write(table: Path, picture: Path, height: str, peaks: list[Peak], images: GoodImages) -> None:
    peaks = _apart(sorted(peaks, key=lambda peak: peak.logit, reverse=True))
    if not peaks:
        table.unlink(missing_ok=True)
        picture.unlink(missing_ok=True)
        return
    with (
        write_whole(table) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(("image", "x", "y", height))
        for peak in peaks:
            y, x = images.place_in_picture(peak.place.image, peak.place.y, peak.place.x)
            writer.writerow((sheet_text(images.paths[peak.place.image].name), x, y, f"{peak.logit:.3f}"))
    rows = -(-min(SHOWN, len(peaks)) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, axes in enumerate(np.ravel(figure.subplots(rows, COLUMNS, squeeze=False))):
        axes.set_axis_off()
        if number < len(peaks):
            place = peaks[number].place
            border = 0 if images.in_windows else images.border
            axes.imshow(_crop(images.padded[place.image], border, place.y, place.x), cmap="gray")
            # ASCII: a font need not have every sign of a file's name.
            name = images.paths[place.image].name.encode("ascii", "replace").decode()
            y, x = images.place_in_picture(place.image, place.y, place.x)
            axes.set_title(f"{name[-24:]}\n{x}, {y}", fontsize=7, parse_math=False)
    with write_whole(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=90)


def _apart(peaks: list[Peak]) -> list[Peak]:
    """Of places that one crop would show, which minings at different times find, the first only."""
    kept: list[Peak] = []
    for peak in peaks:
        near = (
            other.place.image == peak.place.image
            and max(abs(other.place.y - peak.place.y), abs(other.place.x - peak.place.x)) < AROUND
            for other in kept
        )
        if not any(near):
            kept.append(peak)
    return kept


def _crop(padded: NDArray[np.generic], border: int, y: int, x: int) -> NDArray[np.float32]:
    """The surroundings of a pixel, stretched to 0..1 over all channels; of several lights their mean.

    The `border` px around the picture, which no camera saw, are not shown.
    """
    rows, columns = (
        slice(max(border, middle - AROUND), min(n - border, middle + AROUND))
        for middle, n in (
            (min(max(at, border), n - border - 1), n) for at, n in zip((y, x), padded.shape, strict=False)
        )
    )
    crop = padded[rows, columns].astype(np.float32)
    if crop.ndim == 3 and crop.shape[2] != 3:
        crop = crop.mean(axis=2)
    low, high = np.percentile(crop, (0.5, 99.5))
    return np.asarray(np.clip((crop - low) / max(float(high - low), 1e-6), 0, 1), np.float32)
