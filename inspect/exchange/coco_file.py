"""A run as one COCO JSON file, as pycocotools, CVAT, FiftyOne and training code read it.

The format: https://cocodataset.org/#format-data, object detection. Boxes are [x, y, width, height] in px of the image.
What COCO has no field for stands in further fields of flawmap's own, which readers pass over.
"""

from pathlib import Path
from typing import Any

from flawmap.inspect.exchange.annotated import annotated, box_corners, label_of
from flawmap.inspect.exchange.outlines import Outlines
from flawmap.inspect.run.record_files import json_text
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.inspect.run.records import RegionRecord
from flawmap.tiling.whole_file import write_text


def write_coco(run: RecordedRun, path: Path) -> None:
    """Writes `path`, whole or not at all. OSError where it cannot be written.

    An image that could not be inspected is not among `images`, where it would pass for one without a defect, but in
    `info.not_inspected`.
    """
    write_text(path, json_text(coco(run)))


def coco(run: RecordedRun) -> dict[str, Any]:
    """The content of the file; ids count from 1, categories in the order of their names."""
    labels = sorted({label_of(region) for image in run.inspected for region in annotated(image.record)})
    category = {label: number for number, label in enumerate(labels, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, image in enumerate(run.inspected, start=1):
        images.append(_image(image_id, image))
        outlines = Outlines(run, image)
        for region in annotated(image.record):
            found = _annotation(region, outlines)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": category[label_of(region)], **found}
            )
    return {
        "info": _info(run),
        "licenses": [],
        "categories": [{"id": number, "name": label, "supercategory": "defect"} for label, number in category.items()],
        "images": images,
        "annotations": annotations,
    }


def _info(run: RecordedRun) -> dict[str, Any]:
    return {
        "description": f"{run.info.product}, inspected by flawmap",
        "version": run.info.versions.get("flawmap", ""),
        "year": int(run.info.started[:4]),
        "contributor": "flawmap",
        "date_created": run.info.finished or run.info.started,
        "bundle_sha256": run.info.bundle_sha256,
        "not_inspected": {
            image.record.image: image.record.error for image in run.images if image.record.verdict == "ERROR"
        },
    }


def _image(image_id: int, image: RecordedImage) -> dict[str, Any]:
    record = image.record
    found: dict[str, Any] = {
        "id": image_id,
        "file_name": record.image,
        "width": record.width,
        "height": record.height,
        "date_captured": record.inspected,
        "verdict": record.verdict,
        "severity": round(record.severity, 3),
    }
    return found | ({"part": record.part, "camera": record.camera} if record.part else {})


def _annotation(region: RegionRecord, outlines: Outlines) -> dict[str, Any]:
    box = [region.x_min, region.y_min, region.x_max - region.x_min, region.y_max - region.y_min]
    polygons = outlines.polygons(region) or [box_corners(region)]
    return {
        "bbox": box,
        "area": region.area_px,
        "segmentation": [polygon.ravel().tolist() for polygon in polygons],
        "iscrowd": 0,
        "region": region.region,
        "verdict": region.verdict,
        "severity": round(region.severity, 3),
        "score_max": region.score_max,
    }
