"""Every error of the service is one JSON object with one sentence: {"detail": "`verdict` (=bad) must be ..."}."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from flawmap.inspect.plain_text import plain

LONGEST_VALUE = 80  # characters of what was sent, that a message repeats


class Problem(BaseModel):
    """Why a request was not answered."""

    detail: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these."""
    return {status: {"model": Problem} for status in statuses}


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": plain(detail)}, status, headers)


def add_problem_handlers(app: FastAPI) -> None:
    """FastAPI's own answers to a bad request repeat what was sent, which JSON cannot always hold."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, "; ".join(_sentence(one) for one in error.errors()[:5]))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:  # a fault of flawmap's, which its log tells
        return problem(500, "the service could not answer; its log says why")


def _sentence(error: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
    value = error.get("input")
    shown = "" if value is None or isinstance(value, dict | list) else f" (={str(value)[:LONGEST_VALUE]})"
    return f"`{place}`{shown}: {error['msg']}"
