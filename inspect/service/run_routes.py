"""GET /api/runs and what lies below: the history, and what is being written at this moment."""

import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Query
from fastapi.responses import FileResponse, Response

from flawmap.inspect.plain_text import plain
from flawmap.inspect.run.records import ImageRecord, RegionRecord
from flawmap.inspect.service.history import History, RunOnDisk, Summary
from flawmap.inspect.service.problems import problems
from flawmap.inspect.service.run_answers import (
    AnyVerdict,
    ImageDetail,
    ImagesAnswer,
    RunAnswer,
    image_answer,
    image_detail,
    run_answer,
)
from flawmap.inspect.service.run_files import RunFile, run_file
from flawmap.tiling.errors import UsageError
from flawmap.tiling.image_listing import natural_order

MOST_IMAGES = 1000  # in one answer
# A browser keeps pictures, and asks before it shows them again: a run may be done anew under the same names.
ASK_AGAIN = {"Cache-Control": "private, no-cache"}
WORST_FIRST = ("ERROR", "DAMAGED", "NG", "REVIEW", "OK")


class Sort(StrEnum):
    WORST = "worst"  # as the report: ERROR, NG, REVIEW, OK, and by severity within
    IMAGE = "image"
    INSPECTED = "inspected"
    SEVERITY = "severity"
    REGIONS = "regions"
    MILLISECONDS = "milliseconds"


def run_routes(history: History) -> APIRouter:
    router = APIRouter(prefix="/api/runs", tags=["runs"])

    @router.get("", summary="Every run, the latest first")
    def runs() -> list[RunAnswer]:
        return sorted(map(run_answer, history.runs()), key=lambda run: (run.started, run.id), reverse=True)

    @router.get("/{run}", summary="One run", responses=problems(404, 422))
    def run(run: str) -> RunAnswer:
        return run_answer(_run(history, run))

    @router.get(
        "/{run}/images", summary="Images of a run: filtered, sorted, page by page", responses=problems(404, 422)
    )
    def images(
        run: str,
        verdict: Annotated[list[AnyVerdict] | None, Query(description="Only these; may be given again")] = None,
        search: Annotated[str, Query(max_length=200, description="Only names that hold this, in any case")] = "",
        sort: Sort = Sort.WORST,
        reverse: bool = False,
        offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Query(ge=1, le=MOST_IMAGES)] = 100,
    ) -> ImagesAnswer:
        found = _run(history, run)
        passed = sorted(_passing(found, verdict, search), key=lambda image: _key(sort, image), reverse=reverse)
        shown = passed[offset : offset + limit]
        return ImagesAnswer(total=len(passed), images=[image_answer(found, image) for image in shown])

    @router.get("/{run}/images/{image}", summary="One image with its regions", responses=problems(404, 409, 422))
    def image(run: str, image: str) -> ImageDetail:
        found = _run(history, run)
        return image_detail(found, image, _record(found, image))

    @router.get("/{run}/images/{image}/regions", summary="Its regions", responses=problems(404, 409, 422))
    def regions(run: str, image: str) -> list[RegionRecord]:
        found = _run(history, run)
        return image_detail(found, image, _record(found, image)).regions

    @router.get("/{run}/images/{image}/regions/{region}", summary="One region", responses=problems(404, 409, 422))
    def region(run: str, image: str, region: int) -> RegionRecord:
        for one in regions(run, image):
            if one.region == region:
                return one
        raise HTTPException(404, f"image `{image}` has no region {region}")

    @router.get(
        "/{run}/files/{path:path}",
        summary="A file of a run: report, tables, pictures",
        response_class=FileResponse,
        responses=problems(404, 422) | {304: {"description": "As `If-None-Match` had it"}},
    )
    def file(run: str, path: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        found = run_file(_run(history, run).folder, path)
        if found is None:
            raise HTTPException(404, f"run `{run}` has no file `{path[:200]}`")
        return _file_answer(found, if_none_match)

    return router


def _run(history: History, id: str) -> RunOnDisk:
    run = history.run(id)
    if run is None:
        raise HTTPException(404, f"there is no run `{id[:200]}`")
    return run


def _record(run: RunOnDisk, id: str) -> ImageRecord:
    try:
        record = run.record(id)
    except UsageError as error:
        raise HTTPException(409, str(error)) from error
    if record is None:
        raise HTTPException(404, f"run `{run.id}` has no image `{id[:200]}`")
    return record


def _file_answer(file: RunFile, if_none_match: str) -> Response:
    answer = FileResponse(file.path, headers=ASK_AGAIN, media_type=file.media_type, stat_result=file.status)
    if if_none_match == answer.headers["etag"]:
        return Response(status_code=304, headers=ASK_AGAIN | {"ETag": if_none_match})
    return answer


def _passing(run: RunOnDisk, verdicts: Sequence[AnyVerdict] | None, search: str) -> Iterator[Summary]:
    """The images of one of `verdicts`, of any where there are none, whose names hold `search`."""
    sought = search.casefold()
    for image in run.images():
        if (not verdicts or image.verdict in verdicts) and sought in plain(image.image).casefold():
            yield image


def _key(sort: Sort, image: Summary) -> tuple[object, ...]:
    """Equals come in the order of their names."""
    name = natural_order(PurePosixPath(image.image))
    severity = math.inf if image.severity is None else -image.severity
    first: dict[Sort, tuple[object, ...]] = {
        Sort.WORST: (WORST_FIRST.index(image.verdict), severity),
        Sort.IMAGE: (),
        Sort.INSPECTED: (image.inspected,),
        Sort.SEVERITY: (severity,),
        Sort.REGIONS: (-image.n_regions,),
        Sort.MILLISECONDS: (-image.milliseconds,),
    }
    return (*first[sort], name)
