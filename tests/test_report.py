"""The pictures of an image and the page of a run."""

import json
import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.inspect.recorded_run import read_recorded_run
from flawmap.inspect.records import ImageRecord, RegionRecord, RunInfo, SourceFile
from flawmap.inspect.report import page as page_module
from flawmap.inspect.report.display import SAMPLES, Window, shrink, shrink_keeping_peaks, to_picture, window_of
from flawmap.inspect.report.heat_scale import INFERNO, HeatScale
from flawmap.inspect.report.image_data import REGIONS_SHOWN, facts
from flawmap.inspect.report.overview import BOX_MIN_PX, LONGEST_PX, SMALLEST_SIDE_PX, VERDICT_COLOURS, draw_overview
from flawmap.inspect.report.page import write_page
from flawmap.inspect.report.pictures import (
    CONTEXT_PX,
    MARGIN_PX,
    PANEL_MAX_PX,
    PANEL_MIN_PX,
    crop_box,
    draw_strip,
    strip_size,
    write_heatmap,
    write_pictures,
)
from flawmap.inspect.report.severity_axis import SeverityAxis
from flawmap.inspect.run_layout import image_data_path
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image

REVIEW, NG = 6.0, 9.0
PANELS = ("crop", "heat", "reconstruction")


def region(box: tuple[int, int, int, int], number: int = 1, **changes: Any) -> RegionRecord:
    y0, x0, y1, x1 = box
    values: dict[str, Any] = {
        "region": number, "x_min": x0, "y_min": y0, "x_max": x1, "y_max": y1, "centroid_x": (x0 + x1) / 2,
        "centroid_y": (y0 + y1) / 2, "area_px": (y1 - y0) * (x1 - x0), "score_max": 12.0, "score_mean": 8.0,
        "severity": 1.5, "verdict": "NG",
    }  # fmt: skip
    return RegionRecord(**(values | changes))


def noise(height: int, width: int, dtype: type = np.uint8, channels: int | None = None) -> np.ndarray:
    shape = (height, width) if channels is None else (height, width, channels)
    values = np.random.default_rng(height * 7 + width).integers(0, 256, shape)
    return values.astype(dtype)


def panel(strip: np.ndarray, name: str) -> np.ndarray:
    """One of the three pictures in a strip, without the margins."""
    height, width = strip.shape[0] - 2 * MARGIN_PX, (strip.shape[1] - 4 * MARGIN_PX) // 3
    left = MARGIN_PX + PANELS.index(name) * (width + MARGIN_PX)
    return strip[MARGIN_PX : MARGIN_PX + height, left : left + width]


@st.composite
def boxes_in_images(draw: st.DrawFn) -> tuple[int, int, tuple[int, int, int, int]]:
    height, width = draw(st.integers(1, 700)), draw(st.integers(1, 700))
    y0, x0 = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return height, width, (y0, x0, draw(st.integers(y0 + 1, height)), draw(st.integers(x0 + 1, width)))


# Heat: absolute colours


@given(st.floats(-50, 50), st.floats(0, 50), st.floats(-200, 200), st.floats(-200, 200))
def test_hotter_is_never_darker(review: float, band: float, one: float, other: float) -> None:
    scale = HeatScale(review, review + band)
    places = scale.place(np.sort(np.array([one, other])))
    assert 0 <= places[0] <= places[1] <= 1


def test_colours_hang_on_the_thresholds() -> None:
    scale = HeatScale(REVIEW, NG)
    colours = scale.colours(np.array([-5.0, 0.0, REVIEW / 2, REVIEW, NG, 2 * NG, 99.0], np.float32))
    expected = INFERNO[[0, 0, 0, 89, 178, 255, 255]]  # 0.35 and 0.70 of 255
    np.testing.assert_array_equal(colours, expected)
    assert INFERNO[0].max() < 10 and INFERNO[255].min() > 150  # black to pale: RGB, not BGR
    assert INFERNO[200, 0] > INFERNO[200, 2] + 100  # orange


def test_same_score_same_colour_in_a_calm_and_in_a_hot_image(tmp_path: Path) -> None:
    image, spot = noise(200, 200), region((100, 100, 105, 105))
    calm, hot = np.zeros((200, 200), np.float32), np.full((200, 200), 30, np.float32)
    strips = []
    for name, heatmap in (("calm", calm), ("hot", hot)):
        heatmap[100:105, 100:105] = 7.5
        _, pictures = write_pictures(tmp_path, name, image, heatmap, image, [spot], review=REVIEW, ng=NG)
        strips.append(panel(read_image(tmp_path / str(pictures[0])), "heat"))
    y0, x0, _, _ = crop_box(spot, 200, 200)
    np.testing.assert_array_equal(strips[0][102 - y0, 102 - x0], strips[1][102 - y0, 102 - x0])
    assert strips[0][0, 0].max() < 10 and strips[1][0, 0].min() > 150


@pytest.mark.parametrize("review, ng", [(9.0, 6.0), (float("nan"), 1.0), (1.0, float("inf"))])
def test_thresholds_that_make_no_scale_are_refused(review: float, ng: float) -> None:
    with pytest.raises(ValueError, match=r"`review` \(=.*\) must be a number not above `ng` \(=.*\)"):
        HeatScale(review, ng)


# Strips


@given(boxes_in_images())
def test_crop_holds_the_region_and_its_surroundings(case: tuple[int, int, tuple[int, int, int, int]]) -> None:
    height, width, box = case
    y0, x0, y1, x1 = crop_box(region(box), height, width)
    for start, stop, first, last, length in ((y0, y1, box[0], box[2], height), (x0, x1, box[1], box[3], width)):
        assert 0 <= start <= first < last <= stop <= length
        assert stop - start == min(length, max(PANEL_MIN_PX, last - first + 2 * CONTEXT_PX))


@settings(max_examples=30, deadline=None)
@given(boxes_in_images(), st.sampled_from([None, 3]))
def test_strip_shows_native_pixels(case: tuple[int, int, tuple[int, int, int, int]], channels: int | None) -> None:
    height, width, box = case
    image, heatmap = noise(height, width, channels=channels), noise(height, width, np.float32) / 16
    spot, scale = region(box), HeatScale(REVIEW, NG)
    y0, x0, y1, x1 = crop_box(spot, height, width)
    strip, shrunk = draw_strip(image, heatmap, 255 - image, spot, window_of(image), scale)
    assert shrunk == (max(y1 - y0, x1 - x0) > PANEL_MAX_PX)
    if shrunk:
        return
    assert strip.shape == (*strip_size(y1 - y0, x1 - x0), 3)
    crop = image[y0:y1, x0:x1] if channels else image[y0:y1, x0:x1, None].repeat(3, axis=2)
    np.testing.assert_array_equal(panel(strip, "crop"), crop)
    np.testing.assert_array_equal(panel(strip, "reconstruction"), 255 - crop)
    np.testing.assert_array_equal(panel(strip, "heat"), scale.colours(heatmap[y0:y1, x0:x1]))


def test_bars_point_at_the_region() -> None:
    image = np.full((300, 300), 90, np.uint8)
    spot = region((140, 160, 150, 166))
    y0, x0, _, _ = crop_box(spot, 300, 300)
    strip, _ = draw_strip(image, np.zeros((300, 300), np.float32), image, spot, window_of(image), HeatScale(1, 2))
    marked = (strip == VERDICT_COLOURS["NG"]).all(axis=2)
    columns = np.flatnonzero(marked[:MARGIN_PX].any(axis=0))
    rows = np.flatnonzero(marked[:, :MARGIN_PX].any(axis=1))
    np.testing.assert_array_equal(rows, np.arange(140, 150) - y0 + MARGIN_PX)
    np.testing.assert_array_equal(columns[:6], np.arange(160, 166) - x0 + MARGIN_PX)
    assert len(columns) == 18  # above each of three panels


def test_pictures_written_are_pictures_drawn(tmp_path: Path) -> None:
    image, spot = noise(300, 280), region((0, 0, 5, 5))
    heatmap = np.zeros((300, 280), np.float32)
    overview, pictures = write_pictures(tmp_path, "é a", image, heatmap, image, [spot], review=REVIEW, ng=NG)
    assert (overview, pictures) == ("overlays/é a.jpg", ["overlays/é a-1.png"])
    np.testing.assert_array_equal(
        panel(read_image(tmp_path / "overlays/é a-1.png"), "crop")[:, :, 0], image[:PANEL_MIN_PX, :PANEL_MIN_PX]
    )
    assert read_image(tmp_path / "overlays/é a.jpg").shape == (300 * 4, 280 * 4, 3)


def test_big_region_is_shrunk_and_keeps_its_peak(tmp_path: Path) -> None:
    image, heatmap = noise(1500, 2600), np.zeros((1500, 2600), np.float32)
    heatmap[701, 1303] = 40
    spot, scale = region((200, 100, 1300, 2500)), HeatScale(REVIEW, NG)
    strip, shrunk = draw_strip(image, heatmap, image, spot, window_of(image), scale)
    assert shrunk and panel(strip, "heat").shape[1] == PANEL_MAX_PX
    assert (panel(strip, "heat") == INFERNO[255]).all(axis=2).sum() == 1
    _, pictures = write_pictures(tmp_path, "big", image, heatmap, image, [spot], review=REVIEW, ng=NG)
    assert pictures == ["overlays/big-1.jpg"]
    assert read_image(tmp_path / "overlays/big-1.jpg").shape == strip.shape


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (1, 1)])
def test_image_one_pixel_wide(tmp_path: Path, shape: tuple[int, int]) -> None:
    image, heatmap = noise(*shape), np.zeros(shape, np.float32)
    middle = (shape[0] // 2, shape[1] // 2, shape[0] // 2 + 1, shape[1] // 2 + 1)
    overview, pictures = write_pictures(tmp_path, "line", image, heatmap, image, [region(middle)], review=1, ng=2)
    drawn = read_image(tmp_path / str(overview))
    assert min(drawn.shape[:2]) >= SMALLEST_SIDE_PX and max(drawn.shape[:2]) <= LONGEST_PX
    assert read_image(tmp_path / str(pictures[0])).shape[:2] == strip_size(*(min(side, 128) for side in shape))


def test_only_the_worst_regions_get_a_strip(tmp_path: Path) -> None:
    image, heatmap = noise(400, 400), np.zeros((400, 400), np.float32)
    spots = [region((row, 10, row + 4, 14), number) for number, row in enumerate(range(0, 390, 10), start=1)]
    _, pictures = write_pictures(tmp_path, "a", image, heatmap, image, spots, review=1, ng=2, max_regions=3)
    assert pictures == [f"overlays/a-{n}.png" for n in (1, 2, 3)] + [None] * 36
    assert sorted(path.name for path in (tmp_path / "overlays").iterdir()) == ["a-1.png", "a-2.png", "a-3.png", "a.jpg"]


# Pixels as the eye takes them


def test_8_bit_is_shown_as_it_is() -> None:
    image = noise(50, 60)
    np.testing.assert_array_equal(to_picture(image, window_of(image))[:, :, 2], image)
    colour = noise(50, 60, channels=3)
    np.testing.assert_array_equal(to_picture(colour, window_of(colour)), colour)


@pytest.mark.parametrize("dtype, factor", [(np.uint16, 16), (np.float32, 0.001)])
@pytest.mark.parametrize("channels", [None, 3])
def test_deep_images_fill_the_range(dtype: type, factor: float, channels: int | None) -> None:
    image = (noise(400, 300, np.float64, channels) * factor).astype(dtype)
    image[7, 9] = 60_000  # one hot pixel must not turn the picture black
    shown = to_picture(image, window_of(image))
    assert shown.dtype == np.uint8 and shown.shape == (400, 300, 3)
    assert np.percentile(shown, 2) < 30 and np.percentile(shown, 98) > 225 and shown[7, 9].min() == 255
    order = np.argsort(image.reshape(-1))
    assert (np.diff(shown.reshape(400, 300, -1)[..., : channels or 1].reshape(-1)[order].astype(int)) >= 0).all()


def test_flat_deep_image_is_grey() -> None:
    image = np.full((40, 40), 1234, np.uint16)
    assert (to_picture(image, window_of(image)) == 128).all()


def test_sampled_window_is_near_the_whole_images() -> None:
    y, x = np.mgrid[0:1280, 0:1280]
    woven = (2000 + 900 * (x % 20 < 10) + 300 * (y % 20 < 10)).astype(np.uint16)  # a step of 20 sees one thread
    assert woven.size > 16 * SAMPLES
    window = window_of(woven)
    assert window == Window(2000 - 120, 3200 + 120)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_peaks_survive_shrinking(height: int, width: int, data: st.DataObject) -> None:
    small_height, small_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    scores = noise(height, width, np.float32)
    slow = np.full((small_height, small_width), -np.inf, np.float32)
    for y in range(height):
        for x in range(width):
            row = max(r for r in range(small_height) if r * height // small_height <= y)
            column = max(c for c in range(small_width) if c * width // small_width <= x)
            slow[row, column] = max(slow[row, column], scores[y, x])
    np.testing.assert_array_equal(shrink_keeping_peaks(scores, small_height, small_width), slow)


def test_shrinking_averages_and_keeps_the_shape() -> None:
    image = noise(1001, 333)
    small = shrink(image, 100)
    assert small.shape == (100, 33) and abs(float(small.mean()) - float(image.mean())) < 1
    assert shrink(image, 1001) is image


# The overview


def test_a_dot_gets_a_box_that_can_be_seen() -> None:
    image = np.full((5120, 5120), 128, np.uint8)
    picture = draw_overview(image, window_of(image), [region((2560, 1280, 2565, 1285))], max_numbered=1)
    assert picture.shape == (1600, 1600, 3)
    rows, columns = np.nonzero((picture == VERDICT_COLOURS["NG"]).all(axis=2))
    assert rows.max() - rows.min() >= BOX_MIN_PX >= 14 and abs(np.median(rows) - 800) < 30
    assert columns.min() < 400 < columns.max()
    assert (picture[800, 400] == 128).all()  # the dot itself stays free


def test_verdicts_differ_in_shape_too() -> None:
    image = np.full((1000, 1000), 128, np.uint8)
    drawn = {
        verdict: draw_overview(image, window_of(image), [region((400, 400, 600, 600), verdict=verdict)], max_numbered=0)
        for verdict in ("NG", "REVIEW")
    }
    inked = {verdict: int((picture != 128).any(axis=2).sum()) for verdict, picture in drawn.items()}
    assert inked["REVIEW"] < 0.8 * inked["NG"]
    middle_of_top_edge = (slice(380, 410), slice(495, 505))
    assert (drawn["REVIEW"][middle_of_top_edge] == 128).all() and (drawn["NG"][middle_of_top_edge] != 128).any()


@settings(max_examples=25, deadline=None)
@given(boxes_in_images(), st.sampled_from(["NG", "REVIEW", "OK"]), st.integers(1, 9999))
def test_any_region_can_be_drawn(case: tuple[int, int, tuple[int, int, int, int]], verdict: str, number: int) -> None:
    height, width, box = case
    image = np.full((height, width), 7, np.uint8)
    spots = [region(box, number, verdict=verdict)] * 3
    picture = draw_overview(image, window_of(image), spots, max_numbered=2)
    assert max(picture.shape[:2]) <= LONGEST_PX and picture.dtype == np.uint8
    assert (picture == VERDICT_COLOURS[verdict]).all(axis=2).any()


def test_heatmap_opens_and_is_as_precise_as_promised(tmp_path: Path) -> None:
    heatmap = np.random.default_rng(1).gamma(2, 3, (700, 300)).astype(np.float32)
    path = write_heatmap(tmp_path, "a", heatmap)
    read = tifffile.imread(tmp_path / path)
    assert path == "overlays/a-heatmap.tif" and read.dtype == np.float32
    np.testing.assert_allclose(read, heatmap, rtol=2**-12)
    assert (tmp_path / path).stat().st_size < 0.7 * heatmap.nbytes


# The page

HOSTILE = [
    "<script>alert(1)</script>.png",
    '"><img src=x onerror=alert(1)>.png',
    "a & b 'c' `d` {{ 7*7 }} {% raw %}.png",
    "caf\udce9 %41#frag?x=1.png",
    "lone \ud800.png",
    "https://evil.example/x.png",
    "lot 1/ünïcode\nline.png",
]


def image_record(name: str, **changes: Any) -> ImageRecord:
    values: dict[str, Any] = {
        "image": name, "verdict": "OK", "severity": -1.0, "width": 640, "height": 480,
        "milliseconds": {"decode": 10.0, "score": 30.0, "total": 38.0},
        "source": SourceFile(size_bytes=1, modified_ns=1), "regions": [],
    }  # fmt: skip
    return ImageRecord(**(values | changes))


def run_info(**changes: Any) -> RunInfo:
    values: dict[str, Any] = {
        "state": "finished", "started": "2026-11-22T15:02:11+01:00", "finished": "2026-11-22T15:04:07+01:00",
        "versions": {"flawmap": "0.1.0"}, "bundle": "bundles/<b>", "bundle_sha256": "9f3c1ab27d5e" * 5 + "abcd",
        "product": "board <41> & co", "device": "cpu", "device_note": "no <CUDA>", "settings": {"false_alarms": 0.1},
        "thresholds": {"grow": 4.0, "review": REVIEW, "ng": NG, "severity_review": 0.7, "severity_ng": 1.0},
        "counts": {}, "milliseconds_median": {"decode": 10.0, "score": 30.0, "total": 38.0},
    }  # fmt: skip
    return RunInfo(**(values | changes))


def write_run(run_dir: Path, records: list[ImageRecord], run: RunInfo, stems: Sequence[str] = ()) -> Path:
    """`stems`: what the files of the first images are called."""
    (run_dir / "regions").mkdir(parents=True, exist_ok=True)
    (run_dir / "run.json").write_text(json.dumps(run.model_dump()))
    for index, record in enumerate(records):
        stem = stems[index] if index < len(stems) else f"{index:04d}"
        (run_dir / "regions" / f"{stem}.json").write_text(json.dumps(record.model_dump()))
    return write_page(run_dir)


class Page(HTMLParser):
    """Every element with its text; unclosed or wrongly closed ones fail."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.names: list[str] = []
        self.text = path.read_text("utf-8")  # strict: the page is UTF-8
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "bdi":
            self.names.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open, self.getpos())
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "bdi" in self.open:
            self.names[-1] += data

    def links(self) -> list[str]:
        names = ("src", "href", "data-file", "data-viewer")
        return [
            str(value) for tag, attrs in self.elements for key, value in attrs.items() if key in names and tag != "link"
        ]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Every verdict, every hostile name, real pictures behind every link."""
    image, heatmap = noise(480, 640), np.zeros((480, 640), np.float32)
    records = []
    for index, name in enumerate(HOSTILE):
        spots = [region((10, 10, 20, 30)), region((200, 300, 203, 303), 2, verdict="REVIEW", severity=0.8)]
        stem = f"{index} %41#"
        overview, pictures = write_pictures(tmp_path, stem, image, heatmap, image, spots, review=REVIEW, ng=NG)
        for spot, picture in zip(spots, pictures, strict=True):
            spot.picture = picture
        records.append(image_record(name, verdict="NG", severity=1.5 + index, regions=spots, overlay=overview))
    records.append(image_record("good.png"))
    records.append(image_record("look.png", verdict="REVIEW", severity=0.8, regions=[region((1, 1, 2, 2))]))
    unread = {"error": "truncated <PNG>", "width": 0, "height": 0, "milliseconds": {}}
    records.append(image_record("bad.png", verdict="ERROR", **unread))
    write_run(tmp_path, records, run_info(), [f"{index} %41#" for index in range(len(HOSTILE))])
    return tmp_path


def test_every_image_is_there_once_whatever_its_name(run_dir: Path) -> None:
    page = Page(run_dir / "index.html")
    shown = {name: name for name in HOSTILE} | {HOSTILE[3]: r"caf\xe9 %41#frag?x=1.png", HOSTILE[4]: r"lone \ud800.png"}
    assert sorted(page.names) == sorted([*shown.values(), "good.png", "look.png", "bad.png"])
    assert sum(tag == "tbody" for tag, _ in page.elements) == len(HOSTILE) + 3
    assert sum(tag == "script" for tag, _ in page.elements) == 1
    assert not any(key.startswith("on") for _, attrs in page.elements for key in attrs)


def loaded(run_dir: Path) -> dict[str, dict[str, Any]]:
    """What page/*.js hands over, by the image's name as it is shown; each file is one call with ASCII data."""
    found = {}
    for path in sorted((run_dir / "page").glob("*.js")):
        call = re.fullmatch(r"flawmapImage\((\d+), (\{.*\})\);\n", path.read_text("ascii"))
        assert call is not None, path
        data = json.loads(call[2])
        found[data["image"]] = data | {"key": int(call[1]), "file": path.name}
    return found


def links_of(data: dict[str, Any]) -> list[str]:
    strips = [region["strip"]["src"] for region in data["regions"] if "strip" in region]
    return [link for link in (data["overview"], *strips) if link is not None]


def test_links_lead_to_files_of_the_run_and_nowhere_else(run_dir: Path) -> None:
    page, images = Page(run_dir / "index.html"), loaded(run_dir)
    # Thumbnail and overview; a data file an image; links to rows of this page where there is no overview.
    links = [link for link in page.links() if not link.startswith("#m") and not link.startswith("./page/viewer/")]
    assert len(links) == len(HOSTILE) * 2 + len(HOSTILE) + 3 and len(images) == len(HOSTILE) + 3
    in_data = [link for data in images.values() for link in links_of(data)]
    assert len(in_data) == len(HOSTILE) * 3
    for link in (*links, *in_data):
        assert link.startswith(("./overlays/", "./page/")) and (run_dir / unquote(link)).is_file()
    for data in images.values():
        if data["zoom"] is not None:
            assert (run_dir / unquote(data["zoom"]["folder"]) / "picture-0-0-0.jpg").is_file()
    assert sum(data["zoom"] is not None for data in images.values()) == len(HOSTILE)
    without_names = page.text.replace("https://evil.example/x.png", "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//[a-z]|url\(|@import|srcset", without_names.split("<body>")[0])
    assert not re.search(r"https?:|=\"//", without_names)


def test_every_row_loads_its_own_data(run_dir: Path) -> None:
    page, images = Page(run_dir / "index.html"), loaded(run_dir)
    rows = [attrs for tag, attrs in page.elements if tag == "tr" and "data-key" in attrs]
    files = {int(str(row["data-key"])): unquote(str(row["data-file"])) for row in rows}
    assert files == {data["key"]: f"./page/{data['file']}" for data in images.values()}
    by_key = {data["key"]: name for name, data in images.items()}
    assert [by_key[int(str(row["data-key"]))] for row in rows] == page.names


def test_a_path_in_a_record_cannot_leave_the_folder(tmp_path: Path) -> None:
    for hostile in ("../../etc/passwd", "//evil.example/x.png", "javascript:alert(1)", "/etc/passwd", "http://evil/x"):
        spot = region((1, 1, 5, 5), picture=hostile)
        page = Page(write_run(tmp_path, [image_record("a.png", overlay=hostile, regions=[spot])], run_info()))
        links = page.links() + links_of(loaded(tmp_path)["a.png"])
        assert len(links) >= 5  # overview twice, thumbnail, data, strip; the viewer where there is one
        for link in links:
            assert link.startswith("./") and ".." not in link and ":" not in link and "//" not in link


def test_strip_has_the_size_of_its_file(run_dir: Path) -> None:
    strips = [region["strip"] for data in loaded(run_dir).values() for region in data["regions"] if "strip" in region]
    assert len(strips) == 2 * len(HOSTILE)
    for strip in strips:
        assert read_image(run_dir / unquote(strip["src"])).shape[:2] == (strip["height"], strip["width"])


def test_strip_of_a_big_region_has_the_size_of_its_file(tmp_path: Path) -> None:
    image, heatmap = noise(900, 2701), np.zeros((900, 2701), np.float32)
    spot = region((100, 100, 437, 2500))
    _, pictures = write_pictures(tmp_path, "a", image, heatmap, image, [spot], review=REVIEW, ng=NG)
    spot.picture = pictures[0]
    write_run(tmp_path, [image_record("a", verdict="NG", width=2701, height=900, regions=[spot])], run_info())
    strip = loaded(tmp_path)["a"]["regions"][0]["strip"]
    assert read_image(tmp_path / str(pictures[0])).shape[:2] == (strip["height"], strip["width"])


def test_data_of_an_image_that_is_gone_is_removed_and_nothing_else(run_dir: Path) -> None:
    (run_dir / "page" / "mine.js").write_text("// not flawmap's")
    assert "bad.png" in loaded_ours(run_dir)
    (run_dir / "regions" / f"{len(HOSTILE) + 2:04d}.json").unlink()
    write_page(run_dir)
    assert "bad.png" not in loaded_ours(run_dir) and len(loaded_ours(run_dir)) == len(HOSTILE) + 2
    assert (run_dir / "page" / "mine.js").is_file()


def loaded_ours(run_dir: Path) -> set[str]:
    files = [path for path in (run_dir / "page").glob("*.js") if path.name != "mine.js"]
    return {json.loads(path.read_text().split(", ", 1)[1][:-3])["image"] for path in files}


def test_a_page_built_again_is_the_same(run_dir: Path) -> None:
    files = [path for path in run_dir.rglob("*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files if path.name != "index.html"}
    page = (run_dir / "index.html").read_bytes()
    write_page(run_dir)
    assert (run_dir / "index.html").read_bytes() == page
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before  # nothing written twice


def test_worst_first(run_dir: Path) -> None:
    page = Page(run_dir / "index.html")
    assert page.names[0] == "bad.png" and page.names[-2:] == ["look.png", "good.png"]
    severities = [float(str(a["data-severity"])) for _, a in page.elements if a.get("data-verdict") == "NG"]
    assert severities == sorted(severities, reverse=True) and len(severities) == len(HOSTILE)


def test_what_the_page_says(run_dir: Path) -> None:
    text = (run_dir / "index.html").read_text("utf-8")
    for said in (
        "board &lt;41&gt; &amp; co", "truncated &lt;PNG&gt;", "no &lt;CUDA&gt;", "9f3c1ab27d5e", "2026-11-22 15:02",
        "0.1 false alarms an image", "38 ms", "<dd>0.1.0</dd>", "10 images, 15 regions",
        "94\u202f737 images an hour", "<b>8.084</b> megapixels a second",  # 3600 / 0.038, 0.3072 / 0.038
    ):  # fmt: skip
        assert said in text, said
    assert 'class="notice"' not in text  # nothing is said about a run that ended well
    data = loaded(run_dir)
    assert data["bad.png"]["error"] == "truncated <PNG>" and data["bad.png"]["severity"] == ""
    assert data["good.png"]["heat"] == ["3", "6", "9", "18"]


def test_everything_that_a_record_says_of_a_region_is_shown() -> None:
    class Measured(RegionRecord):
        """As a later version may record it."""

        depth_um: float = 1.25
        angle_degrees: float = -30.0
        on_edge: bool = True
        tones: tuple[float, ...] = (1.0, 2.5)
        bulk: float = 12345.6

    values = region(
        (10, 20, 15, 40), area_visible_px=80, area_mm2=0.5, length_px=20.0, width_px=5.0, contrast=-3.25, fragments=2
    ).model_dump()
    said = facts(Measured(**(values | {"defect_class": "scratch <b>", "rule": "long"})))
    assert said == [
        ("class", "scratch <b>"), ("by rule", "long"), ("box", "20 × 5 px"), ("at", "x 20, y 10"),
        ("area", "80 px, 0.5 mm²"), ("length × width", "20 × 5 px"), ("joined of", "2 fragments"),
        ("score", "12, mean 8"), ("contrast", "−3.25"), ("depth", "1.25 µm"), ("angle", "−30°"), ("on edge", "yes"),
        ("tones", "1, 2.5"), ("bulk", "12\u202f346"),
    ]  # fmt: skip
    on_the_part = facts(region((10, 20, 15, 40), length_px=20.0, width_px=5.0, length_mm=0.2, width_mm=0.05))
    assert ("length × width", "0.2 × 0.05 mm") in on_the_part


@pytest.mark.parametrize("state, said", [("interrupted", "This run was interrupted."), ("running", "had not ended")])
def test_a_run_that_did_not_end_says_so(tmp_path: Path, state: str, said: str) -> None:
    path = write_run(tmp_path, [image_record("a.png")], run_info(state=state, finished=None, milliseconds_median={}))
    assert said in path.read_text("utf-8")


def test_an_empty_run_has_a_page(tmp_path: Path) -> None:
    page = Page(write_run(tmp_path, [], run_info(settings={}, milliseconds_median={})))
    assert page.names == [] and "No image has been inspected yet." in page.text


def test_a_flood_of_regions_is_cut_and_says_so(tmp_path: Path) -> None:
    spots = [region((1, 1, 4, 4), number) for number in range(1, 401)]
    page = Page(write_run(tmp_path, [image_record("a.png", verdict="NG", regions=spots)], run_info()))
    assert page.names == ["a.png"]
    data = loaded(tmp_path)["a.png"]
    assert (len(data["regions"]), data["more"], data["count"]) == (REGIONS_SHOWN, 400 - REGIONS_SHOWN, 400)


def test_only_our_script_may_run(run_dir: Path) -> None:
    page = Page(run_dir / "index.html")
    policy = next(str(attrs["content"]) for tag, attrs in page.elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'; ") and "script-src 'self' file: 'sha256-" in policy
    assert "unsafe" not in policy.split("script-src")[1]


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`RUN_DIR` \(=.*\) holds no run.json: give a folder that `flawmap inspect`"):
        write_page(tmp_path)


@pytest.mark.parametrize(
    "broken, said",
    [
        ("{", r"0009.json is not JSON: .*line 1"),
        ('{"image": 3}', r"0009.json is not a record of this flawmap: `image`: Input should be a valid string"),
    ],
)
def test_a_broken_record_is_named(run_dir: Path, broken: str, said: str) -> None:
    (run_dir / "regions" / "0009.json").write_text(broken)
    assert re.search(f"<b>Records left out: 1.</b> <bdi>.*{said}", unescape(write_page(run_dir).read_text("utf-8")))
    for record in (run_dir / "regions").iterdir():
        record.write_text(broken)
    with pytest.raises(UsageError, match=said.removeprefix("0009")):
        write_page(run_dir)


def test_a_run_without_its_thresholds_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run.json is not a record of this flawmap: `thresholds.ng`: missing"):
        write_run(tmp_path, [], run_info(thresholds={"review": 1.0, "severity_review": 1.0, "severity_ng": 1.3}))


def test_histogram_holds_every_inspected_image_once() -> None:
    rng = np.random.default_rng(2)
    verdicts = rng.choice(["OK", "REVIEW", "NG", "ERROR"], 300)
    records = [image_record("a", verdict=v, severity=s) for v, s in zip(verdicts, rng.normal(1, 2, 300), strict=True)]
    axis = SeverityAxis.around(records, 0.7, 1.0)
    bars = axis.bars(records)
    assert sum(bar.count for bar in bars) == int((verdicts != "ERROR").sum())
    assert all(0 <= bar.left < 100 and bar.bottom + bar.height < 100.1 for bar in bars)
    assert 0 < axis.percent(0.7) < axis.percent(1.0) < 100 and len(axis.ticks()) <= 12


def test_a_severity_beyond_all_good_images_stretches_no_axis(tmp_path: Path) -> None:
    """700 is a word, no measurement; the records keep it."""
    spots = [region((1, 1, 5, 6), severity=703.41), region((9, 9, 12, 12), 2, severity=99.0)]
    records = [image_record("a.png", verdict="NG", severity=703.41, regions=spots), image_record("b.png")]
    axis = SeverityAxis.around(records, 0.7, 1.0)
    assert axis.high == 20 and axis.percent(703.41) == 100 and axis.ends_before(records)
    assert axis.percent(1.0) > 4, "NG can be told from the lower end"
    assert not SeverityAxis.around(records[1:], 0.7, 1.0).ends_before(records[1:])
    write_run(tmp_path, records, run_info())
    page, data = ((tmp_path / name).read_text("utf-8") for name in ("index.html", image_data_path("0000")))
    assert "&gt;99<" in page and ">703" not in page and "What lies beyond 20 is drawn there." in page
    assert '">99"' in data and '"99.00"' in data and "703" not in data
    assert read_recorded_run(tmp_path).images[0].record.severity == 703.41


def test_colours_of_text_keep_wcag_aa() -> None:
    style = (Path(page_module.__file__).parent / "style.css").read_text("utf-8")

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    themes = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", part)) for part in re.split(r"@media", style)]
    themes = [theme for theme in themes if "ink" in theme]
    assert len(themes) == 3  # light, dark, print
    texts, grounds = ("ink", "soft", "ng", "rv", "ok", "er"), ("paper", "card", "hover")
    pairs = [(text, ground) for text in texts for ground in grounds]
    pairs += [(verdict, f"{verdict}-tint") for verdict in ("ng", "rv", "ok", "er")]
    for theme in themes:
        for text, ground in pairs:
            light, dark = sorted((luminance(theme[text]), luminance(theme[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, theme[text], ground, theme[ground])
