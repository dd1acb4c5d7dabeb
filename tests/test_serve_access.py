"""Who may ask `flawmap serve`: token, cookie, Host and Origin; and bodies that are too large."""

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from flawmap.inspect.serve.runs import ServeSettings, read_token, serve_runs
from flawmap.inspect.service.access import LOGGED_IN, Keys, is_loopback
from flawmap.inspect.service.addresses import addresses
from flawmap.inspect.service.body_limit import OTHER_BODIES, BodyLimit
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.asgi_client import client_of
from tests.bundles import good_image, make_bundle
from tests.serving import Service, in_process

TOKEN = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_image(folder / "good.png", good_image(60, 70))
    return make_bundle(folder / "toy").folder


@pytest.fixture(scope="module")
def closed(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a token."""
    with in_process(tmp_path_factory.mktemp("closed") / "runs", bundle, TOKEN) as service:
        yield service


@pytest.fixture(scope="module")
def local(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without one."""
    with in_process(tmp_path_factory.mktemp("local") / "runs", bundle) as service:
        yield service


def test_every_route_but_health_asks_for_the_token(closed: Service) -> None:
    """Also those that somebody adds tomorrow."""
    asked = 0
    for path, methods in closed.app.openapi()["paths"].items():
        for method in methods:
            answer = closed.client.request(method, re.sub(r"\{\w+\}", "1", path))
            assert answer.status_code == (200 if path in ("/health", "/ready") else 401), path
            asked += 1
    assert asked >= 10
    for path in ("/", "/api", "/openapi.json", "/docs", "/nowhere"):
        assert closed.client.get(path).status_code == 401
    assert closed.client.get("/api/runs").headers["www-authenticate"] == "Bearer"
    assert "a token is needed" in closed.client.get("/api/runs").json()["detail"]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (f"Bearer {TOKEN}x", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Basic {TOKEN}", 401),
        (TOKEN, 401),
        ("Bearer ", 401),
        ("Bearer \xff", 401),
        ("", 401),
    ],
)
def test_the_token_opens(closed: Service, header: str, status: int) -> None:
    answer = closed.client.get("/api/runs", headers=[(b"authorization", header.encode("latin-1"))])
    assert answer.status_code == status


def test_a_browser_logs_in_once(closed: Service) -> None:
    browser = client_of(closed.app, "http://inspection.plant:8000")
    sent = browser.get("/api/runs/monday?x=1&y=2", headers={"Accept": "text/html,*/*"})
    assert sent.status_code == 303
    form = browser.get(sent.headers["location"])
    assert form.status_code == 200 and 'type="password"' in form.text
    action = re.search(r'action="([^"]+)"', form.text)
    assert action is not None
    wrong = browser.post(action[1], data={"token": "guess"})
    assert wrong.status_code == 401 and "That is not the token." in wrong.text and "set-cookie" not in wrong.headers
    right = browser.post(action[1], data={"token": TOKEN})
    assert right.status_code == 303 and right.headers["location"] == "/api/runs/monday?x=1&y=2"
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and TOKEN not in cookie
    assert "Secure" not in cookie
    assert browser.get("/api/runs").status_code == 200  # the client keeps it
    behind_tls = browser.post(action[1], data={"token": TOKEN}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in behind_tls.headers["set-cookie"]


@pytest.mark.parametrize(
    "where", ["//evil.com/x", "https://evil.com", "/\\evil.com", "javascript:alert(1)", "/\n/evil"]
)
def test_a_login_leads_to_this_service_only(closed: Service, where: str) -> None:
    answer = closed.client.post("/login", params={"next": where}, data={"token": TOKEN})
    assert answer.headers["location"] == "/"
    closed.client.cookies.clear()


def test_the_form_repeats_nothing_that_could_be_markup(closed: Service) -> None:
    page = closed.client.get("/login", params={"next": '/"><script>'}).text
    assert "<script" not in page and "<title>Log in – flawmap</title>" in page and "--token-file" in page


@given(st.text(max_size=80))
def test_no_cookie_can_be_made_without_the_token(cookie: str) -> None:
    assert not Keys(TOKEN).accepts_cookie(cookie)


def test_a_cookie_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    keys, now = Keys(TOKEN), time.time()
    cookie = keys.cookie()
    assert keys.accepts_cookie(cookie) and not Keys(TOKEN + "x").accepts_cookie(cookie)
    ends, _, signature = cookie.partition(".")
    assert not keys.accepts_cookie(f"{int(ends) + 9}.{signature}")
    monkeypatch.setattr(time, "time", lambda: now + LOGGED_IN + 1)
    assert not keys.accepts_cookie(cookie)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:8000", 200), ("127.0.0.1:8000", 200), ("127.8.8.8", 200), ("[::1]:8000", 200),
        ("evil.com", 403), ("evil.com:8000", 403), ("localhost.evil.com", 403), ("127.0.0.1.evil.com", 403),
        ("192.168.0.7", 403), ("", 403), ("[2001:db8::1]:80", 403),
    ],
)  # fmt: skip
def test_without_a_token_only_loopback_names_are_answered(local: Service, host: str, status: int) -> None:
    answer = local.client.get("/api/runs", headers={"Host": host})
    assert answer.status_code == status
    if status == 403:
        assert f"the name `{host}` is not loopback" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 415),  # a program
        ({"Origin": "http://localhost:8000", "Sec-Fetch-Site": "same-origin"}, 415),
        ({"Origin": "https://localhost:8000"}, 415),  # TLS ends in front of it
        ({"Origin": "http://localhost:9000"}, 403),
        ({"Origin": "http://evil.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[bad"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_no_other_page_changes_anything(local: Service, headers: dict[str, str], status: int) -> None:
    """415 is the answer to a body that is none: the request came through."""
    assert local.client.post("/api/inspect", headers=headers).status_code == status
    assert local.client.get("/api/runs", headers=headers).status_code == 200


def test_bodies_are_bounded_wherever_they_go() -> None:
    class Body(BaseModel):
        text: str

    app = FastAPI()
    app.add_middleware(BodyLimit)

    @app.post("/anything")
    def anything(body: Body) -> int:
        return len(body.text)

    client = client_of(app)
    assert client.post("/anything", json={"text": "x" * 1000}).json() == 1000
    large = b'{"text": "' + b"x" * OTHER_BODIES + b'"}'
    assert client.post("/anything", content=large, headers={"Content-Type": "application/json"}).status_code == 413
    pieces = (large[start : start + 10**5] for start in range(0, len(large), 10**5))  # without a Content-Length
    assert client.post("/anything", content=pieces, headers={"Content-Type": "application/json"}).status_code == 413


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "[::1]", "127.255.0.3", "Localhost."])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "plant.local", "localhost.example.com", "1"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


# -- where it can be reached ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("::1", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:8000"),
        ("10.1.2.3", "http://10.1.2.3:8000"),
        ("inspection.plant", "http://inspection.plant:8000"),
    ],
)
def test_one_address_is_shown_as_it_was_given(host: str, address: str) -> None:
    assert addresses(host, 8000) == [address]


@pytest.mark.parametrize(("host", "loopback"), [("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1"), ("::", "[::1]")])
def test_all_addresses_become_those_that_a_browser_takes(host: str, loopback: str) -> None:
    shown = addresses(host, 8000)
    assert f"http://{loopback}:8000 (on this machine)" in shown
    assert shown[-1] in (f"http://{socket.gethostname()}:8000 (where this name is known)", shown[0])
    plain = [one for one in shown if " " not in one]
    assert not any(is_loopback(urlsplit(one).hostname or "") for one in plain)
    for one in plain:  # each is one of this machine: something can listen there
        family = socket.AF_INET6 if "[" in one else socket.AF_INET
        socket.create_server((urlsplit(one).hostname, 0), family=family).close()
    assert not any("0.0.0.0" in one or "[::]" in one for one in shown)


# -- what is refused before anything listens -----------------------------------------------------------------


def test_another_address_needs_a_token(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLAWMAP_TOKEN", raising=False)
    with pytest.raises(UsageError, match=r"`--host` \(=0\.0\.0\.0\) is not loopback: others than this machine need a"):
        serve_runs(tmp_path / "runs", bundle, ServeSettings(host="0.0.0.0"))
    assert not (tmp_path / "runs").exists()


def test_tokens_from_a_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLAWMAP_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("FLAWMAP_TOKEN", f" {TOKEN}\n")
    assert read_token(None) == TOKEN
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}-of-the-file\n")
    assert read_token(file) == f"{TOKEN}-of-the-file"
    for bad in ("", "short", "with blanks in its middle", "ümlaute-in-a-token", "\x00" * 20):
        file.write_text(bad, encoding="utf-8")
        with pytest.raises(UsageError, match=r"`--token-file` \(=.*token\) must hold a token of 16 characters or more"):
            read_token(file)
    file.write_bytes(b"\xff" * 20)
    with pytest.raises(UsageError, match="must hold a token of 16 characters or more, ASCII without blanks"):
        read_token(file)
    with pytest.raises(UsageError, match=r"`--token-file` \(=.*\) cannot be read: No such file"):
        read_token(tmp_path / "none")
    monkeypatch.setenv("FLAWMAP_TOKEN", "short")
    with pytest.raises(UsageError, match=r"`FLAWMAP_TOKEN` must hold a token of 16"):
        read_token(None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"upload_limit_mb": 0}, r"`--upload-limit-mb` \(=0\) must be from 1 to 1000000"),
        ({"image_limit_mp": 2000}, r"`--image-limit-mp` \(=2000\) must be from 1 to 1073"),
        ({"port": 70000}, r"`--port` \(=70000\) must be from 0 to 65535"),
        ({"queue": 0}, r"`--queue` \(=0\) must be from 1 to 1000"),
        ({"allow": (Path("no/such/folder"),)}, r"`--allow` \(=no/such/folder\) is not a folder"),
    ],
)
def test_options_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ServeSettings(**settings)  # type: ignore[arg-type]


def test_folders_and_models_that_cannot_be_served(bundle: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "run.json").write_text("{}")
    with pytest.raises(UsageError, match=r"`RUNS_DIR` \(=.*run\) is a run itself: give the folder that holds it \(/"):
        serve_runs(run_dir, bundle, ServeSettings())
    files = sorted(bundle.rglob("*"))
    with pytest.raises(UsageError, match=r"`RUNS_DIR` \(=.*\) is a bundle: give the folder that holds the runs"):
        serve_runs(bundle, bundle, ServeSettings())
    assert sorted(bundle.rglob("*")) == files  # no database of marks in it
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"`RUNS_DIR` \(=.*file\) is not a folder"):
        serve_runs(tmp_path / "file", bundle, ServeSettings())
    missing = tmp_path / "no such" / "folder"
    said = rf"`RUNS_DIR` \(={missing}\) does not exist: .* make it for those to come \(`mkdir -p '{missing}'`\)"
    with pytest.raises(UsageError, match=said):
        serve_runs(missing, bundle, ServeSettings())
    assert not missing.parent.exists()  # a name that was mistyped
    (tmp_path / "runs").mkdir()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("models: []\n")
    with pytest.raises(UsageError, match=r"is a recipe: `flawmap serve` inspects with one bundle"):
        serve_runs(tmp_path / "runs", recipe, ServeSettings())
    with pytest.raises(UsageError, match=r"`bundle` \(=.*missing\) is not there"):
        serve_runs(tmp_path / "runs", tmp_path / "missing", ServeSettings())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"and `--port` \(={port}\) cannot be listened at: .*in use"):
            serve_runs(tmp_path / "runs", bundle, ServeSettings(port=port))
