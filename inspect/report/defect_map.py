"""Where defects gather: all regions of a run laid over one outline, in px of the outline.

    +-----------------+
    |   ▒▒ .     .    |     marks: every region, at its place
    |   ▒▒  .         |     cells: on how many images a region lies there
    |            .    |
    +-----------------+

Cells count images, not regions: one part with a hundred scratches must not look like a hundred scratched parts. What
rules dropped does not count. An image of another size than the outline is stretched onto it. With a recipe each camera
has an outline of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from flawmap.inspect.run.records import ImageRecord, RegionRecord, Verdict

MARKS_MAX = 2000  # the most severe; the cells count all
CELLS_ALONG = 20  # the longer side
MARK_MIN_SHARE = 0.008  # of the longer side: a smaller region is drawn as large as this
GATHER_IMAGES = 2  # one image is no gathering
PLACES_NAMED = 3


@dataclass(frozen=True)
class Mark:
    """One region on the outline."""

    image: str
    region: int
    verdict: Verdict
    severity: float
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Cell:
    """A part of the outline and on how many images at least one region has its centre there."""

    x: float
    y: float
    width: float
    height: float
    n_images: int
    n_regions: int
    share: float  # of the images of the cell with most, 0..1


@dataclass(frozen=True)
class DefectMap:
    """The regions of one camera, or of the whole run."""

    camera: str
    width: int
    height: int
    n_images: int  # inspected
    n_regions: int
    marks: list[Mark]  # the most severe last: they are drawn on top
    cells: list[Cell]  # those of at least GATHER_IMAGES images, the fullest first

    @property
    def places(self) -> list[Cell]:
        """Where regions gather most."""
        return self.cells[:PLACES_NAMED]


def defect_maps(records: Sequence[ImageRecord]) -> list[DefectMap]:
    """One map, or with a recipe one a camera, by name; none of a camera without an inspected image."""
    cameras: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        if record.verdict != "ERROR" and record.width and record.height:
            cameras[record.camera].append(record)
    return [_map(camera, cameras[camera]) for camera in sorted(cameras)]


def _map(camera: str, records: Sequence[ImageRecord]) -> DefectMap:
    width, height = Counter((record.width, record.height) for record in records).most_common(1)[0][0]
    marks = [
        _mark(record, region, width, height) for record in records for region in record.regions if not region.dropped
    ]
    marks.sort(key=lambda mark: mark.severity)
    return DefectMap(
        camera=camera,
        width=width,
        height=height,
        n_images=len(records),
        n_regions=len(marks),
        marks=marks[-MARKS_MAX:],
        cells=_cells(marks, width, height),
    )


def _mark(record: ImageRecord, region: RegionRecord, width: int, height: int) -> Mark:
    scale_x, scale_y = width / record.width, height / record.height
    smallest = MARK_MIN_SHARE * max(width, height)
    wide = max((region.x_max - region.x_min) * scale_x, smallest)
    high = max((region.y_max - region.y_min) * scale_y, smallest)
    x = (region.x_min + region.x_max) / 2 * scale_x - wide / 2
    y = (region.y_min + region.y_max) / 2 * scale_y - high / 2
    x, y, wide, high = (round(value, 1) for value in (x, y, wide, high))
    return Mark(record.image, region.region, region.verdict, region.severity, x, y, wide, high)


def _cells(marks: Sequence[Mark], width: int, height: int) -> list[Cell]:
    side = max(width, height) / CELLS_ALONG
    columns, rows = max(1, round(width / side)), max(1, round(height / side))
    wide, high = width / columns, height / rows
    found: dict[tuple[int, int], list[str]] = defaultdict(list)
    for mark in marks:
        column = min(max(int((mark.x + mark.width / 2) / wide), 0), columns - 1)
        row = min(max(int((mark.y + mark.height / 2) / high), 0), rows - 1)
        found[row, column].append(mark.image)
    counted = {at: (len(set(images)), len(images)) for at, images in found.items()}
    most = max((n_images for n_images, _ in counted.values()), default=1)
    cells = [
        Cell(column * wide, row * high, wide, high, n_images, n_regions, n_images / most)
        for (row, column), (n_images, n_regions) in counted.items()
        if n_images >= GATHER_IMAGES
    ]
    return sorted(cells, key=lambda cell: (-cell.n_images, -cell.n_regions, cell.y, cell.x))
