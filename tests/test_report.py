"""The page of a run."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from flawmap.inspect.report.image_data import REGIONS_SHOWN, facts
from flawmap.inspect.report.page import write_page
from flawmap.inspect.report.page_text import counted, number, severity
from flawmap.inspect.report.pictures import write_pictures
from flawmap.inspect.run.records import RegionRecord
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image
from tests.html_page import Page
from tests.written_runs import HOSTILE, NG, REVIEW, image_record, noise, region, run_info, write_run


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


def test_the_title_names_the_run(run_dir: Path, tmp_path: Path) -> None:
    """A hostile folder name too: it is text there."""
    title = f"<title>{run_dir.name}: {len(HOSTILE)} NG of 10 images – flawmap</title>"
    assert title in (run_dir / "index.html").read_text("utf-8")
    page = write_run(tmp_path / "<b>&", [], run_info())
    assert "<title>&lt;b&gt;&amp;: 0 NG of 0 images" in page.read_text("utf-8")
    assert '<span dir="auto">&lt;b&gt;&amp;</span>' in page.read_text("utf-8")


def test_zero_has_no_sign_and_one_no_plural() -> None:
    assert [severity(value) for value in (-0.0, -0.004, -0.005001, 0.0)] == ["0.00", "0.00", "−0.01", "0.00"]
    assert [number(value) for value in (-0.0, -0.25)] == ["0", "−0.25"]
    assert [counted(value, "false alarm") for value in (1, 0.1, 2, 0)] == [
        "1 false alarm", "0.1 false alarms", "2 false alarms", "0 false alarms"
    ]  # fmt: skip


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


def test_settings_are_words(tmp_path: Path) -> None:
    settings = {"paths": ["a b", "<c>"], "zoom": True, "heatmaps": False, "tile_size": None, "workers": 1}
    page = write_run(tmp_path, [], run_info(settings=settings)).read_text("utf-8")
    assert "paths a b; &lt;c&gt;, zoom yes, heatmaps no, tile_size –, workers 1</dd>" in page


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
