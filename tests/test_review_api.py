"""The review over HTTP: marks, looks, what is refused, and what follows when a run is done again."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from flawmap.export.bundle import read_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.review.mark_store import open_marks
from flawmap.inspect.serve.app import create_app
from flawmap.inspect.serve.review import review_router
from flawmap.inspect.service.access import Keys
from flawmap.inspect.service.history import History
from flawmap.tiling.images import write_image
from tests.asgi_client import TestClient, client_of
from tests.bundles import good_image, make_bundle
from tests.written_runs import HOSTILE, image_record, region, run_info, write_run

DOTS = [(20, 30), (60, 110)]  # (y, x)


def dotted(seed: int, dots: list[tuple[int, int]]) -> Any:
    image = good_image(100, 150, seed=seed)
    for y, x in dots:
        image[y : y + 2, x : x + 2] = 255
    return image


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    write_image(images / "bad.png", dotted(1, DOTS))
    write_image(images / "good.png", dotted(2, []))
    (images / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    inspect_folder([images], make_bundle(tmp_path / "toy").folder, tmp_path / "runs" / "monday", zoom=False)
    return tmp_path / "runs"


@pytest.fixture
def client(runs_dir: Path) -> TestClient:
    return client_at(runs_dir)


def client_at(runs_dir: Path) -> TestClient:
    history = History(runs_dir)
    app = create_app(history, Keys(None), {})
    app.include_router(review_router(history, open_marks(runs_dir), runs_dir.parent / "toy", "auto"))
    return client_of(app)


REVIEW = "/api/runs/monday/review"


def ask(client: TestClient, path: str = "", **query: Any) -> Any:
    answer = client.get(REVIEW + path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def mark(client: TestClient, image: str, says: str | None, **where: Any) -> Any:
    return client.post(f"{REVIEW}/images/{image}/marks", json={"mark": says, **where})


def look(client: TestClient, image: str, complete: bool = True) -> Any:
    return client.post(f"{REVIEW}/images/{image}/look", json={"complete": complete, "reviewer": "Ann"})


def test_a_review_from_the_first_mark_to_the_figures(client: TestClient, runs_dir: Path) -> None:
    before = ask(client)
    assert [(one["id"], one["unmarked"]) for one in before["images"]] == [
        ("bad.png", 2),
        ("good.png", 0),
        ("torn.png", 0),
    ]
    done = mark(client, "bad.png", "defect", region=1, reviewer=" Ann ", note="a dot")
    assert done.status_code == 201 and done.json()["reviewer"] == "Ann" and not done.json()["drawn"]
    assert mark(client, "bad.png", "false_alarm", region=2).status_code == 201
    box = {"x_min": 5, "y_min": 80, "x_max": 12, "y_max": 90}
    assert mark(client, "good.png", "defect", box=box).json()["drawn"]
    assert look(client, "bad.png").status_code == look(client, "good.png").status_code == 201
    (answer,) = ask(client, "/figures")
    figures = answer["figures"]
    assert (figures["recall"]["count"], figures["recall"]["of"]) == (1, 2)  # the drawn one left no region
    assert (figures["recall_of_recorded"]["count"], figures["recall_of_recorded"]["of"]) == (1, 1)
    assert figures["counts"]["good"] == 0 and figures["counts"]["complete"] == 2
    assert "left no region and no candidate" in answer["proposals"][0]["note"]
    detail = ask(client, "/images/good.png")
    assert detail["drawn"][0]["box"] == box and detail["complete"] and detail["regions"] == []
    assert [one["mark"]["mark"] for one in ask(client, "/images/bad.png")["regions"]] == ["defect", "false_alarm"]
    again = client_at(runs_dir)  # a restart
    assert ask(again, "/marks") == ask(client, "/marks") and len(ask(again, "/marks")) == 3


def test_a_mark_can_be_changed_and_taken_back(client: TestClient) -> None:
    for says in ("defect", "unsure", None):
        assert mark(client, "bad.png", says, region=1).status_code == 201
    assert [one["mark"] for one in ask(client, "/history", image="bad.png")] == ["defect", "unsure", None]
    assert ask(client, "/marks") == [] and ask(client)["images"][0]["unmarked"] == 2
    refused = mark(client, "bad.png", None, region=1)
    assert refused.status_code == 404 and refused.json()["detail"] == "image `bad.png` has no mark there to take back"


def test_what_a_region_is_not_is_refused(client: TestClient) -> None:
    inside = {"x_min": 0, "y_min": 0, "x_max": 150, "y_max": 100}
    cases: list[tuple[str, dict[str, Any], int, str]] = [
        ("bad.png", {"region": 9}, 404, "image `bad.png` has no region 9"),
        ("gone.png", {"region": 1}, 404, "run `monday` has no image `gone.png`"),
        ("torn.png", {"box": inside}, 409, "image `torn.png` could not be inspected: there is nothing to mark"),
        ("bad.png", {"region": 1, "box": inside}, 409, "region 1 of image `bad.png` is not where it was"),
        ("bad.png", {}, 409, "`region` or `box` must say what is marked"),
        ("bad.png", {"box": inside | {"x_max": 151}}, 409, "`box` (=x 0 to 151, y 0 to 100) must be a box inside"),
        ("bad.png", {"box": inside | {"x_max": 0}}, 409, "must be a box inside the picture of 150 x 100 px"),
        ("bad.png", {"box": inside | {"x_max": 2**31}}, 422, "body"),
        ("bad.png", {"region": 1, "note": "two\nlines"}, 422, "must be one line"),
        ("bad.png", {"region": 1, "note": "x" * 1001}, 422, "at most 1000"),
    ]
    for image, where, status, says in cases:
        answer = mark(client, image, "defect", **where)
        assert answer.status_code == status, answer.text
        assert says in answer.json()["detail"] or status == 422
    lone = client.post(
        f"{REVIEW}/images/bad.png/marks",
        content=b'{"mark": "defect", "region": 1, "note": "\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert lone.status_code == 422
    assert client.get("/api/runs/none/review").status_code == 404
    assert look(client, "torn.png").status_code == 409
    assert ask(client, "/marks") == []


def test_nothing_new_is_said_in_few_words(client: TestClient) -> None:
    version = client.get(REVIEW).headers["ETag"]
    assert client.get(REVIEW, headers={"If-None-Match": version}).status_code == 304
    mark(client, "bad.png", "defect", region=1)
    changed = client.get(REVIEW, headers={"If-None-Match": version})
    assert changed.status_code == 200 and changed.headers["ETag"] != version


def test_marks_follow_the_pictures_when_a_run_is_done_again(client: TestClient, runs_dir: Path) -> None:
    """The same pictures: every mark holds. Another picture of the same name is another part."""
    for number in (1, 2):
        mark(client, "bad.png", "defect", region=number)
    look(client, "bad.png")
    images, bundle = runs_dir.parent / "images", runs_dir.parent / "toy"
    inspect_folder([images], bundle, runs_dir / "monday", fresh=True, zoom=False)
    assert ask(client)["images"][0]["defects"] == 2 and ask(client)["images"][0]["complete"]
    write_image(images / "bad.png", dotted(5, DOTS[:1]))
    inspect_folder([images], bundle, runs_dir / "monday", zoom=False)
    image = ask(client)["images"][0]
    assert (image["stale"], image["defects"], image["looked_at"], image["unmarked"]) == (2, 0, False, 1)
    assert {one["stale"] for one in ask(client, "/marks")} == {"the picture was replaced since"}
    stale = ask(client, "/images/bad.png")["stale_marks"][1]["box"]
    assert mark(client, "bad.png", None, box=stale).status_code == 201
    assert ask(client)["images"][0]["stale"] == 1
    (images / "bad.png").unlink()
    inspect_folder([images], bundle, runs_dir / "monday", zoom=False)
    assert {one["stale"] for one in ask(client, "/marks")} == {"the run has no such image any more"}


def test_hostile_names_are_marked_as_any_other(tmp_path: Path) -> None:
    spots = [region((10, 10, 20, 30), defect_class='<b>"stain"')]
    records = [image_record(name, verdict="NG", severity=1.5, regions=spots) for name in HOSTILE]
    write_run(tmp_path / "monday", records, run_info())
    client = client_at(tmp_path)
    for image in ask(client)["images"]:
        assert mark(client, image["id"], "defect", region=1).status_code == 201
        assert ask(client, f"/images/{image['id']}")["regions"][0]["mark"]["mark"] == "defect"
    assert len(ask(client, "/marks")) == len(HOSTILE)
    json.dumps(ask(client)).encode()  # no lone surrogate in it
    page = client.get("/review/monday")
    assert "script-src 'self';" in page.headers["Content-Security-Policy"] and "evil" not in page.text


def test_records_that_cannot_be_read_stop_nothing(client: TestClient, runs_dir: Path) -> None:
    (runs_dir / "monday" / "regions" / "good.png.json").write_text("{")
    assert [one["id"] for one in ask(client)["images"]] == ["bad.png", "torn.png"]
    assert "1 record cannot be read, and counts nowhere" in ask(client, "/figures")[0]["figures"]["notes"]
    (runs_dir / "monday" / "run.json").write_text("{}")
    assert client.get(REVIEW).status_code == 409


def test_marks_are_put_to_use(client: TestClient, runs_dir: Path) -> None:
    assert client.post(f"{REVIEW}/exports", json={"to": "masks"}).status_code == 409  # nothing was looked at
    assert client.post(f"{REVIEW}/calibrations", json={}).status_code == 409
    mark(client, "bad.png", "defect", region=1)
    mark(client, "bad.png", "defect", region=2)
    look(client, "bad.png")
    look(client, "good.png")
    assert [len(ask(client, "/coco")[what]) for what in ("images", "annotations")] == [2, 2]
    for to, files in (("coco", 1), ("masks", 3), ("tiles", 2)):
        answer = client.post(f"{REVIEW}/exports", json={"to": to}).json()
        assert answer["files"] == files, answer
        place = Path(answer["path"])
        assert place.parent == runs_dir / "review" and place.name.startswith(f"monday-{to}-") and place.exists()
    begun = client.post(f"{REVIEW}/calibrations", json={"false_alarms": 0.5})
    assert begun.status_code == 202 and begun.json()["state"] == "running"
    for _ in range(300):
        state = ask(client, "/calibrations")
        if state["state"] != "running":
            break
        time.sleep(0.1)
    assert (state["state"], state["done"], state["of"]) == ("done", 1, 1), state
    calibration = read_bundle(Path(state["path"])).info.calibration
    assert calibration is not None and (calibration.n_images, calibration.false_alarms) == (1, 0.5)
    assert [run["id"] for run in client.get("/api/runs").json()] == ["monday"]  # what was written is no run


def test_a_calibration_that_fails_says_why(client: TestClient, runs_dir: Path) -> None:
    look(client, "good.png")
    (runs_dir.parent / "images" / "good.png").unlink()
    assert client.post(f"{REVIEW}/calibrations", json={}).status_code == 202
    for _ in range(300):
        state = ask(client, "/calibrations")
        if state["state"] != "running":
            break
        time.sleep(0.1)
    assert state["state"] == "failed" and "is still there: there is nothing to calibrate on" in state["problem"]
