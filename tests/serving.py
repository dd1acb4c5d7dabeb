"""`flawmap serve` for the tests: its application in this process, or the installed command with real sockets."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from flawmap.inspect.serve.runs import ServeSettings
from flawmap.inspect.serve.service import service
from flawmap.inspect.service.access import Keys
from tests.asgi_client import TestClient, client_of
from tests.command_line import FLAWMAP


@dataclass
class Service:
    """A service in this process, and a client that asks it as localhost."""

    app: FastAPI
    client: TestClient
    runs_dir: Path

    def send(self, file: Path, name: str | None = None) -> httpx.Response:
        with file.open("rb") as stream:
            return self.client.post("/api/inspect", files={"image": (name or file.name, stream)})

    def ask(self, path: Any) -> httpx.Response:
        return self.client.post("/api/inspect", json={"path": path})


@contextmanager
def in_process(
    runs_dir: Path,
    bundle: Path,
    token: str | None = None,
    today: Callable[[], date] = date.today,
    **settings: Any,
) -> Iterator[Service]:
    runs_dir.mkdir(parents=True, exist_ok=True)
    with service(runs_dir, bundle, ServeSettings(**settings), Keys(token), today=today) as (app, _):
        yield Service(app, client_of(app), runs_dir)


class Served:
    """`flawmap serve` as a process, once it listens at a port of its own."""

    def __init__(self, runs_dir: Path, bundle: Path, *options: str, **environment: str) -> None:
        runs_dir.mkdir(parents=True, exist_ok=True)
        command = [str(FLAWMAP), "serve", str(runs_dir), "-m", str(bundle), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        said = self.process.stdout.readline()
        address = re.search(r"is served at (http://\S+)", said)
        assert address is not None, said + self.process.stderr.read()
        self.address, self.told = address[1], ""

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """(exit code, what it said on stderr); `told` is what it said on stdout."""
        self.process.send_signal(number)
        self.told, said = self.process.communicate(timeout=60)
        return self.process.returncode, said
