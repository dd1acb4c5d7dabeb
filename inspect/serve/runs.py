"""Serves a folder of runs until it is told to stop: what `flawmap serve` does once its options are read."""

import os
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flawmap.inspect.console import printable
from flawmap.inspect.run.layout import RUN_INFO
from flawmap.tiling.errors import UsageError

if TYPE_CHECKING:
    from flawmap.inspect.run.records import ImageRecord

TOKEN = "FLAWMAP_TOKEN"  # on the command line everybody on the machine could read it
SHORTEST_TOKEN = 16  # characters
NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "python_multipart", "prometheus_client")  # of the extra `serve`


@dataclass(frozen=True)
class ServeSettings:
    """The options of `flawmap serve`."""

    host: str = "127.0.0.1"
    port: int = 8000
    token_file: Path | None = None
    allow: tuple[Path, ...] = ()  # folders whose images may be asked for by path
    upload_limit_mb: int = 256
    image_limit_mp: int = 150  # megapixels
    queue: int = 16  # images that may wait
    device: str = "auto"
    false_alarms: float | None = None
    keep_uploads: bool = True
    zoom: bool = True
    database: str | None = None

    def __post_init__(self) -> None:
        """UsageError for a value out of range."""
        if not 0 <= self.port <= 65535:
            raise UsageError(f"`--port` (={self.port}) must be from 0 to 65535")
        if not 1 <= self.upload_limit_mb <= 1_000_000:
            raise UsageError(f"`--upload-limit-mb` (={self.upload_limit_mb}) must be from 1 to 1000000")
        if not 1 <= self.queue <= 1000:
            raise UsageError(f"`--queue` (={self.queue}) must be from 1 to 1000")
        if not 1 <= self.image_limit_mp <= 1073:
            raise UsageError(f"`--image-limit-mp` (={self.image_limit_mp}) must be from 1 to 1073")
        for root in self.allow:
            if not root.is_dir():
                raise UsageError(f"`--allow` (={root}) is not a folder")


def serve_runs(runs_dir: Path, model: Path, settings: ServeSettings) -> None:
    """Returns when SIGTERM or Ctrl-C has stopped it. Raises UsageError and DeviceError before it listens."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise UsageError(f"`flawmap serve` needs {', '.join(missing)}: pip install 'flawmap[serve]'")
    from flawmap.export.bundle import INFO
    from flawmap.inspect.machine import give_back_large_blocks
    from flawmap.inspect.serve.server import listen
    from flawmap.inspect.serve.service import service
    from flawmap.inspect.service.access import Keys, is_loopback

    keys = Keys(read_token(settings.token_file))
    if keys.token is None and not is_loopback(settings.host):
        raise UsageError(
            f"`--host` (={settings.host}) is not loopback: others than this machine need a token "
            f"(`--token-file`, or {TOKEN} in the environment)"
        )
    if (runs_dir / RUN_INFO).exists():
        raise UsageError(f"`RUNS_DIR` (={runs_dir}) is a run itself: give the folder that holds it")
    if (runs_dir / INFO).exists():
        raise UsageError(f"`RUNS_DIR` (={runs_dir}) is a bundle: give the folder that holds the runs")
    give_back_large_blocks()
    with service(runs_dir, model, settings, keys, tell=_tell) as (app, stop):

        def opened(address: str) -> None:
            print(f"{printable(str(runs_dir))} is served at {address}", flush=True)

        listen(app, settings.host, settings.port, opened, stop)


def _tell(record: "ImageRecord") -> None:
    """A line an image, as a watcher's."""
    from flawmap.inspect.shown_severity import shown_severity

    rest = f": {record.error}" if record.error else f", severity {shown_severity(record.severity)}"
    now = datetime.now().isoformat(sep=" ", timespec="seconds")
    print(f"{now} {printable(f'{record.image}: {record.verdict}{rest}')}", flush=True)


def read_token(file: Path | None) -> str | None:
    """The token that `file` or the environment holds; None where neither says one. UsageError for one that is none."""
    if file is None:
        name, token = f"`{TOKEN}`", os.environ.get(TOKEN, "").strip()
        if not token:
            return None
    else:
        name, token = f"`--token-file` (={file})", _text_of(file)
    if len(token) < SHORTEST_TOKEN or not all("!" <= character <= "~" for character in token):
        raise UsageError(
            f"{name} must hold a token of {SHORTEST_TOKEN} characters or more, ASCII without blanks, "
            "such as `openssl rand -hex 32` makes"
        )
    return token


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except OSError as error:
        raise UsageError(f"`--token-file` (={file}) cannot be read: {error.strerror}") from error
    except UnicodeError:
        return ""  # no token
