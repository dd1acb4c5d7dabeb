"""POST /api/inspect: an image in, its verdict and regions out, once it was its turn."""

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from flawmap.inspect.service.allowed_roots import AllowedRoots, PathRefusedError
from flawmap.inspect.service.figures import Figures
from flawmap.inspect.service.history import RunOnDisk
from flawmap.inspect.service.inspection_queue import InspectionQueue, Job, NoPlaceError
from flawmap.inspect.service.problems import problems
from flawmap.inspect.service.run_answers import ImageDetail, image_detail
from flawmap.inspect.service.upload import STALLED, receive_upload
from flawmap.tiling.errors import InspectionStoppedError

COME_AGAIN = {"Retry-After": "5"}  # s
UPLOAD_SUFFIX = ".upload"


class InspectPath(BaseModel):
    """An image that lies on the machine of the service, below a root that `--allow` names."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str


FORM, JSON = "multipart/form-data", "application/json"
# Written down here because the body is read piece by piece, and not by FastAPI.
BODY = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["image"],
                "properties": {
                    "image": {"type": "string", "format": "binary", "description": "PNG, BMP, JPEG or TIFF file"}
                },
                "additionalProperties": False,
            }
        },
        JSON: {"schema": InspectPath.model_json_schema()},
    },
}


@dataclass(frozen=True)
class Intake:
    """What comes in by /api/inspect, and where it goes."""

    queue: InspectionQueue
    roots: AllowedRoots
    figures: Figures
    incoming: Path  # folder for what is being received, on the disk of the runs
    upload_limit: int  # bytes
    disk_fault: Callable[[], str]  # why nothing more can be written; empty where it can


def inspect_routes(intake: Intake) -> APIRouter:
    router = APIRouter(prefix="/api", tags=["inspection"])

    @router.post(
        "/inspect",
        summary="Inspect one image, sent or by its path",
        responses=problems(400, 403, 404, 408, 413, 415, 422, 503, 507),
        openapi_extra={"requestBody": BODY},
    )
    async def inspect(request: Request) -> ImageDetail:
        try:
            return await _inspect(intake, request)
        except HTTPException as error:
            intake.figures.rejected(error.status_code)
            raise

    return router


async def _inspect(intake: Intake, request: Request) -> ImageDetail:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (FORM, JSON):
        raise HTTPException(415, f"`Content-Type` (={kind[:80]}) must be {FORM} or {JSON}")
    fault = await run_in_threadpool(intake.disk_fault)  # a share may be slow to answer
    if fault:
        raise HTTPException(507, fault)
    job = await _lined_up(intake, request, sent=kind == FORM)
    try:
        # A client that hangs up does not take its image with it: the result is in the history.
        inspected = await asyncio.shield(asyncio.wrap_future(job.result))
    except NoPlaceError as error:
        raise HTTPException(503, str(error), COME_AGAIN) from error
    except InspectionStoppedError as error:
        raise HTTPException(507, str(error)) from error
    if inspected.record.verdict == "ERROR":
        raise HTTPException(422, f"{inspected.record.image}: {inspected.record.error}")
    return image_detail(RunOnDisk(inspected.run), inspected.name, inspected.record)


async def _lined_up(intake: Intake, request: Request, *, sent: bool) -> Job:
    """The image of `request`, received and waiting. HTTPException where it is none, or there is no place."""
    queue = intake.queue
    job = None if sent else await _found(intake, request)  # before it takes a place
    try:
        queue.take_place()
        try:
            job = job or await _received(intake, request)
        except BaseException:
            queue.give_back()
            raise
        queue.put(job)
        intake.figures.received()
        return job
    except NoPlaceError as error:
        raise HTTPException(503, str(error), COME_AGAIN) from error


async def _received(intake: Intake, request: Request) -> Job:
    def check() -> None:
        if intake.queue.stopping:
            raise NoPlaceError("the service is stopping: come again when it is back")

    file = intake.incoming / f"{secrets.token_hex(8)}{UPLOAD_SUFFIX}"
    try:
        upload = await receive_upload(request, file, intake.upload_limit, check)
    except OSError as error:
        raise HTTPException(507, f"the image cannot be written: {error.strerror}") from error
    return Job(upload.file, upload.name, received=True)


async def _found(intake: Intake, request: Request) -> Job:
    try:
        with anyio.fail_after(STALLED):
            body = await request.body()
        asked = InspectPath.model_validate(json.loads(body))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the body"
        raise HTTPException(422, f"`{place}`: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {STALLED:g} s") from None
    except ClientDisconnect as error:
        raise HTTPException(400, "the body is not complete") from error
    try:
        path, image = await run_in_threadpool(intake.roots.find, asked.path)
    except PathRefusedError as error:
        raise HTTPException(error.status, str(error)) from error
    return Job(path, image, received=False)
