"""The history that `flawmap serve` shows: every run in a folder, live, and nothing beside them."""

from pathlib import Path

import pytest

from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.serve_app import create_app
from flawmap.inspect.service.access import Keys
from flawmap.inspect.service.history import History
from flawmap.tiling.images import write_image
from tests.asgi_client import TestClient, client_of
from tests.bundles import good_image, make_bundle


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    bundle = make_bundle(folder / "toy").folder
    (folder / "images").mkdir()
    for number in range(4):
        write_image(folder / "images" / f"part{number}.png", good_image(60, 90, seed=number, defects=number % 3))
    (folder / "images" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    inspect_folder([folder / "images"], bundle, folder / "runs" / "monday")
    return folder / "runs"


@pytest.fixture
def client(runs_dir: Path) -> TestClient:
    return client_of(create_app(History(runs_dir), Keys(None), {}))


def test_a_run_is_listed_with_its_counts(client: TestClient, runs_dir: Path) -> None:
    (run,) = client.get("/api/runs").json()
    assert run == client.get("/api/runs/monday").json()
    assert run["counts"]["images"] == 5 and run["counts"]["ERROR"] == 1
    assert client.get(run["report"]).text == (runs_dir / "monday" / "index.html").read_text("utf-8")
