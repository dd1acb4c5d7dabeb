"""Heatmaps as tiled, pyramidal OME-TIFF, which QuPath, napari and Fiji (Bio-Formats) open at any size.

One float32 plane; the scores are those of the run. Each smaller level holds the largest of every 2x2 px of the one
above, so that a dot of 5x5 px is as hot in the smallest as in the largest. Levels lie in SubIFDs, as the specification
has it (https://docs.openmicroscopy.org/ome-model/latest/ome-tiff/specification.html).
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from flawmap.inspect.run.heatmap_file import open_heatmap
from flawmap.inspect.run.layout import heatmap_path
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.tiling.errors import UsageError
from flawmap.tiling.strips.row_file import RowFile
from flawmap.tiling.whole_file import write_whole

TILE_PX = 512
CLASSIC_BYTES = 1 << 31  # of pixels; a larger file is written as BigTIFF, which all three read
# What XML 1.0 cannot hold, not even escaped.
NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Heatmap = NDArray[np.float32]


def images_with_heatmaps(run: RecordedRun) -> list[RecordedImage]:
    """The images of which there is a heatmap; UsageError where there is none at all."""
    found = [image for image in run.inspected if (run.folder / heatmap_path(image.name)).is_file()]
    if not found:
        raise UsageError(
            f"`RUN_DIR` (={run.folder}) holds no heatmaps: inspect again with `--heatmaps`, which is what writes them"
        )
    return found


def write_ome_tiff(run: RecordedRun, image: RecordedImage, folder: Path) -> Path:
    """Writes the heatmap of `image` as `<name>.ome.tif` into `folder`, whole or not at all; returns its path.

    No level is held in memory as a whole: they lie in `folder`, in files without a name, until they are written.
    ImageError where the heatmap is damaged, OSError where the file cannot be written.
    """
    record = image.record
    shape = record.height, record.width
    shapes = level_shapes(shape)
    path = folder / f"{image.name}.ome.tif"
    with (
        open_heatmap(run.folder / heatmap_path(image.name), shape) as source,
        write_whole(path) as temporary,
        ExitStack() as files,
        tifffile.TiffWriter(temporary, bigtiff=4 * shape[0] * shape[1] > CLASSIC_BYTES, ome=True) as tiff,
    ):
        smaller = [files.enter_context(RowFile(folder, level, np.float32)) for level in shapes[1:]]
        levels = [source.bands(TILE_PX), *map(_bands, smaller)]
        for number, (bands, below) in enumerate(zip(levels, [*smaller, None], strict=True)):
            about = _about(run, image) if number == 0 else None
            _write(tiff, _handed_down(bands, below), shapes[number], n_smaller=len(smaller), about=about)
    return path


def level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """(height, width) of every level, halved and rounded up until one tile holds it."""
    shapes = [shape]
    while max(shapes[-1]) > TILE_PX:
        height, width = shapes[-1]
        shapes.append((-(-height // 2), -(-width // 2)))
    return shapes


def halved(band: Heatmap) -> Heatmap:
    """The largest of every 2x2 px, float32 [H, W] to [ceil(H / 2), ceil(W / 2)]; an odd last row or column alone."""
    rows = np.maximum.reduceat(band, np.arange(0, band.shape[0], 2), axis=0)
    return np.asarray(np.maximum.reduceat(rows, np.arange(0, band.shape[1], 2), axis=1), np.float32)


def _handed_down(bands: Iterator[Heatmap], below: RowFile | None) -> Iterator[Heatmap]:
    """The bands of one level; each is halved into the level below before it goes on. All but the last are even."""
    for band in bands:
        if below is not None:
            below.append(halved(band))
        yield band


def _bands(level: RowFile) -> Iterator[Heatmap]:
    for y in range(0, level.shape[0], TILE_PX):
        yield level[y : y + TILE_PX, 0 : level.shape[1]]


def _write(
    tiff: tifffile.TiffWriter,
    bands: Iterator[Heatmap],
    shape: tuple[int, int],
    *,
    n_smaller: int,
    about: dict[str, Any] | None,
) -> None:
    """One level: the largest, which says what the file is `about`, or one of the `n_smaller` below it."""
    tiff.write(
        _tiles(bands, shape[1]),
        shape=shape,
        dtype=np.float32,
        tile=(TILE_PX, TILE_PX),
        photometric="minisblack",
        # No predictor: Bio-Formats knows none for floating point.
        compression="zlib",
        compressionargs={"level": 6},
        subifds=n_smaller if about else 0,
        subfiletype=0 if about else 1,
        metadata=about,
        maxworkers=1,
    )


def _tiles(bands: Iterator[Heatmap], width: int) -> Iterator[Heatmap]:
    """Tile by tile and row by row; what of the last ones lies beyond the heatmap is 0. Bands are TILE_PX high.

    What did not count, -inf until here, is NaN: for viewers that means "nothing known", and -inf spoils their scale.
    """
    for band in bands:
        for x in range(0, width, TILE_PX):
            tile = np.zeros((TILE_PX, TILE_PX), np.float32)
            part = band[:, x : x + TILE_PX]
            tile[: part.shape[0], : part.shape[1]] = np.where(part == -np.inf, np.float32(np.nan), part)
            yield tile


def _about(run: RecordedRun, image: RecordedImage) -> dict[str, Any]:
    """For the OME-XML: the image's name, what the values are, and what a pixel covers where that is known."""
    record, thresholds = image.record, run.thresholds_of(image.record)
    notes = {
        "verdict": record.verdict,
        "severity": f"{record.severity:.3f}",
        "score from which a region is REVIEW": f"{thresholds['review']:.6g}",
        "score from which a region is NG": f"{thresholds['ng']:.6g}",
        "bundle SHA-256": run.info.bundle_sha256,
    }
    about: dict[str, Any] = {
        "axes": "YX",
        "Creator": f"flawmap {run.info.versions.get('flawmap', '')}".strip(),
        "Name": _xml(record.image),
        "Description": _xml(f"flawmap heatmap, {run.info.product}"),
        "Channel": {"Name": "heatmap"},
        "MapAnnotation": {key: _xml(value) for key, value in notes.items()},
    }
    if record.pixel_size is not None:
        about |= {"PhysicalSizeX": record.pixel_size.x_um, "PhysicalSizeXUnit": "µm"}
        about |= {"PhysicalSizeY": record.pixel_size.y_um, "PhysicalSizeYUnit": "µm"}
    return about


def _xml(text: str) -> str:
    """`text` without what XML cannot hold: control characters, and the bytes of a name that are no UTF-8."""
    return NO_XML.sub("\ufffd", text)
