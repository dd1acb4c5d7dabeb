"""POST /api/inspect: what comes back, what is kept, and what is refused in which words."""

import json
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import tifffile

from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.report.page import write_page
from flawmap.inspect.run.record_files import read_record, read_run_info, record_path
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle, write_parts
from tests.command_line import wait_until
from tests.run_tables import table
from tests.serving import Service, in_process


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camera")
    write_parts(folder, height=70, width=90)
    return folder


@pytest.fixture
def served(bundle: Path, images: Path, tmp_path: Path) -> Iterator[Service]:
    with in_process(tmp_path / "runs", bundle, allow=(images,)) as service:
        yield service


def todays(served: Service) -> Path:
    (folder,) = served.runs_dir.glob("service-*")
    return folder


def test_an_image_that_is_sent_gets_what_a_run_says_of_it(
    served: Service, bundle: Path, images: Path, tmp_path: Path
) -> None:
    inspect_folder([images], bundle, tmp_path / "by_inspect")
    for file in sorted(images.iterdir()):
        answer = served.send(file)
        assert answer.status_code == 200
        record = read_record(record_path(tmp_path / "by_inspect", file.name))
        assert record is not None
        said = answer.json()
        assert (said["image"], said["verdict"], said["severity"]) == (file.name, record.verdict, record.severity)
        assert [region | {"picture": None} for region in said["regions"]] == [
            region.model_dump() | {"picture": None} for region in record.regions
        ]
        assert served.client.get(said["overlay"]).headers["content-type"] == "image/jpeg"
        again = served.client.get(f"/api/runs/{said['run']}/images/{said['id']}")
        assert again.json() == said
        assert (todays(served) / "received" / file.name).read_bytes() == file.read_bytes()


def test_by_its_path_it_gets_the_same(served: Service, images: Path) -> None:
    file = images / "part2.png"
    sent, relative, absolute = served.send(file).json(), served.ask("part2.png").json(), served.ask(str(file)).json()
    assert sent["regions"] and sent["verdict"] == relative["verdict"] == absolute["verdict"]
    assert [one["image"] for one in (sent, relative, absolute)] == ["part2.png", "part2-2.png", "part2-3.png"]
    assert (todays(served) / "received" / "part2-2.png").readlink() == file


def test_its_run_is_a_run_like_every_other_once_the_service_has_ended(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    with in_process(tmp_path / "runs", bundle, allow=(images,)) as served:
        for _ in range(2):
            served.send(images / "part1.png")
        served.ask("part2.png")
        served.send(images / "part0.png", "torn.png")
        (run,) = served.client.get("/api/runs").json()
        assert run["state"] == "running" and run["counts"]["images"] == 4
        run_dir = todays(served)
    info = read_run_info(run_dir)
    assert info is not None and info.state == "finished"
    names = ["part1.png", "part1-2.png", "part2.png", "torn.png"]
    assert [row["image"] for row in table(run_dir / "images.csv")] == names  # in the order in which they came
    assert write_page(run_dir).is_file()
    (labelled,) = convert(run_dir, Format.LABELME, tmp_path / "labelme").paths[:1]  # finds the pictures again
    assert Path(json.loads(labelled.read_text("utf-8"))["imagePath"]).name in names
    assert list(run_dir.parent.glob(".incoming-*/*.upload")) == []


def test_the_same_day_goes_on_in_the_same_folder_another_bundle_in_another(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        with in_process(tmp_path / "runs", bundle) as served:
            served.send(images / "part0.png")
    other = make_bundle(tmp_path / "other", tile_size=96).folder
    with in_process(tmp_path / "runs", other) as served:
        served.send(images / "part0.png")
        with in_process(tmp_path / "runs", bundle) as beside:  # two services, one folder of runs
            assert beside.send(images / "part0.png").json()["image"] == "part0-3.png"
            assert {run["id"][16:]: run["counts"]["images"] for run in beside.client.get("/api/runs").json()} == {
                "": 3,
                "-2": 1,
            }


def test_what_cannot_be_inspected_is_told_recorded_and_not_kept(served: Service, images: Path, tmp_path: Path) -> None:
    for name, contents, reason in (
        ("empty.png", b"", "empty file (0 bytes)"),
        ("text.png", b"<script>alert(1)</script>", "not an image (starts with b'<script>')"),
        ("torn.png", (images / "part0.png").read_bytes()[:500], "the file is cut off: the PNG end marker is missing"),
    ):
        (tmp_path / name).write_bytes(contents)
        answer = served.send(tmp_path / name)
        assert (answer.status_code, answer.json()["detail"]) == (422, f"{name}: {reason}")
        assert not (todays(served) / "received" / name).exists()
    write_image(tmp_path / "rgb.png", good_image(70, 90, channels=3))
    answer = served.send(tmp_path / "rgb.png")
    assert answer.status_code == 422
    assert "the image is RGB uint8, the bundle was trained on mono uint8" in answer.json()["detail"]
    (run,) = served.client.get("/api/runs").json()
    assert run["counts"]["ERROR"] == 4


# -- sizes ---------------------------------------------------------------------------------------------------


def png_of_zeros(width: int, height: int) -> bytes:
    """A mono PNG, all black, written row by row: a few kB for any number of megapixels."""
    packer, rows = zlib.compressobj(9), b""
    for _ in range(height):
        rows += packer.compress(bytes(width + 1))
    rows += packer.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", rows), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_small_file_that_unpacks_to_much_is_refused_by_its_header(bundle: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of_zeros(3000, 2000))
    assert bomb.stat().st_size < 10_000
    with in_process(tmp_path / "runs", bundle, image_limit_mp=5) as served:
        answer = served.send(bomb)
        assert answer.status_code == 422
        assert answer.json()["detail"] == (
            "bomb.png: 3000x2000 px are more than the 5 megapixels that `--image-limit-mp` allows"
        )
        assert "decode" not in read_record(record_path(todays(served), "bomb.png")).milliseconds  # type: ignore[union-attr]
        # As many channels of float64 as a TIFF can have, in few megapixels.
        tifffile.imwrite(
            tmp_path / "deep.tif",
            np.zeros((400, 400, 60)),
            photometric="minisblack",
            planarconfig="contig",
            compression="zlib",
        )
        answer = served.send(tmp_path / "deep.tif")
        assert answer.json()["detail"] == ("deep.tif: 480 bytes a pixel once it is decoded; at most 16 are read here")


def test_the_limit_of_an_upload_is_the_images_alone(bundle: Path, images: Path, tmp_path: Path) -> None:
    with in_process(tmp_path / "runs", bundle, upload_limit_mb=1) as served:
        (tmp_path / "just.png").write_bytes(bytes(10**6))
        (tmp_path / "over.png").write_bytes(bytes(10**6 + 1))
        assert served.send(tmp_path / "just.png").status_code == 422  # it is no PNG
        answer = served.send(tmp_path / "over.png")
        assert (answer.status_code, answer.json()["detail"]) == (
            413, "the image is larger than 1 MB, which `--upload-limit-mb` allows",
        )  # fmt: skip

        def endless() -> Iterator[bytes]:  # no Content-Length: counted as it comes
            yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
            for _ in range(40):
                yield bytes(10**5)

        answer = served.client.post(
            "/api/inspect", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=x"}
        )
        assert answer.status_code == 413
        assert list(served.runs_dir.glob(".incoming-*/*.upload")) == []
        # Nor does a body that declares too much have to come.
        answer = served.client.post(
            "/api/inspect",
            content=b"",
            headers={"Content-Type": "multipart/form-data; boundary=x", "Content-Length": "9999999"},
        )
        assert answer.status_code == 413
        assert served.send(images / "part0.png").status_code == 200


def test_a_full_disk_is_said_before_anything_is_received(bundle: Path, images: Path, tmp_path: Path) -> None:
    """Twice the limit of an upload is kept free: of a limit as large as what is left, there is too little."""
    left = shutil.disk_usage(tmp_path).free // 10**6
    with in_process(tmp_path / "runs", bundle, upload_limit_mb=left) as served:
        answer = served.send(images / "part0.png")
        assert answer.status_code == 507
        assert re.fullmatch(
            rf"the disk of the runs has [0-9]+ MB left, and {2 * left} MB are kept free: make room",
            answer.json()["detail"],
        )
        ready = served.client.get("/ready")
        assert ready.status_code == 503 and "make room" in ready.json()["checks"]["disk"]


# -- names and paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../../etc/passwd.png", "must be a file's name, without a folder"),
        ("/etc/passwd.png", "must be a file's name, without a folder"),
        ("a\\b.png", "must be a file's name, without a folder"),
        ("a\x00.png", "holds the character U+0000, which no name may hold"),
        ("a\n.png", "holds the character U+000A, which no name may hold"),
        ("a\u202egnp.png", "holds the character U+202E, which no name may hold"),
        (".hidden.png", "begins with a dot"),
        (".png", "begins with a dot"),
        ("passwd", "must end in one of .png, .bmp, .jpg, .jpeg, .tif, .tiff"),
        ("x" * 300 + ".png", "has 304 bytes; 200 are allowed"),
        (" ", "is empty"),
    ],
)
def test_a_name_that_no_image_has_is_refused(served: Service, images: Path, name: str, fault: str) -> None:
    contents = (images / "part0.png").read_bytes()
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="' + name.encode() + b'"\r\n\r\n'
    answer = served.client.post(
        "/api/inspect",
        content=head + contents + b"\r\n--x--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert answer.status_code == 400
    assert fault in answer.json()["detail"] or "cannot be read" in answer.json()["detail"]
    assert not list(served.runs_dir.glob("service-*"))


HOSTILE = [
    "<img src=x onerror=alert(1)>.png",
    "=cmd|' ,!A0.png",
    "'; DROP TABLE.png",
    "ü ß 检.png",
    "-rf.png",
]


def test_a_hostile_name_is_a_name_like_any_other(bundle: Path, images: Path, tmp_path: Path) -> None:
    with in_process(tmp_path / "runs", bundle) as served:
        for name in HOSTILE:
            said = served.send(images / "part1.png", name).json()
            assert said["image"] == name
            one = served.client.get(f"/api/runs/{said['run']}/images/{quote(said['id'], safe='')}")
            assert one.json() == said
            assert served.client.get(said["overlay"]).status_code == 200
        run_dir = todays(served)
    page = (run_dir / "index.html").read_text("utf-8")
    assert "<img src=x" not in page and "&lt;img src=x" in page


def test_pages_are_asked_for_by_their_number(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "paged", pages="pictures").folder
    stack = tmp_path / "camera" / "stack.tif"
    stack.parent.mkdir()
    with tifffile.TiffWriter(stack) as writer:
        for number in range(3):
            writer.write(good_image(70, 90, seed=number, defects=3 * number), photometric="minisblack")
    with in_process(tmp_path / "runs", bundle, allow=(stack.parent,)) as served:
        verdicts = [served.ask(f"stack.tif#{page}").json()["verdict"] for page in (1, 3)]
        assert verdicts == ["OK", "NG"]
        assert served.send(stack, "stack.tif#3").json()["image"] == "stack-2.tif#3"
        answer = served.ask("stack.tif")
        assert answer.status_code == 422
        assert "a TIFF with 3 pages: say which one, such as `#1` behind its name" in answer.json()["detail"]
        assert "no page 9: the TIFF has 3 pages" in served.ask("stack.tif#9").json()["detail"]


def test_bodies_that_are_none(served: Service) -> None:
    post = served.client.post
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for status, detail, answer in (
        (415, "`Content-Type` (=text/plain) must be multipart/form-data or application/json",
         post("/api/inspect", content=b"x", headers={"Content-Type": "text/plain"})),
        (415, "`Content-Type` (=) must be", post("/api/inspect")),
        (400, "the form has no boundary",
         post("/api/inspect", content=b"x", headers={"Content-Type": "multipart/form-data"})),
        (400, "the form cannot be read", post("/api/inspect", content=b"nothing", headers=form)),
        (400, "the form is cut off", post("/api/inspect", content=b"--x\r\n", headers=form)),
        (400, "the form has no part `image`", post("/api/inspect", content=b"--x--\r\n", headers=form)),
        (400, "the form's part `file` is not `image`", post("/api/inspect", files={"file": ("a.png", b"x")})),
        (400, "the form's part `image` is not `image`, a file with its name",
         post("/api/inspect", files={"image": (None, b"x")})),
        (400, "the form must have one part, `image`, and has another",
         post("/api/inspect", files=[("image", ("a.png", b"x")), ("image", ("b.png", b"x"))])),
        (400, "the body is not JSON", post("/api/inspect", content=b"{", headers={"Content-Type": "application/json"})),
        (400, "the body is not JSON",
         post("/api/inspect", content=b"[" * 10**5, headers={"Content-Type": "application/json"})),
        (400, "the body is not JSON",
         post("/api/inspect", content=b"\xff", headers={"Content-Type": "application/json"})),
        (422, "`path`: Field required", post("/api/inspect", json={})),
        (422, "`path`: Input should be a valid string", post("/api/inspect", json={"path": 3})),
        (422, "`more`: Extra inputs are not permitted", post("/api/inspect", json={"path": "a.png", "more": 1})),
        (413, "the body has more than 1048576 bytes", post("/api/inspect", json={"path": "x" * 2 * 10**6})),
    ):  # fmt: skip
        assert (answer.status_code, answer.json()["detail"][: len(detail)]) == (status, detail)
    assert served.client.get("/ready").json()["ready"]  # every place was given back


# -- the queue -----------------------------------------------------------------------------------------------


def test_who_finds_no_place_is_told_to_come_again_and_nobody_is_passed(
    bundle: Path, images: Path, tmp_path: Path
) -> None:
    """The worker is held up at asking for the day, so that all places are taken for sure."""
    turn = threading.Event()

    def today() -> date:
        turn.wait()
        return date.today()

    with in_process(tmp_path / "runs", bundle, queue=2, today=today) as served:
        with ThreadPoolExecutor(3) as clients:
            answers = []
            for number in range(3):
                answers.append(clients.submit(served.send, images / "part0.png", f"{number}.png"))
                wait_until(lambda n=number: f"queue_images {n + 1}.0" in served.client.get("/metrics").text)
            refused = served.send(images / "part0.png", "late.png")
            ready = served.client.get("/ready")
            turn.set()
        assert refused.status_code == 503 and refused.headers["retry-after"] == "5"
        assert refused.json()["detail"] == "3 images wait or are being received, more have no place: come again"
        assert ready.status_code == 503 and ready.json()["checks"]["queue"] == "all 3 places are taken"
        assert [answer.result().status_code for answer in answers] == [200, 200, 200]
        assert served.send(images / "part0.png", "late.png").status_code == 200
        listed = served.client.get(f"/api/runs/{todays(served).name}/images?sort=inspected").json()["images"]
        assert [one["image"] for one in listed] == ["0.png", "1.png", "2.png", "late.png"]
        text = served.client.get("/metrics").text
        assert 'flawmap_rejected_total{reason="no_place"} 1.0' in text
        assert 'flawmap_images_total{verdict="OK"} 4.0' in text
        assert "flawmap_queue_images 0.0" in text


def test_a_day_ends_at_midnight(bundle: Path, images: Path, tmp_path: Path) -> None:
    day = date(2026, 11, 26)
    with in_process(tmp_path / "runs", bundle, today=lambda: day) as served:
        for day in (date(2026, 11, 26), date(2026, 11, 26), date(2026, 11, 27)):  # noqa: B007
            served.send(images / "part0.png")
        states = {run["id"]: (run["state"], run["counts"]["images"]) for run in served.client.get("/api/runs").json()}
    assert states == {"service-20261126": ("finished", 2), "service-20261127": ("running", 1)}
    assert (tmp_path / "runs" / "service-20261127" / "index.html").is_file()


def test_nothing_that_was_sent_is_kept_where_that_is_asked(bundle: Path, images: Path, tmp_path: Path) -> None:
    with in_process(tmp_path / "runs", bundle, keep_uploads=False, zoom=False) as served:
        for name in ("part2.png", "part2-2.png"):
            assert served.send(images / "part2.png").json()["image"] == name
        assert list((todays(served) / "received").iterdir()) == []
        assert list((todays(served) / "zoom").iterdir()) == []


def test_the_page_of_the_api_names_every_route_and_loads_nothing(served: Service) -> None:
    page = served.client.get("/api")
    assert '<code>{"detail": ...}</code>' in page.text and "`" not in page.text.split("<h2>")[0]
    assert page.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    for path, methods in served.client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page.text
    assert re.findall(r'(?:src|href)="(.*?)"', page.text) == ["/openapi.json", "/review"]
    assert served.client.get("/docs").status_code == 404  # FastAPI's own would load scripts from the internet
    assert served.client.get("/").headers["location"] == "/review"
