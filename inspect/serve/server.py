"""uvicorn, made to stop as flawmap's commands do: gracefully, and as a success."""

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from flawmap.inspect.line.service_notice import notify
from flawmap.tiling.errors import UsageError

LAST_ANSWERS = 240  # s after a stop that those may take who are being answered: less than the systemd unit allows


class _Server(uvicorn.Server):
    """SIGTERM or Ctrl-C ask for the end: those who wait are answered first."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], before_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready, self._before_stop = ready, before_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:  # signals are heard by now: whoever stops it at its first word ends it as gracefully
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would raise the signal again at the end: a stop that was asked for is no failure.
        self.force_exit, self.should_exit = self.should_exit, True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        self._before_stop()
        await super().shutdown(sockets)


def listen(
    app: FastAPI, host: str, port: int, opened: Callable[[int], None], before_stop: Callable[[], None] = lambda: None
) -> None:
    """Answers at `host` and `port` until a signal asks for the end; `opened` hears the port once it answers there.

    `before_stop` lets go who waits for an answer. UsageError where the address cannot be had, KeyboardInterrupt for a
    second signal, which waits for nobody.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host.strip("[]"), port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"`--host` (={host}) and `--port` (={port}) cannot be listened at: {error}") from error
    with listener:

        def ready() -> None:
            opened(listener.getsockname()[1])
            notify("READY=1")

        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_ANSWERS,
        )
        server = _Server(config, ready, before_stop)
        server.run(sockets=[listener])
        if server.force_exit:
            raise KeyboardInterrupt
