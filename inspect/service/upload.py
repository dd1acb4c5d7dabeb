"""Receives an image that comes with a request, piece by piece onto the disk: no image is in memory here, not once.

multipart/form-data with one part, `image`: https://www.rfc-editor.org/rfc/rfc7578
"""

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import anyio
from fastapi import HTTPException, Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from flawmap.inspect.service.image_names import fault_of_name

# The parser logs every oddity of a form; without a handler Python would print that to stderr.
logging.getLogger("python_multipart").addHandler(logging.NullHandler())

STALLED = 30.0  # s without a byte, after which nobody waits for the rest
PIECE = 1 << 18  # bytes that are written at a time
FRAME = 1 << 16  # bytes of a request beside its image: boundaries and headers


@dataclass(frozen=True)
class Upload:
    """An image that was received: its file, and the name that it came with."""

    file: Path
    name: str


async def receive_upload(request: Request, file: Path, limit: int, check: Callable[[], None]) -> Upload:
    """Writes the image in `request` to `file`, of at most `limit` bytes; `check` is called before each piece.

    HTTPException: 400 for what is no such form, 408 where nothing comes any more, 413 for more than `limit`. The file
    is removed then, and whatever else goes wrong.
    """
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if not boundary:
        raise HTTPException(400, "the form has no boundary in its Content-Type")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > limit + FRAME:
        raise HTTPException(413, _too_large(limit))
    try:
        with file.open("wb") as stream:
            form = _Form(boundary, stream, limit)
            async for chunk in _pieces(request):
                check()
                form.write(chunk)
                if len(form.waiting) >= PIECE:
                    await anyio.to_thread.run_sync(form.flush)
            await anyio.to_thread.run_sync(form.flush)
            return Upload(file, form.end())
    except BaseException as error:
        file.unlink(missing_ok=True)
        if isinstance(error, FormParserError):
            raise HTTPException(400, f"the form cannot be read: {error}") from error
        if isinstance(error, ClientDisconnect):
            raise HTTPException(400, "the form is not complete") from error
        raise


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            with anyio.fail_after(STALLED):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise HTTPException(408, f"nothing was received for {STALLED:g} s") from None
        yield piece


class _Form:
    """One form as it comes in. Its image gathers in `waiting`, to be written where that does not hold up others."""

    def __init__(self, boundary: bytes, stream: BinaryIO, limit: int) -> None:
        self.waiting = bytearray()
        self._stream, self._limit = stream, limit
        self._received = 0
        self._framing = 0  # bytes that were not of the image
        self._name: str | None = None
        self._header, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header,
                "on_header_value": self._add_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_data,
                "on_part_data": self._add_data,
                "on_end": self._end_form,
            },
        )

    def write(self, chunk: bytes) -> None:
        before = self._received
        self._parser.write(chunk)
        self._framing += len(chunk) - (self._received - before)
        if self._framing > FRAME:
            raise HTTPException(400, f"the form holds more than {FRAME} bytes beside its image")

    def flush(self) -> None:
        self._stream.write(self.waiting)
        self.waiting.clear()

    def end(self) -> str:
        """The name of the image, which is all there."""
        self._parser.finalize()
        if not self._ended:
            raise HTTPException(400, "the form is cut off: its last boundary is missing")
        if self._name is None:
            raise HTTPException(400, "the form has no part `image`")
        return self._name

    def _begin_part(self) -> None:
        if self._name is not None:
            raise HTTPException(400, "the form must have one part, `image`, and has another")
        self._headers = {}

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _begin_data(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        field = options.get(b"name", b"").decode(errors="replace")
        if field != "image" or b"filename" not in options:
            raise HTTPException(400, f"the form's part `{field[:80]}` is not `image`, a file with its name")
        try:
            name = options[b"filename"].decode()
        except UnicodeDecodeError:
            raise HTTPException(400, "the name of the image is not UTF-8") from None
        fault = fault_of_name(name)
        if fault:
            raise HTTPException(400, f"the name of the image (={name[:200]}) {fault}")
        self._name = name

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._received += end - start
        if self._received > self._limit:
            raise HTTPException(413, _too_large(self._limit))
        self.waiting += data[start:end]

    def _end_form(self) -> None:
        self._ended = True


def _too_large(limit: int) -> str:
    return f"the image is larger than {limit // 10**6} MB, which `--upload-limit-mb` allows"
