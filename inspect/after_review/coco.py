"""The defects that people marked, as COCO."""

from typing import Any

from flawmap.inspect.exchange.annotated import UNNAMED
from flawmap.inspect.exchange.coco_file import coco
from flawmap.inspect.plain_text import plain
from flawmap.inspect.review.mark_record import Box
from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun, box_of
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.inspect.run.records import ImageRecord


def coco_of_marks(run: ReviewedRun) -> dict[str, Any]:
    """The marked defects as COCO; images as those of `flawmap convert`, with `reviewed_completely`.

    A defect that was drawn, or whose region is gone, has its box as outline, and null as `region`.
    """
    chosen = [image for image in run.images if image.complete or image.defects]
    records = [RecordedImage(image.name, _defects_only(image)) for image in chosen]
    content = coco(RecordedRun(run.recorded.folder, run.recorded.info, records))
    content["info"]["description"] = f"{plain(run.recorded.info.product)}, reviewed with flawmap"
    for entry, image in zip(content["images"], chosen, strict=True):
        entry["reviewed_completely"] = image.complete
        for box in _without_region(image):
            content["annotations"].append(_box_annotation(content, entry["id"], box))
    return content


def _defects_only(image: ReviewedImage) -> ImageRecord:
    """The record with the regions marked as a defect, all others as if a rule had dropped them: they shape outlines."""
    regions = []
    for region in image.record.regions:
        entry = image.mark_of.get(box_of(region))
        if entry is not None and entry.mark == "defect":
            regions.append(region.model_copy(update={"verdict": "NG"}) if region.dropped else region)
        else:
            regions.append(region.model_copy(update={"verdict": "OK"}))
    return image.record.model_copy(update={"regions": regions})


def _without_region(image: ReviewedImage) -> list[Box]:
    there = {box_of(region) for region in image.record.regions}
    return [box for box in image.defects if box not in there]


def _box_annotation(content: dict[str, Any], image_id: int, box: Box) -> dict[str, Any]:
    y0, x0, y1, x1 = box
    category = next((one["id"] for one in content["categories"] if one["name"] == UNNAMED), None)
    if category is None:
        category = len(content["categories"]) + 1
        content["categories"].append({"id": category, "name": UNNAMED, "supercategory": "defect"})
    return {
        "id": len(content["annotations"]) + 1,
        "image_id": image_id,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
        "iscrowd": 0,
        "region": None,
    }
