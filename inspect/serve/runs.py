"""Serves a folder of runs until it is told to stop: what `flawmap serve` does once its options are read."""

import os
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from flawmap.inspect.console import printable
from flawmap.inspect.run.layout import RUN_INFO
from flawmap.tiling.errors import UsageError

if TYPE_CHECKING:
    from flawmap.inspect.run.records import ImageRecord

TOKEN = "FLAWMAP_TOKEN"  # on the command line everybody on the machine could read it
SHORTEST_TOKEN = 16  # characters
HOW = "browsers once a shift, programs send `Authorization: Bearer TOKEN`"
NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "python_multipart", "prometheus_client", "psutil")  # of the extra `serve`


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
    from flawmap.inspect.machine import give_back_large_blocks
    from flawmap.inspect.serve.server import listen
    from flawmap.inspect.serve.service import service
    from flawmap.inspect.service.access import Keys, is_loopback
    from flawmap.inspect.service.addresses import addresses

    keys = Keys(read_token(settings.token_file))
    if keys.token is None and not is_loopback(settings.host):
        raise UsageError(
            f"`--host` (={settings.host}) is not loopback: others than this machine need a token "
            f"(`--token-file`, or {TOKEN} in the environment)"
        )
    _check_runs_dir(runs_dir)
    give_back_large_blocks()
    with service(runs_dir, model, settings, keys, tell=_tell) as (app, stop):

        def opened(port: int) -> None:
            first, *others = addresses(settings.host, port)
            print(f"{printable(str(runs_dir))} is served at {first}", flush=True)
            if others:
                print(f"also at {', '.join(others)}", flush=True)
            if keys.token is not None:
                print(f"it asks for the token in {_token_place(settings.token_file)}: {HOW}", flush=True)

        listen(app, settings.host, settings.port, opened, stop)


def _check_runs_dir(runs_dir: Path) -> None:
    """UsageError where `runs_dir` is no folder that can hold runs. It is not made here: a name with a slip of the pen
    would be served, empty, and nobody would see why.
    """
    from flawmap.export.bundle import INFO

    if not runs_dir.exists():
        raise UsageError(
            f"`RUNS_DIR` (={runs_dir}) does not exist: give the folder that holds the runs, or make it for those to "
            f"come (`mkdir -p {quote(str(runs_dir))}`)"
        )
    if not runs_dir.is_dir():
        raise UsageError(f"`RUNS_DIR` (={runs_dir}) is not a folder")
    if (runs_dir / RUN_INFO).exists():
        holder = runs_dir.absolute().parent
        raise UsageError(f"`RUNS_DIR` (={runs_dir}) is a run itself: give the folder that holds it ({holder})")
    if (runs_dir / INFO).exists():
        raise UsageError(f"`RUNS_DIR` (={runs_dir}) is a bundle: give the folder that holds the runs")


def _tell(record: "ImageRecord") -> None:
    """A line an image, as a watcher's."""
    from flawmap.inspect.shown_severity import shown_severity

    rest = f": {record.error}" if record.error else f", severity {shown_severity(record.severity)}"
    now = datetime.now().isoformat(sep=" ", timespec="seconds")
    print(f"{now} {printable(f'{record.image}: {record.verdict}{rest}')}", flush=True)


def _token_place(file: Path | None) -> str:
    return f"`{TOKEN}`" if file is None else f"`--token-file` (={file})"


def read_token(file: Path | None) -> str | None:
    """The token that `file` or the environment holds; None where neither says one. UsageError for one that is none."""
    if file is None:
        token = os.environ.get(TOKEN, "").strip()
        if not token:
            return None
    else:
        token = _text_of(file)
    if len(token) < SHORTEST_TOKEN or not all("!" <= character <= "~" for character in token):
        raise UsageError(
            f"{_token_place(file)} must hold a token of {SHORTEST_TOKEN} characters or more, ASCII without blanks, "
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
