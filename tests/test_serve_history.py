"""The history that `flawmap serve` shows: every run in a folder, live, whatever lies in it, and nothing beside it."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.record_files import read_record, record_path, write_record, write_run_info
from flawmap.inspect.run.records import RunInfo
from flawmap.inspect.service.history import History
from flawmap.inspect.service.run_files import run_file
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle
from tests.serving import Service, in_process


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, images, and a run over them."""
    folder = tmp_path_factory.mktemp("served")
    bundle = make_bundle(folder / "toy").folder
    (folder / "images").mkdir()
    for number in range(4):
        write_image(folder / "images" / f"part{number}.png", good_image(60, 90, seed=number, defects=number % 3))
    (folder / "images" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    inspect_folder([folder / "images"], bundle, folder / "runs" / "monday")
    return folder


@pytest.fixture(scope="module")
def served(made: Path) -> Iterator[Service]:
    """Of the run as it was written; tests that change runs have their own."""
    with in_process(made / "runs", made / "toy") as service:
        yield service


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Iterator[Service]:
    """Of a copy of the run."""
    shutil.copytree(made / "runs", tmp_path / "runs")
    with in_process(tmp_path / "runs", made / "toy") as service:
        yield service


def get(served: Service, path: str, status: int = 200) -> Any:
    answer = served.client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_run_is_listed_as_its_files_say(served: Service, made: Path) -> None:
    (run,) = get(served, "/api/runs")
    assert run == get(served, "/api/runs/monday")
    info = json.loads((made / "runs" / "monday" / "run.json").read_text("utf-8"))
    assert {name: run[name] for name in ("counts", "product", "state", "thresholds", "started")} == {
        name: info[name] for name in ("counts", "product", "state", "thresholds", "started")
    }
    assert served.client.get(run["report"]).text == (made / "runs" / "monday" / "index.html").read_text("utf-8")


def test_counts_from_the_records_are_those_of_the_run(made: Path) -> None:
    (run,) = History(made / "runs").runs()
    counted, said = run.counts(), run.info().counts
    assert counted.pop("DAMAGED") == 0
    assert counted == said


def test_regions_are_those_of_the_record(served: Service, made: Path) -> None:
    record = read_record(record_path(made / "runs" / "monday", "part2.png"))
    assert record is not None and len(record.regions) > 1
    regions = get(served, "/api/runs/monday/images/part2.png/regions")
    assert regions == [json.loads(region.model_dump_json()) for region in record.regions]
    assert get(served, "/api/runs/monday/images/part2.png/regions/2") == regions[1]
    assert get(served, "/api/runs/monday/images/part2.png")["regions"] == regions
    said = get(served, "/api/runs/monday/images/part2.png/regions/99", 404)["detail"]
    assert said == "image `part2.png` has no region 99"


@pytest.mark.parametrize("sort", ["worst", "image", "inspected", "severity", "regions", "milliseconds"])
def test_pages_in_any_order_are_the_whole_list(served: Service, sort: str) -> None:
    """A list is filtered and sorted by the slowest way there is, from the single images."""
    images = [
        get(served, f"/api/runs/monday/images/{name}") for name in [*(f"part{n}.png" for n in range(4)), "torn.png"]
    ]
    verdicts = ["ERROR", "DAMAGED", "NG", "REVIEW", "OK"]

    def key(one: dict[str, Any]) -> Any:
        severity = float("inf") if one["severity"] is None else -one["severity"]
        by: dict[str, Any] = {
            "worst": (verdicts.index(one["verdict"]), severity), "severity": severity, "image": "",
            "inspected": one["inspected"], "regions": -one["n_regions"], "milliseconds": -one["milliseconds"],
        }  # fmt: skip
        return by[sort], one["image"]

    for reverse in (False, True):
        expected = [one["image"] for one in sorted(images, key=key, reverse=reverse)]
        found: list[str] = []
        for offset in range(0, 6, 2):
            page = get(served, f"/api/runs/monday/images?sort={sort}&reverse={reverse}&offset={offset}&limit=2")
            assert page["total"] == 5
            found += [one["image"] for one in page["images"]]
        assert found == expected


def test_filters(served: Service) -> None:
    ng = get(served, "/api/runs/monday/images?verdict=NG")
    assert {one["verdict"] for one in ng["images"]} == {"NG"} and ng["total"] == 2
    assert get(served, "/api/runs/monday/images?verdict=NG&verdict=ERROR")["total"] == 3
    assert [one["image"] for one in get(served, "/api/runs/monday/images?search=ART2")["images"]] == ["part2.png"]
    said = get(served, "/api/runs/monday/images?verdict=BAD&limit=0", 422)["detail"]
    assert said == (
        "`verdict.0` (=BAD): Input should be 'OK', 'REVIEW', 'NG', 'ERROR' or 'DAMAGED'; "
        "`limit` (=0): Input should be greater than or equal to 1"
    )


def test_a_run_is_seen_while_it_is_written(own: Service) -> None:
    """Records come and go, as of a watcher, and a new run begins."""
    run_dir = own.runs_dir / "monday"
    info = RunInfo.model_validate_json((run_dir / "run.json").read_text("utf-8"))
    write_run_info(run_dir, info.model_copy(update={"state": "running", "counts": {}}))
    record = read_record(record_path(run_dir, "part0.png"))
    assert record is not None
    for number in range(3):
        write_record(run_dir, f"new{number}.png", record.model_copy(update={"image": f"new{number}.png"}))
        assert get(own, "/api/runs/monday")["counts"]["images"] == 6 + number
    write_record(run_dir, "new0.png", record.model_copy(update={"image": "new0.png", "verdict": "NG"}))
    record_path(run_dir, "new1.png").unlink()
    counts = get(own, "/api/runs/monday")["counts"]
    assert counts["images"] == 7 and counts["NG"] == 3
    assert get(own, "/api/runs/monday/images/new1.png", 404)["detail"] == "run `monday` has no image `new1.png`"
    shutil.copytree(run_dir, own.runs_dir / "tuesday")
    assert {run["id"] for run in get(own, "/api/runs")} == {"monday", "tuesday"}
    shutil.rmtree(run_dir)
    assert {run["id"] for run in get(own, "/api/runs")} == {"tuesday"}


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b'{"image": 3}', "is not a record of this flawmap: `image`: Input should be a valid string"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"9" * 10_000, "is not JSON"),
        (b'{"image": NaN}', "is not JSON: NaN is no number"),
    ],
)
def test_a_damaged_record_is_shown_and_takes_nothing_else_down(own: Service, contents: bytes, reason: str) -> None:
    record_path(own.runs_dir / "monday", "part1.png").write_bytes(contents)
    listed = get(own, "/api/runs/monday/images")
    damaged = [one for one in listed["images"] if one["verdict"] == "DAMAGED"]
    assert listed["total"] == 5 and [one["id"] for one in damaged] == ["part1.png"]
    assert reason in damaged[0]["error"]
    assert reason in get(own, "/api/runs/monday/images/part1.png", 409)["detail"]
    assert get(own, "/api/runs/monday/images/part2.png")["verdict"] == "NG"


def test_a_damaged_run_json_is_shown_too(own: Service) -> None:
    (own.runs_dir / "monday" / "run.json").write_text("{}")
    (run,) = get(own, "/api/runs")
    assert (run["state"], run["counts"]["images"]) == ("damaged", 5)
    assert "run.json is not a record of this flawmap: `state`: Field required" in run["problem"]
    assert get(own, "/api/runs/monday/images")["total"] == 5


def test_what_lies_among_the_records_and_runs_disturbs_nothing(own: Service) -> None:
    records = own.runs_dir / "monday" / "regions"
    (records / "folder.json").mkdir()
    os.mkfifo(records / "pipe.json")  # opening it would wait for ever
    (records / ".0123456789abcdef.json").write_text("half")
    (records / "gone.json").symlink_to("nowhere")
    (own.runs_dir / "a file").write_text("")
    (own.runs_dir / "no run").mkdir()
    (own.runs_dir / "link").symlink_to(own.runs_dir / "monday")
    assert get(own, "/api/runs/monday/images")["total"] == 5
    assert [run["id"] for run in get(own, "/api/runs")] == ["monday", "link"]


NOT_UTF8 = os.fsdecode(b"r\xe9sum\xe9 \n<b>")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_names_that_are_no_utf8_are_shown_and_found(own: Service) -> None:
    run_dir = own.runs_dir / NOT_UTF8
    (own.runs_dir / "monday").rename(run_dir)
    record = read_record(record_path(run_dir, "part2.png"))
    assert record is not None
    odd = record.model_copy(update={"image": NOT_UTF8, "error": "\ud800", "part": NOT_UTF8, "camera": "\udfff"})
    write_record(run_dir, "odd", odd)
    (run_dir / "regions" / os.fsdecode(b"\xff.json")).write_bytes((run_dir / "regions" / "odd.json").read_bytes())
    (run,) = get(own, "/api/runs")
    assert run["id"] == "r\\xe9sum\\xe9 \n<b>"
    images = get(own, f"/api/runs/{quote(run['id'])}/images?sort=image")
    shown = {one["id"]: (one["image"], one["camera"]) for one in images["images"]}
    assert shown["odd"] == shown["\\xff"] == ("r\\xe9sum\\xe9 \n<b>", "\\udfff")
    for one in images["images"]:
        assert get(own, f"/api/runs/{quote(run['id'])}/images/{quote(one['id'])}")["id"] == one["id"]
    assert served_overlay(own, images) == 200


def served_overlay(own: Service, images: Any) -> int:
    address = next(one["overlay"] for one in images["images"] if one["overlay"])
    return own.client.get(address).status_code


def test_a_number_that_python_cannot_read_is_a_name_all_the_same(own: Service) -> None:
    record = read_record(record_path(own.runs_dir / "monday", "part2.png"))
    assert record is not None
    write_record(own.runs_dir / "monday", "any.png", record.model_copy(update={"image": "9" * 9000}))
    assert get(own, "/api/runs/monday/images?sort=image")["images"][0]["image"] == "9" * 9000


def test_a_browser_that_has_a_file_does_not_get_it_again(own: Service) -> None:
    address = get(own, "/api/runs/monday/images/part2.png")["overlay"]
    first = own.client.get(address)
    assert first.headers["cache-control"] == "private, no-cache"
    again = own.client.get(address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    (own.runs_dir / "monday" / "overlays" / "part2.png.jpg").write_bytes(b"another")
    assert own.client.get(address, headers={"If-None-Match": first.headers["etag"]}).content == b"another"


TEXT = st.text(st.characters(exclude_categories=()), max_size=30)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(image=TEXT, error=TEXT, zone=TEXT)
def test_any_text_of_a_record_can_be_answered(own: Service, image: str, error: str, zone: str) -> None:
    run_dir = own.runs_dir / "monday"
    record = read_record(record_path(run_dir, "part2.png"))
    assert record is not None
    record.regions[0].zone = zone
    write_record(run_dir, "any.png", record.model_copy(update={"image": image, "error": error, "overlay": image}))
    assert get(own, "/api/runs/monday/images/any.png")["regions"]
    assert get(own, "/api/runs/monday/images")["total"] == 6


# -- files ---------------------------------------------------------------------------------------------------


def test_files_of_a_run_are_given_as_what_they_are(served: Service, made: Path) -> None:
    run_dir = made / "runs" / "monday"
    kinds = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".json": "application/json",
             ".csv": "text/csv; charset=utf-8", ".png": "image/png", ".jpg": "image/jpeg",
             ".txt": "text/plain; charset=utf-8"}  # fmt: skip
    n_given = 0
    for file in run_dir.rglob("*"):
        path = file.relative_to(run_dir).as_posix()
        answer = served.client.get(f"/api/runs/monday/files/{quote(path)}")
        if file.is_dir() or file.name.startswith("."):
            assert answer.status_code == 404
            continue
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"] == kinds[file.suffix]
        assert answer.headers["x-content-type-options"] == "nosniff"
        n_given += 1
    assert n_given > 15


@pytest.fixture(scope="module")
def trapped(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything around it and in it that must not be had."""
    folder = tmp_path_factory.mktemp("trapped")
    run_dir = folder / "runs" / "monday"
    shutil.copytree(made / "runs" / "monday", run_dir)
    for secret in (folder / "secret.json", run_dir / "secret.json", run_dir / "overlays" / ".secret.png",
                   run_dir / "overlays" / "secret.py", run_dir / "received.png"):  # fmt: skip
        secret.write_text("secret")
    (run_dir / "received").mkdir()
    (run_dir / "received" / "a.png").write_text("secret")
    (run_dir / "overlays" / "link.png").symlink_to(folder / "secret.json")
    (run_dir / "overlays" / "up").symlink_to(folder)
    (run_dir / "overlays" / "loop.png").symlink_to("loop.png")
    os.mkfifo(run_dir / "overlays" / "pipe.png")
    return run_dir


PIECES = st.sampled_from(
    ["..", ".", "", "overlays", "regions", "page", "run.json", "secret.json", "link.png", "up", "loop.png", "pipe.png",
     ".secret.png", "received", "a.png", "\0", "C:", "\\..\\secret.json", "x" * 300, ".flawmap.lock", "secret.py",
     "index.html", "drift", "drift.json", "etc", "passwd"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=6))
@settings(max_examples=300)
def test_no_path_leads_out_of_the_run(trapped: Path, pieces: list[str]) -> None:
    path = "/".join(pieces)
    found = run_file(trapped, path)
    if found is not None:
        assert found.path.is_relative_to(trapped.resolve())
        assert found.path.read_bytes() != b"secret"


def test_nor_over_http(served: Service) -> None:
    for path in ("../../../etc/passwd", "%2e%2e/%2e%2e/etc/passwd", "..%2f..%2fimages/part0.png", "/etc/passwd",
                 "%00", "overlays/%00.png", "overlays/%ff.png", "overlays", "", "C:/x.png"):  # fmt: skip
        answer = served.client.get(f"/api/runs/monday/files/{path}")
        assert answer.status_code in (404, 405), path
