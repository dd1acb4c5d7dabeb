"""No request but one with an image has a large body: what is read into memory is bounded before it is read."""

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flawmap.inspect.service.problems import problem

OTHER_BODIES = 1 << 20  # bytes
IMAGES = "/api/inspect"  # counts for itself, piece by piece, what is multipart


class BodyLimit:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["path"] == IMAGES and headers.get("content-type", "").lower().startswith("multipart/"):
            await self._app(scope, receive, send)
            return
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > OTHER_BODIES:
            await problem(413, TOO_LARGE)(scope, receive, send)
            return
        received = 0

        async def receive_so_much() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > OTHER_BODIES:
                raise HTTPException(413, TOO_LARGE)
            return message

        await self._app(scope, receive_so_much, send)


TOO_LARGE = f"the body has more than {OTHER_BODIES} bytes"
