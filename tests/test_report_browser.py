"""The page of a run in a real Chromium, from its folder and from a server: looked at, zoomed, sorted, printed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.report import viewer_files
from flawmap.inspect.report.page import write_page
from tests.browsers import needs_chromium, needs_viewer, page_of, served
from tests.bundles import make_bundle
from tests.dotted_images import DOTS, HEIGHT, HOSTILE, WIDTH, write_dotted_images

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images with dots, one of them called after an attack, a good one and a broken one."""
    folder = tmp_path_factory.mktemp("report")
    images = write_dotted_images(folder)
    (images / "broken.png").write_bytes((images / "good.png").read_bytes()[:5000])
    bundle = make_bundle(folder / "toy", tile_size=256)
    inspect_folder([images], bundle.folder, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module", params=["file", "http"])
def address(run_dir: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "file":
        yield (run_dir / "index.html").as_uri()
    else:
        with served(run_dir) as base:
            yield f"{base}/index.html"


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    with page_of(browser, address) as page:
        yield page


def names(page: Any) -> list[str]:
    return [str(name) for name in page.locator("tbody:not([hidden]) tr.image bdi").all_inner_texts()]


def look_at(page: Any, name: str) -> None:
    """Opens an image and waits until its picture is there."""
    page.locator("tr.image", has=page.get_by_text(name, exact=True)).click()
    page.wait_for_selector("#look[open] #stage.deep")
    page.locator("#boxes .box").first.wait_for(state="attached")
    settle(page)


def picture_of(page: Any) -> NDArray[np.uint8]:
    """The stage as it is seen, BGR."""
    return np.asarray(cv2.imdecode(np.frombuffer(page.locator("#picture").screenshot(), np.uint8), cv2.IMREAD_COLOR))


def settle(page: Any) -> None:
    """Waits until the picture has come to rest and its tiles are there."""
    before = None
    for _ in range(50):
        now = page.evaluate("document.getElementById('boxes').innerHTML")
        if now == before:
            break
        before = now
        page.wait_for_timeout(150)
    page.wait_for_load_state("networkidle")


def middle(box: dict[str, float]) -> tuple[float, float]:
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def box_of(page: Any, region: int) -> dict[str, float]:
    """Where a region's box is on the screen; in one go, as it is drawn anew whenever the picture moves."""
    return dict(
        page.evaluate(
            """n => {
              const { x, y, width, height } =
                document.querySelector(`#boxes [data-region="${n}"] path:not(.rim)`).getBoundingClientRect();
              return { x, y, width, height };
            }""",
            region,
        )
    )


def zoom_of(page: Any) -> float:
    """Screen px for one of the image a10.png, by how far apart the boxes of its first two dots are."""
    (x, y), (other_x, other_y) = (middle(box_of(page, number)) for number in (1, 2))
    (at_x, at_y, _), (other_at_x, other_at_y, _) = DOTS["a10.png"][:2]
    return float(np.hypot(x - other_x, y - other_y) / np.hypot(at_x - other_at_x, at_y - other_at_y))


# -- the table -------------------------------------------------------------------------------------------------


def test_the_table_sorts(page: Any) -> None:
    assert names(page)[0] == "broken.png" and names(page)[-1] == "good.png" and HOSTILE in names(page)
    page.get_by_role("button", name="Image", exact=True).click()
    assert names(page) == [HOSTILE, "a9.png", "a10.png", "broken.png", "good.png"]  # numbers as people count
    assert page.get_by_role("columnheader", name="Image").get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Image", exact=True).click()
    assert names(page)[:2] == ["good.png", "broken.png"]
    page.get_by_role("button", name="Regions", exact=True).click()
    assert names(page)[0] == "a10.png"


def test_the_table_filters(page: Any) -> None:
    page.get_by_role("searchbox").fill("A1")
    assert names(page) == ["a10.png"] and page.locator("#shown").inner_text() == "1 of 5 shown"
    page.get_by_role("searchbox").fill("no such name")
    assert names(page) == [] and page.locator("#nothing").is_visible()
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="NG 3").click()
    assert names(page) == ["broken.png", "good.png"]


def test_the_table_is_walked_and_opened_by_keyboard(page: Any) -> None:
    page.get_by_role("link", name="broken.png").focus()
    page.keyboard.press("ArrowDown")
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == names(page)[1]
    page.keyboard.press("Enter")
    assert page.locator("#look-name").inner_text() == focused
    page.keyboard.press("Escape")
    assert not page.locator("#look").is_visible()
    assert page.evaluate("document.activeElement.textContent") == focused


def test_a_tab_is_called_after_what_it_shows(page: Any) -> None:
    assert page.title() == "run: 3 NG of 5 images – flawmap"
    page.get_by_role("link", name="a9.png").click()
    assert page.title() == "a9.png – run: 3 NG of 5 images – flawmap"
    page.keyboard.press("ArrowRight")
    assert page.title() == f"{page.locator('#look-name').inner_text()} – run: 3 NG of 5 images – flawmap"
    page.keyboard.press("Escape")
    page.wait_for_selector("#look", state="hidden")
    assert page.title() == "run: 3 NG of 5 images – flawmap"


# -- looking at an image ---------------------------------------------------------------------------------------


@needs_viewer
def test_the_whole_picture_is_shown_with_its_boxes(page: Any) -> None:
    look_at(page, "a10.png")
    stage = page.locator("#picture").bounding_box()
    page.mouse.move(0, 0)
    middle_of_it = picture_of(page)[300:500, 300:500]
    assert abs(float(middle_of_it.mean()) - 128) < 12  # the grey surface, not the dark stage
    scale = min(stage["width"] / WIDTH, stage["height"] / HEIGHT)
    for number, (x, y, _) in enumerate(DOTS["a10.png"], start=1):  # by severity
        expected = (
            stage["x"] + stage["width"] / 2 + (x + 1 - WIDTH / 2) * scale,
            stage["y"] + stage["height"] / 2 + (y + 1 - HEIGHT / 2) * scale,
        )
        box = box_of(page, number)
        assert middle(box) == pytest.approx(expected, abs=4)
        assert min(box["width"], box["height"]) >= 18  # a 2 px dot, half a px of the screen


@needs_viewer
def test_it_flies_to_a_region(page: Any) -> None:
    look_at(page, "a10.png")
    stage = page.locator("#picture").bounding_box()
    page.locator("#regions button", has_text="severity").nth(1).click()
    page.wait_for_selector("#boxes .chosen")
    settle(page)
    after = box_of(page, 2)
    assert middle(after) == pytest.approx(middle(stage), abs=6)
    assert zoom_of(page) == pytest.approx(min(stage["width"], stage["height"]) / 120, rel=0.01)
    # The very pixels: a bright square in the middle, sharp.
    page.keyboard.press("h")
    page.keyboard.press("b")
    settle(page)
    seen = picture_of(page)[:, :, 0]
    y, x = (side // 2 for side in seen.shape)
    assert seen[y - 3 : y + 3, x - 3 : x + 3].max() > 215 and np.median(seen) < 150
    assert page.locator("#facts").inner_text().count("px") >= 2
    strip = page.locator("#strip-picture")
    assert strip.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    assert page.evaluate("location.hash") == "#a10.png:2"


@needs_viewer
def test_zoom_by_keyboard_and_by_mouse(page: Any) -> None:
    look_at(page, "a10.png")
    stage = page.locator("#picture").bounding_box()
    whole = min(stage["width"] / WIDTH, stage["height"] / HEIGHT)
    assert zoom_of(page) == pytest.approx(whole, rel=0.01)
    page.keyboard.press("1")
    settle(page)
    assert zoom_of(page) == pytest.approx(1, rel=0.01)
    page.keyboard.press("+")
    page.keyboard.press("+")
    settle(page)
    assert zoom_of(page) == pytest.approx(2.25, rel=0.01)
    page.mouse.move(*middle(stage))
    page.mouse.wheel(0, -400)
    settle(page)
    assert zoom_of(page) > 2.4
    page.get_by_role("button", name="Whole").click()
    settle(page)
    assert zoom_of(page) == pytest.approx(whole, rel=0.01)


@needs_viewer
def test_heat_lies_over_the_picture_as_strongly_as_the_slider_says(page: Any) -> None:
    look_at(page, "a9.png")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#boxes .chosen")
    settle(page)
    page.keyboard.press("b")

    def colourfulness(percent: int) -> float:
        page.locator("#heat").fill(str(percent))
        assert page.locator("#heat-says").inner_text() == f"{percent} %"
        settle(page)
        seen = picture_of(page).astype(int)
        y, x = (side // 2 for side in seen.shape[:2])
        blue, _, red = np.moveaxis(seen[y - 6 : y + 6, x - 6 : x + 6], 2, 0)
        return float((red - blue).max())

    none, half, full = colourfulness(0), colourfulness(50), colourfulness(100)
    assert none < 12 < half < full and full > 60
    assert page.locator("[data-anchor='1']").inner_text() == "7.749"  # the score that REVIEW begins at


@needs_viewer
def test_next_and_previous_in_the_order_of_the_table(page: Any) -> None:
    page.get_by_role("button", name="Image", exact=True).click()
    order = names(page)
    look_at(page, order[0])
    shown = [order[0]]
    for _ in range(len(order)):
        page.keyboard.press("ArrowRight")
        page.wait_for_load_state("networkidle")
        shown.append(page.locator("#look-name").inner_text())
    assert shown == [*order, order[-1]]  # it ends at the end
    page.keyboard.press("p")
    assert page.locator("#look-name").inner_text() == order[-2] == "broken.png"
    page.get_by_role("heading", name="Could not be inspected").wait_for()
    assert "cut off" in page.locator("#stage-says").inner_text()
    assert page.locator("#look-place").inner_text() == "4 of 5"


@needs_viewer
def test_keys_of_the_regions(page: Any) -> None:
    look_at(page, "a10.png")
    for expected in (1, 2, 3, 3):
        page.keyboard.press("ArrowDown")
        assert page.locator("#regions [aria-current]").get_attribute("data-region") == str(expected)
        assert page.evaluate("document.activeElement.dataset.region") == str(expected)
    page.keyboard.press("k")
    assert page.locator("#regions [aria-current]").get_attribute("data-region") == "2"
    page.keyboard.press("b")
    assert page.locator("#boxes .box").count() == 0
    page.keyboard.press("b")
    assert page.locator("#boxes .box").count() == 3


@needs_viewer
def test_a_box_is_picked_in_the_picture_and_a_mark_on_the_map(page: Any) -> None:
    look_at(page, "a10.png")
    page.mouse.click(*middle(box_of(page, 3)))
    page.wait_for_selector("#boxes .chosen[data-region='3']")
    page.keyboard.press("Escape")
    marks = page.locator(".mark")
    assert marks.count() == 5
    x, y, _ = DOTS["a9.png"][0]
    svg = page.locator(".maps svg").bounding_box()
    page.mouse.click(svg["x"] + x / WIDTH * svg["width"], svg["y"] + y / HEIGHT * svg["height"])
    page.wait_for_selector("#boxes .chosen")
    assert page.locator("#look-name").inner_text() == "a9.png"


@needs_viewer
def test_an_address_leads_to_a_region(browser: Any, address: str) -> None:
    with page_of(browser, f"{address}#a10.png:2") as page:
        page.wait_for_selector("#boxes .chosen[data-region='2']")
        assert page.locator("#look-name").inner_text() == "a10.png"
        page.keyboard.press("Escape")
        page.wait_for_url(lambda url: "a10.png" not in url)


def test_a_name_cannot_become_markup(page: Any) -> None:
    page.locator("tr.image", has=page.get_by_text(HOSTILE, exact=True)).click()
    page.wait_for_selector("#look[open] #stage.deep, #look[open] #stage.plain")
    assert page.locator("#look-name").inner_text() == HOSTILE
    assert page.locator("img[src='x']").count() == 0


def test_without_the_viewer_there_are_plain_pictures(
    run_dir: Path, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside = run_dir.parent / "viewer aside"
    if (run_dir / "page" / "viewer").is_dir():
        (run_dir / "page" / "viewer").rename(aside)
    with monkeypatch.context() as without:
        without.setattr(viewer_files, "SOURCE", run_dir / "nowhere")
        write_page(run_dir)
    try:
        with page_of(browser, (run_dir / "index.html").as_uri()) as page:
            page.locator("tr.image", has=page.get_by_text("a10.png", exact=True)).click()
            page.wait_for_selector("#stage.plain .overview")
            assert page.locator(".overview").evaluate("image => image.decode().then(() => image.naturalWidth)") > 1000
            page.keyboard.press("ArrowDown")
            page.keyboard.press("ArrowDown")
            assert page.locator("#regions [aria-current]").get_attribute("data-region") == "2"
            assert not page.locator(".controls").is_visible()
    finally:
        if aside.is_dir():
            aside.rename(run_dir / "page" / "viewer")
        write_page(run_dir)


def test_paper_shows_the_regions_of_the_images_shown(browser: Any, address: str, tmp_path: Path) -> None:
    with page_of(browser, address) as page:
        page.evaluate("() => { window.print = () => { document.body.dataset.printed = 'yes'; }; }")
        page.get_by_role("searchbox").fill("a")
        page.get_by_role("button", name="OK 1").click()
        page.get_by_role("button", name="Print with regions").click()
        page.locator("body[data-printed]").wait_for()
        sheets = page.locator("#evidence article")
        assert not sheets.first.is_visible()  # on the screen
        assert sorted(sheets.locator("h2").all_text_contents()) == sorted([HOSTILE, "a10.png", "a9.png"])
        assert sheets.locator("figure img").count() == 5
        page.pdf(path=tmp_path / "report.pdf")
        page.emulate_media(media="print")
        assert sheets.first.is_visible() and not page.locator(".tools").is_visible()
        assert page.evaluate("[...document.querySelectorAll('#evidence img')].every(i => i.naturalWidth > 0)")
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") >= 3  # the table, and a sheet an image


def test_nothing_is_wider_than_the_window(page: Any) -> None:
    for width, height in ((1280, 800), (1920, 1080), (1024, 768)):
        page.set_viewport_size({"width": width, "height": height})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
