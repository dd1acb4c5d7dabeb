"""The review page in a real Chromium, served by a real `flawmap serve`: by keyboard alone, also after a restart."""

import json
import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flawmap.inspect.folder import inspect_folder
from flawmap.tiling.images import write_image
from tests.browsers import needs_chromium, needs_viewer, page_of
from tests.bundles import good_image, make_bundle
from tests.dotted_images import HEIGHT, HOSTILE, WIDTH, write_dotted_images
from tests.serving import Served

pytestmark = needs_chromium
TWICE_MS = 350  # two presses of a mark within 300 ms are one


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run: three images with dots, one of them called after an attack, and a good one."""
    folder = tmp_path_factory.mktemp("inspected")
    images = write_dotted_images(folder)
    inspect_folder([images], make_bundle(folder / "toy", tile_size=256).folder, folder / "runs" / "monday")
    return folder


@pytest.fixture
def runs_dir(inspected: Path, tmp_path: Path) -> Path:
    shutil.copytree(inspected, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs"


@contextmanager
def serving(runs_dir: Path) -> Iterator[str]:
    """A `flawmap serve` of its own process; its address."""
    with Served(runs_dir, runs_dir.parent / "toy") as served:
        yield served.address
        _, complaints = served.stop()
    assert "Traceback" not in complaints, complaints


def marks_at(address: str) -> list[tuple[str, int | None, str]]:
    with urllib.request.urlopen(f"{address}/api/runs/monday/review/marks") as answer:
        return [(one["image"], one["region"], one["mark"]) for one in json.load(answer)]


def history_at(address: str) -> list[dict[str, Any]]:
    """Every line that was ever written, those of marks taken back too."""
    with urllib.request.urlopen(f"{address}/api/runs/monday/review/history") as answer:
        return list(json.load(answer))


@contextmanager
def review_at(browser: Any, address: str) -> Iterator[Any]:
    """The page with its first image open; it may ask this service, and nobody else."""
    with page_of(browser, f"{address}/review", base=address) as page:
        page.wait_for_selector("#regions button[aria-current]")
        yield page


def press(page: Any, *keys: str) -> None:
    """Each key is answered before the next one is pressed."""
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(50)


def test_marked_by_keyboard_and_there_after_a_restart(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address:
        with review_at(browser, address) as page:
            assert page.locator("#progress").inner_text() == "0 of 5 regions marked, 0 of 4 images complete"
            assert (
                page.locator("#look-name").inner_text() == HOSTILE
                or page.locator("#look-name").inner_text() == "a10.png"
            )
            press(page, "d")
            page.get_by_text("1 of 5 regions marked").wait_for()
            name = page.locator("#look-name").inner_text()
            assert page.title() == f"{name} – Review of monday – flawmap"
        before = marks_at(address)
        assert len(before) == 1 and before[0][1:] == (1, "defect")
    with serving(runs_dir) as address, review_at(browser, address) as page:
        assert marks_at(address) == before
        page.locator("#images button", has=page.get_by_text(name, exact=True)).click()
        page.locator("#regions .mark.defect").wait_for()
        assert page.locator("#regions .mark.defect").count() == 1


def test_everything_is_done_by_keys(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#images button", has=page.get_by_text("a10.png", exact=True)).focus()
        press(page, "Enter")
        page.get_by_text("3 of 3 still to be marked").wait_for()
        press(page, "d", "f", "u")
        page.get_by_text("All 3 marked").wait_for()
        assert [mark for _, _, mark in marks_at(address)] == ["defect", "false_alarm", "unsure"]
        press(page, "z")
        page.get_by_text("1 of 3 still to be marked").wait_for()
        press(page, "z")
        page.get_by_text("2 of 3 still to be marked").wait_for()
        press(page, "f")
        page.get_by_text("1 of 3 still to be marked").wait_for()
        page.wait_for_timeout(TWICE_MS)  # sooner, the second press would be none
        press(page, "f", "c")
        page.locator("#complete[aria-pressed=true]").wait_for()
        page.get_by_text("1 of 4 images complete").wait_for()
        assert [mark for _, _, mark in marks_at(address)] == ["defect", "false_alarm", "false_alarm"]
        page.get_by_text("1 of 1").first.wait_for()  # recall, of the image that is complete
        press(page, "n")
        assert page.locator("#look-name").inner_text() != "a10.png"
        assert page.locator("#says").inner_text() == ""  # what was said was about a10.png
        press(page, "ArrowLeft")
        # Complete by now, it left the list of what is to be reviewed.
        assert page.locator("#images bdi", has_text="a10.png").count() == 0


def press_at_once(page: Any, key: str) -> None:
    """Twice with no time between, however busy the machine is."""
    one = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}))"
    page.evaluate(f"key => {{ {one}; {one}; }}", key)


def test_a_second_press_leaves_the_mark_and_x_takes_it_back(browser: Any, runs_dir: Path) -> None:
    """At two in the morning: pressed twice, held down, pressed again because nobody saw the first."""
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#images bdi", has_text="a10.png").click()
        page.get_by_text("3 of 3 still to be marked").wait_for()
        press_at_once(page, "d")  # a hand that trembles: the next region was not seen yet
        page.get_by_text("2 of 3 still to be marked").wait_for()
        page.wait_for_timeout(TWICE_MS)
        page.keyboard.down("f")
        page.keyboard.down("f")  # held, the key repeats
        page.keyboard.down("f")
        page.keyboard.up("f")
        page.get_by_text("1 of 3 still to be marked").wait_for()
        press(page, "u")
        page.get_by_text("All 3 marked").wait_for()
        page.locator("#regions button").nth(2).click()
        for _ in range(2):
            page.wait_for_timeout(TWICE_MS)
            press(page, "u")
            page.get_by_text("Is marked as unsure already; all are marked.").wait_for()
        assert [mark for _, _, mark in marks_at(address)] == ["defect", "false_alarm", "unsure"]
        assert len(history_at(address)) == 3  # what changed nothing left no line
        press(page, "x")
        page.get_by_text("Taken back.").wait_for()
        assert [mark for _, _, mark in marks_at(address)] == ["defect", "false_alarm"]
        assert page.locator("#take-back").is_disabled()
        press(page, "x")
        page.get_by_text("It bears no mark.").wait_for()
        page.locator("#regions button").first.click()
        page.locator("#take-back").click()
        page.get_by_text("2 of 3 still to be marked").wait_for()
        press(page, "z")
        page.get_by_text("1 of 3 still to be marked").wait_for()
        assert [mark for _, _, mark in marks_at(address)] == ["false_alarm", "defect"]


def test_a_key_pressed_while_an_image_is_fetched_is_about_it(browser: Any, runs_dir: Path) -> None:
    """The rows on the page are still those of the image before; a slow line must not swallow the mark, nor move it."""

    def slowly(route: Any) -> None:
        page.wait_for_timeout(300)
        route.continue_()

    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#images bdi", has_text="a10.png").click()
        page.get_by_text("3 of 3 still to be marked").wait_for()
        page.wait_for_load_state("networkidle")
        page.route("**/review/images/*", slowly)
        page.locator("#images bdi", has_text="a10.png").click()  # again: all that is shown stays as it was
        page.locator("#regions button").nth(2).click()
        press_at_once(page, "d")
        page.get_by_text("2 of 3 still to be marked").wait_for()
        page.locator("#images bdi", has_text="a9.png").click()
        press(page, "f")
        page.get_by_text("Marked as false alarm; all are marked.").wait_for()
        assert marks_at(address) == [("a10.png", 1, "defect"), ("a9.png", 1, "false_alarm")]


def test_another_reviewer_may_say_the_same(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#images bdi", has_text="a9.png").click()
        page.get_by_text("1 of 1 still to be marked").wait_for()
        press(page, "d")
        page.get_by_text("Marked as defect; all are marked.").wait_for()
        page.locator("#reviewer").fill("Ann")
        page.locator("#regions button").first.click()
        page.wait_for_timeout(TWICE_MS)
        press(page, "d")
        page.locator("#facts", has_text="defect by Ann").wait_for()
        assert [(one["mark"], one["reviewer"]) for one in history_at(address)] == [("defect", ""), ("defect", "Ann")]


def test_the_report_of_the_run_is_a_click_away(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="Report").click()
        opened.value.wait_for_selector("#list")
        assert opened.value.title() == "monday: 3 NG of 4 images – flawmap"
        page.goto(f"{address}/review/nope")  # a link to a run that was removed, or a slip of the pen
        page.get_by_text("There is no run nope here.").wait_for()
        assert page.locator("#run").input_value() == "monday"


def test_where_there_is_no_run_it_says_how_one_is_made(browser: Any, inspected: Path, tmp_path: Path) -> None:
    shutil.copytree(inspected / "toy", tmp_path / "toy")
    (tmp_path / "runs").mkdir()
    with serving(tmp_path / "runs") as address, page_of(browser, f"{address}/review", base=address) as page:
        page.get_by_text("flawmap inspect IMAGES -m BUNDLE -o RUNS_DIR/NAME").wait_for()
        assert page.title() == "Review – flawmap" and page.locator("#report").is_hidden()
        shutil.copytree(inspected / "runs" / "monday", tmp_path / "runs" / "monday")
        page.locator("#report").wait_for(timeout=15_000)  # it appears by itself
        page.locator("#images bdi", has_text="a10.png").wait_for()


def test_seen_whole_twice_is_seen_whole(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#images bdi", has_text="good.png").click()
        page.get_by_text("No region reached the threshold").wait_for()
        assert page.locator("#reopen").is_disabled()
        for _ in range(2):
            press(page, "c")
            page.get_by_text("Complete. N goes on to the next image.").wait_for()
        page.get_by_text("1 of 4 images complete").wait_for()
        press(page, "o")
        page.get_by_text("Not looked at as a whole.").wait_for()
        page.get_by_text("0 of 4 images complete").wait_for()
        press(page, "z")
        page.locator("#complete[aria-pressed=true]").wait_for()


def test_tab_leads_through_lists_and_not_into_every_row(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#filter").focus()
        press(page, "Tab")
        first = page.evaluate("document.activeElement.dataset.image")
        press(page, "ArrowDown")
        second = page.evaluate("document.activeElement.dataset.image")
        assert first and second and first != second
        press(page, "Enter")
        page.locator(f'#images [data-image="{second}"][aria-current]').wait_for()
        assert page.evaluate("document.activeElement.dataset.image") == second
        press(page, "Tab")
        assert page.evaluate("document.activeElement.id") == "wish-recall"
        page.locator("#images bdi", has_text="a10.png").click()
        page.get_by_text("3 of 3 still to be marked").wait_for()
        page.locator("#regions [aria-current]").focus()
        press(page, "d")
        page.get_by_text("2 of 3 still to be marked").wait_for()
        assert page.evaluate("document.activeElement.textContent").startswith("2")  # the next one that is unmarked


def test_a_missed_defect_is_drawn(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#images button", has=page.get_by_text("good.png", exact=True)).click()
        page.get_by_text("No region reached the threshold").wait_for()
        press(page, "m")
        for value in ("700", "300", "12", "9"):
            page.keyboard.press("Control+a")
            page.keyboard.type(value)
            page.keyboard.press("Tab")
        press(page, "Enter")
        page.get_by_text("drawn by hand").wait_for()
        with urllib.request.urlopen(f"{address}/api/runs/monday/review/marks") as answer:
            (found,) = json.load(answer)
        assert found["box"] == {"x_min": 700, "y_min": 300, "x_max": 712, "y_max": 309} and found["drawn"]
        page.get_by_text("left no region and no candidate").wait_for()


@needs_viewer
def test_a_box_is_dragged_where_it_is_seen(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#images button", has=page.get_by_text("good.png", exact=True)).click()
        page.wait_for_selector("#stage.deep")
        page.wait_for_load_state("networkidle")
        box = page.locator("#picture").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.keyboard.down("Shift")
        page.mouse.move(x - 60, y - 40)
        page.mouse.down()
        page.mouse.move(x, y, steps=3)
        page.mouse.move(x + 60, y + 40, steps=3)
        page.mouse.up()
        page.keyboard.up("Shift")
        values = [int(page.locator(f"#missed [name={name}]").input_value()) for name in ("x", "y", "width", "height")]
        scale = WIDTH / min(box["width"], box["height"] * WIDTH / HEIGHT)  # px of the image for one of the screen
        middle = values[0] + values[2] / 2, values[1] + values[3] / 2
        assert middle == pytest.approx((WIDTH / 2, HEIGHT / 2), abs=12 * scale)
        assert values[2] / scale == pytest.approx(120, abs=16) and values[3] / scale == pytest.approx(80, abs=16)
        press(page, "Escape")
        assert page.locator("#missed").is_hidden() and marks_at(address) == []


def test_new_results_and_other_peoples_marks_appear(browser: Any, runs_dir: Path) -> None:
    images, bundle = runs_dir.parent / "images", runs_dir.parent / "toy"
    inspect_folder([images], bundle, runs_dir / "live", zoom=False)
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#run").select_option("live")
        page.get_by_text("0 of 5 regions marked").wait_for()
        write_image(images / "later.png", good_image(HEIGHT, WIDTH, seed=9))
        inspect_folder([images], bundle, runs_dir / "live", zoom=False)
        page.locator("#images bdi", has_text="later.png").wait_for(timeout=15_000)
        request = urllib.request.Request(
            f"{address}/api/runs/live/review/images/a9.png/marks",
            json.dumps({"mark": "defect", "region": 1, "reviewer": "somebody else"}).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()
        page.get_by_text("1 of 5 regions marked").wait_for()


def test_letters_are_letters_where_keys_are_off(browser: Any, runs_dir: Path) -> None:
    """WCAG 2.1.4: whoever speaks to the computer must be able to turn keys of one letter off."""
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.locator("#keys-on").uncheck()
        press(page, "d")
        page.locator("#keys-on").check()
        page.locator("#note").fill("")
        page.locator("#note").press_sequentially("dfu")
        assert page.locator("#note").input_value() == "dfu" and marks_at(address) == []


def contrast(one: str, other: str) -> float:
    """Of two CSS colours, as WCAG 2.2 has it."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(browser: Any, runs_dir: Path, scheme: str) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        page.emulate_media(color_scheme=scheme)
        press(page, "d", "c", "m")
        texts = page.evaluate(
            """() => [...document.querySelectorAll("body *")].flatMap((one) => {
              const clear = /^rgba\\(.*, 0\\)$/;
              const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
              if (!own || !one.checkVisibility() || one.closest("svg, :disabled, option")) return [];
              let behind = one;
              while (behind && clear.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
              const ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
              return [[one.textContent.trim().slice(0, 40), getComputedStyle(one).color, ground]];
            })"""
        )
    assert len(texts) > 40
    assert [text for text, ink, ground in texts if contrast(ink, ground) < 4.5] == []
    assert contrast("rgb(255, 255, 255)", "rgb(118, 118, 118)") == pytest.approx(4.54, abs=0.01)


def test_nothing_is_cut_off_at_1280_by_800(browser: Any, runs_dir: Path) -> None:
    with serving(runs_dir) as address, review_at(browser, address) as page:
        press(page, "f")
        page.get_by_text("1 of 5 regions marked").wait_for()
        press(page, "p", "c", "m")
        page.locator("[data-mark=false_alarm][aria-pressed=true]").wait_for()
        outside = page.evaluate(
            """() => [...document.querySelectorAll("button, input, select, h2, #says, .keys")].filter((one) => {
              const box = one.getBoundingClientRect();
              if (!one.checkVisibility() || one.closest("#images, #figures, #regions")) return false; // which scroll
              return box.left < 0 || box.top < 0 || box.right > innerWidth + .5 || box.bottom > innerHeight + .5;
            }).map((one) => one.outerHTML.slice(0, 80))"""
        )
        assert outside == []
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [1280, 1280]
