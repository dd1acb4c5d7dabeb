"""Runs in the formats of other programs, opened by what those programs read them with."""

import contextlib
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import ome_types
import pyarrow.parquet as parquet
import pytest
import tifffile
import xmlschema
from annotated_types import Len
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pydantic import BaseModel, ConfigDict

from flawmap.export.part_record import Part
from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.exchange.ome_tiff import halved, level_shapes
from flawmap.inspect.exchange.outlines import outer_edges
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.heatmap_file import open_heatmap, read_heatmap
from flawmap.inspect.recorded_run import RecordedRun, read_recorded_run
from flawmap.inspect.report.pdf_sheets import SETTINGS, fitted, printable
from flawmap.inspect.report.pictures import write_heatmap
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import write_image
from flawmap.tiling.labelme import read_labelme
from tests.bundles import good_image, make_bundle
from tests.test_cli import run as flawmap
from tests.test_recipe import mixed, station, write_recipe  # noqa: F401 (fixtures)
from tests.test_report import HOSTILE, image_record, region, run_info, write_run

# Of pycocotools 2.0.11, with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PIXEL = {"pixel_size": "0.02 mm"}


def surface(seed: int, *, height: int = 600, width: int = 700) -> NDArray[Any]:
    """A good surface with a hooked scratch, a dot and a stain."""
    image = good_image(height, width, seed=seed)
    if seed:
        image[100:104, 200:260] = 250
        image[104:150, 256:260] = 250
        image[300:303, 400:403] = 20
        image[500:520, 600:640] = 255
    return image


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with heatmaps: a good image, two defective ones (one below a folder), pages of a stack, a broken file."""
    folder = tmp_path_factory.mktemp("run")
    images = folder / "images"
    (images / "lot 1").mkdir(parents=True)
    write_image(images / "good.png", surface(0))
    write_image(images / "bad.png", surface(1))
    write_image(images / "bad.bmp", surface(2))
    write_image(images / "lot 1" / "ünï.png", surface(3))
    tifffile.imwrite(images / "stack.tif", np.stack([surface(0), surface(4)]), photometric="minisblack")
    (images / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    bundle = make_bundle(folder / "toy.bundle", part=Part.model_validate(PIXEL), pages="pictures")
    inspect_folder([images], bundle.folder, folder / "run", heatmaps=True, zoom=False)
    return folder / "run"


@pytest.fixture(scope="module")
def recorded(run_dir: Path) -> RecordedRun:
    return read_recorded_run(run_dir)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run without heatmaps whose images have every hostile name."""
    spots = [
        region((10, 10, 20, 30), defect_class='<b>"stain"'),
        region((1, 1, 5, 6), 2, verdict="OK", severity=0.1, rule="specks"),
    ]
    records = [image_record(name, verdict="NG", severity=1.5, regions=spots) for name in HOSTILE]
    records.append(image_record("torn.png", verdict="ERROR", error="truncated <PNG>", width=0, height=0))
    write_run(tmp_path / "run", records, run_info())
    return tmp_path / "run"


def pycoco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


# COCO


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


# LabelMe


class LabelMeShape(BaseModel):
    """labelme 5, label_file.py: the keys it reads and writes of a shape."""

    model_config = ConfigDict(extra="forbid", strict=True)
    label: str
    points: list[Annotated[list[float], Len(2, 2)]]
    group_id: int | None
    description: str | None
    shape_type: Literal["polygon", "rectangle"]
    flags: dict[str, bool]
    mask: None


class LabelMeContent(BaseModel):
    """...and of a file."""

    model_config = ConfigDict(extra="forbid", strict=True)
    version: str
    flags: dict[str, bool]
    shapes: list[LabelMeShape]
    imagePath: str  # noqa: N815 (LabelMe's name)
    imageData: None  # noqa: N815
    imageHeight: int  # noqa: N815
    imageWidth: int  # noqa: N815


def test_labelme_files_lie_as_the_images_do(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    converted = convert(run_dir, Format.LABELME, tmp_path / "labels")
    names = sorted(path.relative_to(tmp_path / "labels").as_posix() for path in converted.paths)
    assert names == [
        "bad.bmp.json", "bad.png.json", "good.json", "lot 1/ünï.json", "stack.tif#1.json", "stack.tif#2.json",
    ]  # fmt: skip
    for path in converted.paths:
        content = LabelMeContent.model_validate_json(path.read_text())
        drawing = read_labelme(path)
        assert (drawing.height, drawing.width) == (600, 700)
        assert drawing.picture is not None and drawing.picture.is_file()
        assert content.flags["OK"] == (not content.shapes)
    drawn = read_labelme(tmp_path / "labels" / "bad.png.json")
    image = next(image for image in recorded.images if image.record.image == "bad.png")
    picture = np.zeros((600, 700), np.uint8)
    for shape in drawn.shapes:
        shape.fill(picture, 1)
    assert picture.sum() >= sum(one.area_px for one in image.record.regions)


def test_what_somebody_drew_is_not_overwritten(run_dir: Path, tmp_path: Path) -> None:
    convert(run_dir, Format.LABELME, tmp_path)
    (tmp_path / "good.json").unlink()
    (tmp_path / "bad.png.json").write_text("drawn")
    with pytest.raises(UsageError, match=r"`-o` \(=.*\) holds `bad.bmp.json` and 4 more of these files already"):
        convert(run_dir, Format.LABELME, tmp_path)
    assert (tmp_path / "bad.png.json").read_text() == "drawn" and not (tmp_path / "good.json").exists()


def test_labelme_of_hostile_names_stays_in_its_folder(hostile: Path, tmp_path: Path) -> None:
    records = read_recorded_run(hostile).images
    outside = image_record("../../up.png")
    (hostile / "regions" / "up.json").write_text(json.dumps(outside.model_dump()))
    converted = convert(hostile, Format.LABELME, tmp_path / "labels")
    assert len(converted.paths) == len(records)  # one more, and one that could not be inspected
    for path in converted.paths:
        assert path.resolve().is_relative_to(tmp_path / "labels") and ".." not in path.parts
        LabelMeContent.model_validate(json.loads(path.read_text()))


# Parquet


def test_parquet_says_what_the_records_say(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    convert(run_dir, Format.PARQUET, tmp_path)
    images = parquet.read_table(tmp_path / "images.parquet")
    regions = parquet.read_table(tmp_path / "regions.parquet")
    assert not (tmp_path / "parts.parquet").exists()
    rows = images.to_pylist()
    assert [row["image"] for row in rows] == [image.record.image for image in recorded.images]
    assert [row["severity"] for row in rows] == [
        None if image.record.verdict == "ERROR" else image.record.severity for image in recorded.images
    ]
    assert rows[-1]["verdict"] == "ERROR" and rows[-1]["width"] is None and rows[-1]["error"]
    assert rows[0]["pixel_x_um"] == 20.0 and rows[0]["inspected"].tzinfo is not None
    expected = [(image.record.image, one) for image in recorded.images for one in image.record.regions]
    for row, (name, one) in zip(regions.to_pylist(), expected, strict=True):
        assert row["image"] == name and row["score_max"] == one.score_max and row["length_mm"] == one.length_mm
        assert row["rule"] is None and row["area_px"] == one.area_px
    told = json.loads(images.schema.metadata[b"flawmap.run"])
    assert told["bundle_sha256"] == recorded.info.bundle_sha256


def test_parquet_has_the_columns_of_the_tables(run_dir: Path, tmp_path: Path) -> None:
    convert(run_dir, Format.PARQUET, tmp_path)
    for name in ("images", "regions"):
        header = (run_dir / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
        assert parquet.read_schema(tmp_path / f"{name}.parquet").names[: len(header)] == header


def test_parquet_holds_hostile_names_and_what_rules_dropped(hostile: Path, tmp_path: Path) -> None:
    convert(hostile, Format.PARQUET, tmp_path)
    names = parquet.read_table(tmp_path / "images.parquet")["image"].to_pylist()
    assert set(names) >= {HOSTILE[0], r"caf\udce9 %41#frag?x=1.png", r"lone \ud800.png"}
    verdicts = parquet.read_table(tmp_path / "regions.parquet")["verdict"].to_pylist()
    assert verdicts.count("OK") == verdicts.count("NG") == len(HOSTILE)


def test_parquet_of_a_run_without_regions(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [image_record("a.png")], run_info())
    convert(tmp_path / "run", Format.PARQUET, tmp_path / "out")
    assert parquet.read_table(tmp_path / "out" / "regions.parquet").num_rows == 0


# OME-TIFF


def test_ome_tiff_is_a_pyramid_with_valid_metadata(run_dir: Path, tmp_path: Path) -> None:
    converted = convert(run_dir, Format.OME_TIFF, tmp_path)
    assert converted.notes == ["1 of 7 images have no heatmap, and so no file"] and not converted.failures
    assert {path.name for path in converted.paths} >= {"bad.png.ome.tif", "stack.tif#2.ome.tif"}
    heatmap = read_heatmap(run_dir / "overlays" / "bad.png-heatmap.tif", (600, 700))
    with tifffile.TiffFile(tmp_path / "bad.png.ome.tif") as tiff:
        assert tiff.is_ome and len(tiff.series) == 1 and len(tiff.pages) == 1
        levels = tiff.series[0].levels
        assert [level.shape for level in levels] == [(600, 700), (300, 350)] == level_shapes((600, 700))
        assert len(tiff.pages[0].subifds) == 1
        for level in levels:
            page = level.pages[0]
            assert (page.tilelength, page.tilewidth, page.predictor) == (512, 512, 1) and page.dtype == np.float32
        np.testing.assert_array_equal(levels[0].asarray(), heatmap)
        np.testing.assert_array_equal(levels[1].asarray(), heatmap.reshape(300, 2, 350, 2).max(axis=(1, 3)))
        xml = tiff.ome_metadata
    xmlschema.validate(xml, str(Path(ome_types.__file__).with_name("ome-2016-06.xsd")))
    image = ome_types.from_xml(xml).images[0]
    assert image.name == "bad.png" and image.pixels.size_x == 700 and image.pixels.size_y == 600
    assert image.pixels.physical_size_x == 20.0 and image.pixels.physical_size_x_unit.value == "µm"
    assert image.pixels.channels[0].name == "heatmap"


@given(arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.floats(-9, 9, width=32)))
def test_halving_keeps_every_peak(band: NDArray[np.float32]) -> None:
    height, width = (-(-side // 2) for side in band.shape)
    slow = [[band[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].max() for x in range(width)] for y in range(height)]
    np.testing.assert_array_equal(halved(band), slow)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (1025, 513), (2051, 1029)])
def test_ome_tiff_of_odd_sizes(shape: tuple[int, int], tmp_path: Path) -> None:
    """Every level is the whole heatmap halved again and again, however it was cut into bands."""
    name = "lone \ud800\x07 & <x>.png"
    write_run(tmp_path, [image_record(name, height=shape[0], width=shape[1])], run_info(), ["stem"])
    heatmap = np.random.default_rng(1).gamma(2, 3, shape).astype(np.float32)
    heatmap[-1, -1] = 99
    write_heatmap(tmp_path, "stem", heatmap)
    convert(tmp_path, Format.OME_TIFF, tmp_path / "out")
    expected = read_heatmap(tmp_path / "overlays" / "stem-heatmap.tif", shape)
    with tifffile.TiffFile(tmp_path / "out" / "stem.ome.tif") as tiff:
        for level, size in zip(tiff.series[0].levels, level_shapes(shape), strict=True):
            assert level.shape == size
            np.testing.assert_array_equal(level.asarray(), expected)
            assert expected[-1, -1] == expected.max()
            expected = halved(expected)
        xml = tiff.ome_metadata
    xmlschema.validate(xml, str(Path(ome_types.__file__).with_name("ome-2016-06.xsd")))
    pixels = ome_types.from_xml(xml).images[0].pixels
    assert pixels.physical_size_x is None, "nobody said what a pixel covers"


def test_a_box_of_a_heatmap_is_that_of_the_whole(tmp_path: Path) -> None:
    heatmap = np.random.default_rng(2).gamma(2, 3, (700, 1100)).astype(np.float32)
    path = tmp_path / write_heatmap(tmp_path, "a", heatmap)
    whole = read_heatmap(path, heatmap.shape)
    with open_heatmap(path, heatmap.shape) as file:
        for y0, x0, y1, x1 in [(0, 0, 700, 1100), (0, 0, 1, 1), (511, 511, 513, 1025), (699, 1099, 700, 1100)]:
            np.testing.assert_array_equal(file.box(y0, x0, y1, x1), whole[y0:y1, x0:x1])


def test_what_does_not_count_is_not_a_number(tmp_path: Path) -> None:
    """-inf in the run: a band, a box and a whole level of it are still a heatmap."""
    write_run(tmp_path, [image_record("a.png", height=1100, width=600)], run_info(), ["a"])
    heatmap = np.random.default_rng(3).gamma(2, 3, (1100, 600)).astype(np.float32)
    heatmap[:513] = -np.inf
    path = tmp_path / write_heatmap(tmp_path, "a", heatmap)
    converted = convert(tmp_path, Format.OME_TIFF, tmp_path / "out")
    assert not converted.failures
    stored = read_heatmap(path, heatmap.shape)
    with tifffile.TiffFile(tmp_path / "out" / "a.ome.tif") as tiff:
        for level in tiff.series[0].levels:
            np.testing.assert_array_equal(level.asarray(), np.where(stored == -np.inf, np.nan, stored))
            stored = halved(stored)


def test_no_heatmaps_no_ome_tiff(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`RUN_DIR` \(=.*\) holds no heatmaps: inspect again with `--heatmaps`"):
        convert(hostile, Format.OME_TIFF, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_heatmap_stops_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, [image_record("a.png"), image_record("b.png")], run_info(), ["a", "b"])
    for name in "ab":
        write_heatmap(tmp_path, name, np.ones((480, 640), np.float32))
    (tmp_path / "overlays" / "a-heatmap.tif").write_bytes(b"II*\0 torn")
    done = flawmap("convert", tmp_path, "--to", "ome-tiff", "-o", tmp_path / "out")
    assert done.returncode == ImageError.exit_code
    assert "a-heatmap.tif" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.ome.tif"]


# The PDF


def pdf_text(path: Path) -> str:
    """What can be searched for, by poppler where the machine has it; and that it is a PDF at all."""
    data = path.read_bytes()
    assert data.startswith(b"%PDF-") and data.rstrip().endswith(b"%%EOF")
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext here")
    return subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout


def test_pdf_says_what_was_found(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    convert(run_dir, Format.PDF, tmp_path / "summary.pdf")
    text = pdf_text(tmp_path / "summary.pdf")
    assert "Inspection of toy" in text and recorded.info.bundle_sha256 in text
    assert "0.1 false regions on a good image allowed" in text and "REVIEW from 0.70, NG from 1.00" in text
    assert re.search(r"torn\.png +ERROR +0 +", text) and "lot 1/ünï.png" in text
    worst = next(image.record for image in recorded.images if image.record.image == "bad.png").regions[0]
    assert f"at x {worst.x_min}, y {worst.y_min}" in text
    assert "Against the truth" not in text and "Reviewed by" in text
    assert (tmp_path / "summary.pdf").read_bytes().count(b"/Subtype /Image") >= 4 * 3


def test_pdf_of_hostile_names(hostile: Path, tmp_path: Path) -> None:
    """No name is markup, a formula, or beyond the font; pictures that are gone are left out."""
    names = ["$x^2$ 漢.png", "a" * 300 + "end.png"]
    for index, name in enumerate(names):
        one = image_record(name, verdict="NG", severity=2.0, regions=[region((1, 1, 9, 9), picture="../../up.png")])
        (hostile / "regions" / f"x{index}.json").write_text(json.dumps(one.model_dump()))
    convert(hostile, Format.PDF, tmp_path / "summary.pdf")
    text = pdf_text(tmp_path / "summary.pdf")
    assert r"$x^2$ \u6f22.png" in text and "…" in text and "end.png" in text
    assert "<script>alert(1)</script>.png" in text and r"caf\xe9" in text and "truncated <PNG>" in text
    assert "and 7 that rules dropped" in text


@settings(max_examples=40)
@given(st.text(max_size=60), st.floats(5, 80), st.sampled_from(["normal", "bold"]))
def test_no_text_reaches_into_the_next(text: str, room: float, weight: str) -> None:
    """Against the width that matplotlib itself lays the text out with."""
    shown = fitted(text, room, 9, weight)
    with rc_context(SETTINGS):
        drawn = Figure(dpi=720).text(0, 0, shown, fontsize=9, weight=weight)
        width = drawn.get_window_extent(FigureCanvasAgg(drawn.figure).get_renderer()).width / 720 * 25.4
    assert width <= room + 0.3 or len(shown) <= 3
    assert shown == printable(text) or "…" in shown


def test_pdf_of_a_long_run_and_of_an_empty_one(tmp_path: Path) -> None:
    records = [
        image_record(f"{i}.png", verdict="NG", severity=1.5, regions=[region((i, i, i + 9, i + 9))]) for i in range(340)
    ]
    write_run(tmp_path / "long", records, run_info())
    convert(tmp_path / "long", Format.PDF, tmp_path / "long.pdf")
    text = pdf_text(tmp_path / "long.pdf")
    assert "and 40 more: images.csv of the run has them all" in text and "and 330 more, in the run's report" in text
    write_run(tmp_path / "empty", [], run_info(finished=None, state="interrupted"))
    convert(tmp_path / "empty", Format.PDF, tmp_path / "empty.pdf")
    assert "interrupted" in pdf_text(tmp_path / "empty.pdf")


# Recipes


def test_a_run_with_a_recipe(station: Path, mixed: Path, tmp_path: Path) -> None:  # noqa: F811
    run = tmp_path / "run"
    inspect_folder([mixed], write_recipe(station), run, heatmaps=True, zoom=False)
    for to, output in (
        (Format.COCO, "coco.json"),
        (Format.PDF, "s.pdf"),
        (Format.PARQUET, "t"),
        (Format.OME_TIFF, "o"),
    ):
        convert(run, to, tmp_path / output)
    told = json.loads((tmp_path / "coco.json").read_text())
    assert {(image["part"], image["camera"]) for image in told["images"]} >= {("B", "top"), ("C", "side2")}
    parts = {row["part"]: row for row in parquet.read_table(tmp_path / "t" / "parts.parquet").to_pylist()}
    with (run / "parts.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert parts[row["part"]]["verdict"] == row["verdict"]
            assert parts[row["part"]]["missing_cameras"] == [name for name in row["missing_cameras"].split(";") if name]
    assert parts["D"]["verdict"] == "ERROR" and parts["D"]["severity"] is None
    assert len(list((tmp_path / "o").iterdir())) == 11
    assert "no picture of side2" in pdf_text(tmp_path / "s.pdf")


# The command


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Path]:
    write_run(tmp_path / "run", [image_record("a.png")], run_info())
    yield tmp_path / "run"


def test_the_command_says_where_it_wrote(plain: Path, tmp_path: Path) -> None:
    done = flawmap("convert", plain, "--to", "coco", "-o", tmp_path / "coco.json")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'coco.json'}\n")
    done = flawmap("convert", plain, "--to", "parquet", "-o", tmp_path / "tables")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'tables'}: 2 files\n")


@pytest.mark.parametrize(
    ("to", "output", "message"),
    [
        (Format.COCO, "folder", r"`-o` \(=.*folder\) must be a file that ends in .json: `--to coco` writes one"),
        (Format.PDF, "x.json", r"`-o` \(=.*x.json\) must be a file that ends in .pdf: `--to pdf` writes one"),
        (Format.PARQUET, "file.txt", r"`-o` \(=.*file.txt\) must be a folder: `--to parquet` writes several files"),
        (Format.LABELME, "run/regions", r"`-o` \(=.*\) must not lie in `regions/` of the run"),
        (Format.COCO, "run/page/x.json", r"`-o` \(=.*\) must not lie in `page/` of the run"),
        (Format.COCO, "run/run.json", r"`-o` \(=.*run.json\) is a file of the run itself"),
        (Format.COCO, "file.txt/x.json", r"`-o` \(=.*x.json\) cannot be written: "),
    ],
)
def test_wrong_outputs_are_named(plain: Path, tmp_path: Path, to: Format, output: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").write_text("kept")
    before = sorted(plain.rglob("*"))
    with pytest.raises(UsageError, match=message):
        convert(plain, to, tmp_path / output)
    assert sorted(plain.rglob("*")) == before and (tmp_path / "file.txt").read_text() == "kept"


def test_no_run_and_no_such_format(tmp_path: Path) -> None:
    done = flawmap("convert", tmp_path, "--to", "coco", "-o", tmp_path / "x.json")
    assert done.returncode == 2 and "holds no run.json" in done.stderr
    done = flawmap("convert", tmp_path, "--to", "excel", "-o", tmp_path / "x.json")
    assert done.returncode == 2 and "'coco'" in done.stderr.replace("’", "'")


def test_without_pyarrow_parquet_says_what_to_install(plain: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from pathlib import Path\n"
        "from flawmap.inspect.convert import convert\n"
        "from flawmap.inspect.exchange.formats import Format\n"
        f"convert(Path({str(plain)!r}), Format.PARQUET, Path({str(tmp_path / 'out')!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "needs pyarrow, which is not installed: pip install 'flawmap[export]'" in done.stderr
