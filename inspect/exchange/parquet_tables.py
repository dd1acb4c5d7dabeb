"""A run as Parquet tables, for pandas, Polars, DuckDB and Spark: what the CSV tables say, typed, in full precision."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flawmap.inspect.run.record_files import json_text
from flawmap.inspect.run.recorded_run import RecordedRun
from flawmap.inspect.run.records import ImageRecord, RegionRecord
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_whole

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

IMAGES, REGIONS, PARTS = "images.parquet", "regions.parquet", "parts.parquet"
RUN_KEY = b"flawmap.run"  # of the tables' metadata: run.json
ROWS_AT_ONCE = 10_000
IMAGE_TYPES = {
    "image": "string", "verdict": "string", "severity": "float64", "n_regions": "int64", "width": "int64",
    "height": "int64", "milliseconds": "float64", "error": "string", "inspected": "timestamp",
    "pixel_x_um": "float64", "pixel_y_um": "float64", "part": "string", "camera": "string",
}  # fmt: skip
REGION_TYPES = {
    "image": "string", "region": "int64", "x_min": "int64", "y_min": "int64", "x_max": "int64", "y_max": "int64",
    "centroid_x": "float64", "centroid_y": "float64", "area_px": "int64", "score_max": "float64",
    "score_mean": "float64", "severity": "float64", "verdict": "string", "area_visible_px": "int64",
    "length_px": "float64", "width_px": "float64", "elongation": "float64", "contrast": "float64",
    "area_mm2": "float64", "length_mm": "float64", "width_mm": "float64", "fragments": "int64",
    "defect_class": "string", "rule": "string", "zone": "string", "part": "string", "camera": "string",
}  # fmt: skip
PART_TYPES = {
    "part": "string", "verdict": "string", "severity": "float64", "severity_review": "float64",
    "severity_ng": "float64", "n_images": "int64", "n_regions": "int64", "worst_image": "string",
    "missing_cameras": "strings",
}  # fmt: skip


def write_parquet(run: RecordedRun, parts: "Sequence[DataclassInstance] | None", folder: Path) -> list[Path]:
    """Writes images.parquet, regions.parquet and, with a recipe, parts.parquet, each whole or not at all.

    `parts`: the results of the parts, None without a recipe. What regions.csv leaves empty is null. The metadata
    `flawmap.run` of every table holds run.json. UsageError where pyarrow is not installed, OSError where a table
    cannot be written.
    """
    tables: list[tuple[str, dict[str, str], Iterable[dict[str, Any]]]] = [
        (IMAGES, IMAGE_TYPES, (_image_row(image.record) for image in run.images)),
        (REGIONS, REGION_TYPES, (_region_row(i.record, region) for i in run.images for region in i.record.regions)),
    ]
    if parts is not None:
        tables.append((PARTS, PART_TYPES, (_part_row(asdict(part)) for part in parts)))
    metadata = {RUN_KEY: _utf8(json_text(run.info.model_dump())).encode()}
    for name, types, rows in tables:
        _write(folder / name, types, rows, metadata)
    return [folder / name for name, _, _ in tables]


def _write(path: Path, types: dict[str, str], rows: Iterable[dict[str, Any]], metadata: dict[bytes, bytes]) -> None:
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise UsageError(
            "`--to parquet` needs pyarrow, which is not installed: pip install 'flawmap[export]'"
        ) from None
    known = {
        "string": arrow.string(),
        "strings": arrow.list_(arrow.string()),
        "int64": arrow.int64(),
        "float64": arrow.float64(),
        "timestamp": arrow.timestamp("ms", tz="UTC"),
    }
    schema = arrow.schema([(name, known[kind]) for name, kind in types.items()], metadata=metadata)
    with write_whole(path) as temporary, ParquetWriter(temporary, schema, compression="snappy") as writer:
        for some in _groups(rows):
            writer.write_table(arrow.Table.from_pylist(some, schema=schema))


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rows = iter(rows)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        yield some


def _image_row(record: ImageRecord) -> dict[str, Any]:
    return {
        "image": _utf8(record.image),
        "verdict": record.verdict,
        "severity": None if record.verdict == "ERROR" else record.severity,
        "n_regions": record.n_regions,
        "width": record.width or None,  # of a file that could not be read nobody knows
        "height": record.height or None,
        "milliseconds": record.milliseconds.get("total"),
        "error": _utf8(record.error) or None,
        "inspected": datetime.fromisoformat(record.inspected).astimezone(UTC) if record.inspected else None,
        "pixel_x_um": None if record.pixel_size is None else record.pixel_size.x_um,
        "pixel_y_um": None if record.pixel_size is None else record.pixel_size.y_um,
        "part": _utf8(record.part) or None,
        "camera": _utf8(record.camera) or None,
    }


def _region_row(record: ImageRecord, region: RegionRecord) -> dict[str, Any]:
    of_image = {
        "image": _utf8(record.image),
        "part": _utf8(record.part) or None,
        "camera": _utf8(record.camera) or None,
    }
    named = {name: getattr(region, name) or None for name in ("defect_class", "rule", "zone")}
    rest = {name: getattr(region, name) for name in REGION_TYPES if name not in (*of_image, *named)}
    return of_image | named | rest


def _part_row(values: dict[str, Any]) -> dict[str, Any]:
    if values["verdict"] == "ERROR":
        values["severity"] = None
    return {name: _utf8(value) if isinstance(value, str) else value for name, value in values.items()}


def _utf8(text: str) -> str:
    """A byte of a name that is no UTF-8, which Parquet cannot hold, is written as \\udce9."""
    return text.encode("utf-8", "backslashreplace").decode()
