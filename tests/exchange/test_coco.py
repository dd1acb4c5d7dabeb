"""Runs as COCO, opened by pycocotools."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools.coco import COCO

from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.exchange.outlines import outer_edges
from flawmap.inspect.report.pictures import write_heatmap
from flawmap.inspect.run.heatmap_file import read_heatmap
from flawmap.inspect.run.recorded_run import RecordedRun
from tests.written_runs import HOSTILE, image_record, region, run_info, write_run

# Of pycocotools 2.0.11, with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def pycoco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_coco_holds_every_region_that_counts(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    convert(run_dir, Format.COCO, tmp_path / "new" / "coco.json")
    coco = pycoco(tmp_path / "new" / "coco.json")
    by_name = {image["file_name"]: image for image in coco.loadImgs(coco.getImgIds())}
    assert list(by_name) == ["bad.bmp", "bad.png", "good.png", "lot 1/ünï.png", "stack.tif#1", "stack.tif#2"]
    assert list(coco.dataset["info"]["not_inspected"]) == ["torn.png"]
    for image in recorded.inspected:
        entry = by_name[image.record.image]
        assert (entry["height"], entry["width"]) == (600, 700)
        found = coco.loadAnns(coco.getAnnIds(imgIds=[entry["id"]]))
        assert len(found) == image.record.n_regions
        assert bool(found) == (image.record.image not in ("good.png", "stack.tif#1"))
        for annotation, one in zip(found, image.record.regions, strict=True):
            assert annotation["bbox"] == [one.x_min, one.y_min, one.x_max - one.x_min, one.y_max - one.y_min]
            (category,) = coco.loadCats(annotation["category_id"])
            assert category["name"] == (one.defect_class or "defect")


def test_coco_masks_are_the_pixels_of_the_heatmap(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    """Against the area that the run itself measured, and the threshold applied to the whole heatmap."""
    convert(run_dir, Format.COCO, tmp_path / "coco.json")
    coco = pycoco(tmp_path / "coco.json")
    entry = next(image for image in coco.dataset["images"] if image["file_name"] == "bad.png")
    scores = read_heatmap(run_dir / "overlays" / "bad.png-heatmap.tif", (600, 700))
    hot = scores >= recorded.info.thresholds["grow"]
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=[entry["id"]])):
        mask = coco.annToMask(annotation)
        x, y, width, height = annotation["bbox"]
        assert mask[y : y + height, x : x + width].sum() == mask.sum()
        # The outlines are filled: the toy network sees the stain's rim only.
        assert mask.sum() >= annotation["area"] and abs((mask & hot).sum() - annotation["area"]) <= 1


@settings(max_examples=60)
@given(arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_follow_the_pixels(mask: NDArray[np.bool_]) -> None:
    """Filled counting of pixel middles: the mask without holes."""
    polygons = outer_edges(mask)
    middles = np.stack(np.meshgrid(np.arange(mask.shape[1]) + 0.5, np.arange(mask.shape[0]) + 0.5), axis=-1)
    inside = np.zeros(mask.shape, np.int64)
    for polygon in polygons:
        crossings = np.zeros(mask.shape, np.int64)
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            assert x0 == x1 or y0 == y1, "edges of pixels are level or upright"
            if x0 == x1:
                crossings += (middles[..., 0] > x0) & (middles[..., 1] > min(y0, y1)) & (middles[..., 1] < max(y0, y1))
        inside += crossings % 2
    assert inside.max(initial=0) <= 1
    np.testing.assert_array_equal(inside == 1, filled(mask))


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What cannot be reached from outside by steps up, down, left and right through the background."""
    padded = np.pad(mask, 1)
    outside = np.zeros_like(padded)
    outside[0, 0] = True
    while True:
        grown = outside.copy()
        grown[1:] |= outside[:-1]
        grown[:-1] |= outside[1:]
        grown[:, 1:] |= outside[:, :-1]
        grown[:, :-1] |= outside[:, 1:]
        grown &= ~padded
        if (grown == outside).all():
            return ~outside[1:-1, 1:-1]
        outside = grown


def test_another_region_in_the_same_box_is_not_part_of_it(tmp_path: Path) -> None:
    """A hook with a dot in its bay, and a speck that never reached a candidate's score."""
    heatmap = np.zeros((80, 90), np.float32)
    heatmap[10:40, 10] = heatmap[39, 10:50] = 7
    heatmap[15:18, 40:44] = 9
    heatmap[20, 25] = 4.5
    spots = [region((15, 40, 18, 44)), region((10, 10, 40, 50), 2)]
    record = image_record("a.png", height=80, width=90, verdict="NG", severity=2.0, regions=spots)
    thresholds = {**run_info().thresholds, "grow": 4.0, "candidate": 5.0}
    write_run(tmp_path, [record], run_info(thresholds=thresholds), ["a"])
    write_heatmap(tmp_path, "a", heatmap)
    convert(tmp_path, Format.COCO, tmp_path / "coco.json")
    coco = pycoco(tmp_path / "coco.json")
    dot, hook = (coco.annToMask(annotation) for annotation in coco.dataset["annotations"])
    np.testing.assert_array_equal(dot, heatmap == 9)
    np.testing.assert_array_equal(hook, heatmap == 7)


def test_coco_without_heatmaps_has_boxes(hostile: Path, tmp_path: Path) -> None:
    converted = convert(hostile, Format.COCO, tmp_path / "coco.json")
    assert converted.notes == [
        "1 of 8 images could not be inspected, and are left out",
        "7 regions that rules dropped are left out",
    ]
    coco = pycoco(tmp_path / "coco.json")
    assert {image["file_name"] for image in coco.dataset["images"]} == set(HOSTILE)
    assert [category["name"] for category in coco.dataset["categories"]] == ['<b>"stain"']
    for annotation in coco.dataset["annotations"]:
        assert coco.annToMask(annotation).sum() == annotation["bbox"][2] * annotation["bbox"][3] == 200
