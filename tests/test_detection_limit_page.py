"""The page of a detection limit and what leads to it: a real bundle, real images, whatever the order of commands."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flawmap.inspect.cli import app
from flawmap.inspect.detection_limit.injection import Design
from flawmap.inspect.detection_limit_run import detection_limit_run
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.report.page import write_page
from flawmap.inspect.run.detection_limit_record import LimitRecord, read_detection_limit
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.browsers import chromium, needs_chromium, page_of
from tests.bundles import good_image, make_bundle
from tests.html_page import Page, anchors_of

HOSTILE = "<img src=x onerror=alert(1)> & 'quoted' {{ 7*7 }}#%41é"
DESIGN = Design(sizes_px=(3, 9), contrasts=(2.0, 28.0), per_image=40, gap_px=12)
LINK = "./evaluation/detection_limit.html"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good images, one of a name that is no markup and one of a name that is no UTF-8."""
    folder = tmp_path_factory.mktemp("data")
    good = folder / "test" / "good"
    good.mkdir(parents=True)
    for seed, name in enumerate((os.fsencode(HOSTILE) + b".png", b"z\xff.png")):
        write_image(good / "plain.png", good_image(400, 400, seed=seed))
        (good / "plain.png").rename(good / os.fsdecode(name))
    return folder


@pytest.fixture(scope="module")
def inspected(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_bundle(folder / "b")
    inspect_folder([data / "test"], folder / "b", folder / "run", false_alarms=5, device="cpu")
    return folder / "run"


@pytest.fixture(scope="module")
def measured(inspected: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = Path(shutil.copytree(inspected, tmp_path_factory.mktemp("measured") / "run"))
    detection_limit_run(run_dir, data, design=DESIGN)
    return run_dir


@pytest.fixture
def run_dir(measured: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(measured, tmp_path / "run"))


def limit_page(run_dir: Path) -> Path:
    return run_dir / "evaluation" / "detection_limit.html"


def result_of(run_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run_dir / "evaluation" / "detection_limit.json").read_text("utf-8"))
    return found


def rows_of(text: str) -> list[list[str]]:
    """The cells of every row, without their elements."""
    rows = re.findall(r"<tr>(.*?)</tr>", text, re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)] for row in rows]


def test_the_sentence_comes_first_then_the_curves(measured: Path) -> None:
    page, result = Page(limit_page(measured)), result_of(measured)
    tags = [tag for tag, _ in page.elements]
    assert tags.count("h1") == 1 and tags.index("h1") < tags.index("h2") < tags.index("img") < tags.index("table")
    assert f'<p class="sentence">{result["sentence"]}</p>' in page.text
    assert page.text.index(result["sentence"]) < page.text.index("<img")
    (picture,) = [attrs for tag, attrs in page.elements if tag == "img"]
    assert "a chart for each kind: spot, pit, hairline, smudge." in str(picture["alt"])
    here = limit_page(measured).parent
    assert all((here / link).is_file() for link in page.links())
    assert {(here / link).name for link in page.links()} == {
        "index.html", "detection_limit.png", "detection_limit.csv", "detection_limit.json",
    }  # fmt: skip
    assert "a generator that training never saw" in page.text
    assert "real defects may be easier or harder to find" in page.text


def test_a_row_for_every_kind_and_contrast_as_in_the_json(measured: Path) -> None:
    result, (_, *rows) = result_of(measured), rows_of(limit_page(measured).read_text("utf-8"))
    expected: list[list[str]] = []
    for curve in result["over_size"]:
        if not expected or curve["contrast_sigma"] == 2:
            expected.append([curve["kind"]])
        found = sum(rate["found"] for rate in curve["rates"])
        cells = [f"{curve['contrast_sigma']:g} sigma", f"{curve['median_change_grey_levels']:.3g}", str(curve["tried"])]
        cells.append(f"{found}{100 * found / curve['tried']:.0f} %")
        if curve["slope"] is None:
            expected.append([*cells, "too few to say"])
            continue
        sizes = []
        for limit in (curve["a90_px"], curve["a90_95_px"]):
            value = limit["value"]
            up = value if value is None else int(value) + (value % 1 > 1e-6)
            sizes.append("not up to 9 px" if up is None else f"{up} px{' or less' if limit['smallest_tried'] else ''}")
        expected.append([*cells, *sizes])
    kinds = [row[0].split(" ")[0] if len(row) == 1 else row for row in rows[: len(expected)]]
    assert kinds == [row[0] if len(row) == 1 else row for row in expected]
    places = {row[0]: row[1] for row in rows[len(expected) + 1 :]}
    assert sorted(places.values()) == sorted(str(rate["tried"]) for rate in result["found_by_place"].values())
    assert sum(map(int, places.values())) == result["defects"]


def test_sizes_found_less_often_than_the_limit_says_are_named(run_dir: Path) -> None:
    assert "but less often at" not in limit_page(run_dir).read_text("utf-8")
    result = result_of(run_dir)
    result["over_size"][1] |= {"slope": 1.0, "exceptions": [41, 64]}
    result["over_size"][2]["slope"] = None
    (run_dir / "evaluation" / "detection_limit.json").write_text(json.dumps(result), "utf-8")
    write_page(run_dir)
    header, *rows = rows_of(limit_page(run_dir).read_text("utf-8"))
    assert header[-1] == "but less often at" and len(header) == 7
    assert [row[-1] for row in rows[1:3]] == ["", "41, 64 px"]
    assert rows[4][-2:] == ["too few to say", ""]


@pytest.mark.parametrize(
    ("value", "px"), [(None, None), (3.0, 3), (10.2, 11), (11.0000001, 11), (10.9999999, 11), (11.001, 12)]
)
def test_a_limit_promises_no_more_than_was_measured(value: float | None, px: int | None) -> None:
    assert LimitRecord(value=value, smallest_tried=False).px == px


def test_hostile_names_stay_text(measured: Path, tmp_path: Path) -> None:
    hostile = tmp_path / HOSTILE
    shutil.copytree(measured, hostile)
    write_page(hostile)
    page = Page(limit_page(hostile))
    assert page.names == [f"good/{HOSTILE}.png", "good/z\\xff.png"]
    assert 'report of <span dir="auto">&lt;img src=x onerror=alert(1)&gt; &amp; &#39;quoted&#39;' in page.text
    assert "<img src=x" not in page.text and "<script" not in page.text and "default-src 'none'" in page.text
    assert "http" not in re.sub(r'http-equiv|<link rel="icon"[^>]*>', "", page.text)


def test_what_could_not_be_inspected_is_named(run_dir: Path) -> None:
    result = result_of(run_dir)
    why = "<i>too small</i>"
    result["product"] = "<b>board</b>"
    result |= {"images_not_inspected": {"good/<s>.png": why}, "defects_without_place": {"<u>": 3}, "found_by_place": {}}
    (run_dir / "evaluation" / "detection_limit.json").write_text(json.dumps(result), "utf-8")
    write_page(run_dir)
    text = limit_page(run_dir).read_text("utf-8")
    assert "<h1>&lt;b&gt;board&lt;/b&gt;</h1>" in text
    assert "1 image could not be inspected and counts nowhere below: <bdi>good/&lt;s&gt;.png</bdi>: &lt;i" in text
    assert "3 of kind &lt;u&gt;." in text and "By place" not in text


def test_a_report_leads_there_when_there_is_a_result_and_back(inspected: Path, run_dir: Path) -> None:
    """No evaluation was asked for: `--truth` need not tell anything about the run."""
    assert anchors_of(inspected / "index.html").count(LINK) == 0 and not limit_page(inspected).exists()
    assert anchors_of(run_dir / "index.html")[0] == LINK
    assert [path.name for path in (run_dir / "evaluation").glob("*.html")] == ["detection_limit.html"]
    assert anchors_of(limit_page(run_dir))[0] == "../index.html"


def test_an_evaluation_before_or_after_leads_there_too(inspected: Path, data: Path, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(inspected, tmp_path / "run"))
    evaluate_run(run_dir, data)
    evaluation = run_dir / "evaluation" / "index.html"
    assert "detection_limit" not in evaluation.read_text("utf-8")
    assert LINK not in anchors_of(run_dir / "index.html")
    detection_limit_run(run_dir, data, images=1, design=DESIGN)
    for _ in range(2):
        evaluate_run(run_dir, data)
        assert anchors_of(run_dir / "index.html")[:2] == ["./evaluation/index.html", LINK]
        assert anchors_of(evaluation)[:2] == ["../index.html", "./detection_limit.html"]
        assert f'<p class="sentence">{result_of(run_dir)["sentence"]}</p>' in evaluation.read_text("utf-8")
        assert anchors_of(limit_page(run_dir))[:2] == ["../index.html", "./index.html"]


def test_a_run_without_a_page_gets_none(run_dir: Path, data: Path) -> None:
    (run_dir / "index.html").unlink()
    limit_page(run_dir).unlink()
    evaluate_run(run_dir, data)
    assert not (run_dir / "index.html").exists()
    assert anchors_of(limit_page(run_dir))[:2] == ["../index.html", "./index.html"]


def test_a_report_drawn_again_draws_it_again(run_dir: Path) -> None:
    """Results of before the page: the JSON is enough."""
    before = limit_page(run_dir).read_bytes()
    limit_page(run_dir).unlink()
    write_page(run_dir)
    assert limit_page(run_dir).read_bytes() == before


@pytest.mark.parametrize("text", [None, "{", "[]", '{"sentence": "Spots are found."}'])
def test_without_a_result_there_is_neither_page_nor_link(run_dir: Path, data: Path, text: str | None) -> None:
    path = run_dir / "evaluation" / "detection_limit.json"
    path.unlink() if text is None else path.write_text(text, "utf-8")
    assert read_detection_limit(run_dir) is None
    evaluate_run(run_dir, data)
    assert not limit_page(run_dir).exists()
    assert LINK not in anchors_of(run_dir / "index.html")
    assert "detection_limit" not in (run_dir / "evaluation" / "index.html").read_text("utf-8")


def test_a_fresh_run_forgets_it(measured: Path, data: Path, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(measured, tmp_path / "run"))
    bundle = json.loads((run_dir / "run.json").read_text("utf-8"))["bundle"]
    inspect_folder([data / "test"], Path(bundle), run_dir, false_alarms=5, device="cpu", fresh=True)
    assert not (run_dir / "evaluation").exists() and LINK not in anchors_of(run_dir / "index.html")


def test_an_image_that_cannot_be_inspected_ends_the_command_with_3(inspected: Path, data: Path, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(inspected, tmp_path / "run"))
    other = Path(shutil.copytree(data, tmp_path / "data"))
    write_image(other / "test" / "good" / f"{HOSTILE}.png", good_image(96, 96))  # soon done
    (other / "test" / "good" / "a.png").write_bytes(b"no picture")
    arguments = ["evaluate", str(run_dir), "--truth", str(other), "--probability-of-detection", "--images", "2"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 3, done.output
    assert "flawmap: no defects were injected into good/a.png: " in done.stderr
    lines = done.stdout.splitlines()
    assert lines[:2] == [result_of(run_dir)["sentence"], str(limit_page(run_dir))]
    assert lines[-1] == str(run_dir / "evaluation" / "index.html")
    assert "./detection_limit.html" in anchors_of(run_dir / "evaluation" / "index.html")


def test_the_limit_stands_where_the_run_knows_none_of_the_images(inspected: Path, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(inspected, tmp_path / "run"))
    good = tmp_path / "data" / "test" / "good"
    good.mkdir(parents=True)
    write_image(good / "other.png", good_image(40, 40))
    arguments = ["evaluate", str(run_dir), "--truth", str(tmp_path / "data"), "--probability-of-detection"]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, UsageError) and "is a test image of `--truth`" in str(done.exception)
    assert done.stdout.splitlines() == [result_of(run_dir)["sentence"], str(limit_page(run_dir))]
    assert anchors_of(run_dir / "index.html")[0] == LINK


def test_it_needs_the_good_images(inspected: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(inspected), "--probability-of-detection"])
    assert done.exit_code == 2 and "--truth" in done.stderr


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it_from_its_folder(measured: Path, scheme: str) -> None:
    with chromium() as browser, page_of(browser, limit_page(measured).as_uri(), color_scheme=scheme) as page:
        assert page.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 1000
        assert page.get_by_role("heading", level=2).first.inner_text() == "The smallest defect found 9 times out of 10"
        assert page.get_by_role("rowheader", name="28 sigma").count() == 4
        for width in (1280, 360):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
