"""A real Chromium for tests of pages, and a web server that serves a folder to it and nothing else."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flawmap.inspect.report import viewer_files

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
needs_viewer = pytest.mark.skipif(
    not (viewer_files.SOURCE / viewer_files.SCRIPT).is_file(), reason="OpenSeadragon is not here: make viewer"
)
# Without the networking flags it talks to its maker while it starts.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser of playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    """Writes no line for every request."""

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """`folder` on a port of this machine; its address, without a slash at the end."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def page_of(browser: Any, address: str, *, base: str | None = None, **options: Any) -> Iterator[Any]:
    """A page at `address`; when the block ends it must have complained about nothing and asked nobody else.

    Allowed are requests below the folder of `address`, or below `base`.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url}: {request.failure}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))  # an alert that a name put there
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    folder = (base or address.split("#")[0].rsplit("/", 1)[0]) + "/"
    assert [url for url in requests if not url.startswith((folder, "data:"))] == []
    # A browser drops what is no longer looked at.
    assert [one for one in complaints if "net::ERR_ABORTED" not in one] == []
    context.close()
