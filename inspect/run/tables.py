"""images.csv and regions.csv, drawn from the records in the order in which the images were listed."""

import csv
from collections.abc import Iterable
from pathlib import Path

from flawmap.inspect.run.layout import IMAGES_TABLE, REGIONS_TABLE
from flawmap.inspect.run.records import ImageRecord
from flawmap.tiling.sheet_text import sheet_text
from flawmap.tiling.whole_file import write_whole

IMAGE_COLUMNS = ("image", "verdict", "severity", "n_regions", "width", "height", "milliseconds", "error")
REGION_COLUMNS = (
    "image", "region", "x_min", "y_min", "x_max", "y_max", "centroid_x", "centroid_y",
    "area_px", "score_max", "score_mean", "severity", "verdict",
    "area_visible_px", "length_px", "width_px", "elongation", "contrast", "area_mm2", "length_mm", "width_mm",
    "fragments", "defect_class", "rule", "zone",
)  # fmt: skip


MEASURES = REGION_COLUMNS[REGION_COLUMNS.index("area_visible_px") : REGION_COLUMNS.index("fragments")]

PART_COLUMNS = ("part", "camera")  # of both tables, behind the others, where a recipe was given


def write_tables(run_dir: Path, records: Iterable[ImageRecord], *, with_parts: bool) -> None:
    """Writes both tables of RUN_DIR, each whole or not at all; `records` is gone through once.

    `with_parts`: with the columns that a recipe adds.

    Severities have 3 decimals, scores and measures 6 digits, centroids 2 decimals, milliseconds (all stages of one
    image) 1. An image that could not be inspected has no severity, a measure that is not known is empty. Texts that a
    spreadsheet would take for formulas have an apostrophe in front.
    """
    with (
        write_whole(run_dir / IMAGES_TABLE) as images_path,
        write_whole(run_dir / REGIONS_TABLE) as regions_path,
        images_path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as images_file,
        regions_path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as regions_file,
    ):
        images, regions = csv.writer(images_file), csv.writer(regions_file)
        images.writerow([*IMAGE_COLUMNS, *(PART_COLUMNS if with_parts else ())])
        regions.writerow([*REGION_COLUMNS, *(PART_COLUMNS if with_parts else ())])
        for record in records:
            part = [sheet_text(record.part), sheet_text(record.camera)] if with_parts else []
            images.writerow([*_image_row(record), *part])
            regions.writerows([*row, *part] for row in _region_rows(record))


def _image_row(record: ImageRecord) -> list[object]:
    return [
        sheet_text(record.image),
        record.verdict,
        "" if record.verdict == "ERROR" else _decimals(record.severity, 3),
        record.n_regions,
        record.width,
        record.height,
        _decimals(record.milliseconds.get("total", 0.0), 1),
        sheet_text(record.error),
    ]


def _region_rows(record: ImageRecord) -> Iterable[list[object]]:
    for region in record.regions:
        yield [
            sheet_text(record.image),
            region.region,
            region.x_min,
            region.y_min,
            region.x_max,
            region.y_max,
            _decimals(region.centroid_x, 2),
            _decimals(region.centroid_y, 2),
            region.area_px,
            f"{region.score_max:.6g}",
            f"{region.score_mean:.6g}",
            _decimals(region.severity, 3),
            region.verdict,
            *(_digits(getattr(region, name)) for name in MEASURES),
            region.fragments,
            sheet_text(region.defect_class),
            sheet_text(region.rule),
            sheet_text(region.zone),
        ]


def _digits(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _decimals(value: float, places: int) -> float:
    return round(value, places) + 0.0  # not -0.0
