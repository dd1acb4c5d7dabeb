"""Pictures and colours of the report: heat, strips, pixels as the eye takes them, the overview, text."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.inspect.report import page as page_module
from flawmap.inspect.report.display import SAMPLES, Window, shrink, shrink_keeping_peaks, to_picture, window_of
from flawmap.inspect.report.heat_scale import INFERNO, HeatScale
from flawmap.inspect.report.overview import BOX_MIN_PX, LONGEST_PX, SMALLEST_SIDE_PX, VERDICT_COLOURS, draw_overview
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
from flawmap.tiling.images import read_image
from tests.written_runs import NG, REVIEW, noise, region

PANELS = ("crop", "heat", "reconstruction")


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


# The page's own colours


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
