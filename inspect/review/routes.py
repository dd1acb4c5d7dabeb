"""/api/runs/{run}/review: what was reviewed, marks and looks, and the figures that follow from them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, HTTPException, Query, Response
from pydantic import BaseModel

from flawmap.inspect.review.answers import (
    FiguresAnswer,
    ImageReviewDetail,
    MarkAnswer,
    NewLook,
    NewMark,
    Note,
    RunReview,
)
from flawmap.inspect.review.figures import figures, models_of
from flawmap.inspect.review.mark_store import MarksUnreachableError
from flawmap.inspect.review.proposal import DEFAULT_RATE, DEFAULT_RECALL, propose
from flawmap.inspect.review.reviewed_run import ReviewedRun
from flawmap.inspect.review.reviews import NotThereError, Reviews
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.tiling.errors import UsageError


class Refused(BaseModel):
    """Why a request was not answered."""

    detail: str


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these."""
    return {status: {"model": Refused} for status in (422, 503, *statuses)}


@contextmanager
def answering() -> Iterator[None]:
    """Turns what went wrong into the status that says so."""
    try:
        yield
    except NotThereError as error:
        raise HTTPException(404, str(error)) from error
    except MarksUnreachableError as error:
        raise HTTPException(503, str(error)) from error
    except UsageError as error:
        raise HTTPException(409, str(error)) from error


def review_routes(reviews: Reviews, pictures_of: Callable[[RecordedRun, RecordedImage], dict[str, Any]]) -> APIRouter:
    """`pictures_of`: what a page needs to show an image of a run."""
    router = APIRouter(prefix="/api/runs/{run}/review", tags=["review"])
    _add_reading(router, reviews, pictures_of)
    _add_marking(router, reviews)
    _add_figures(router, reviews)
    return router


def _add_reading(
    router: APIRouter, reviews: Reviews, pictures_of: Callable[[RecordedRun, RecordedImage], dict[str, Any]]
) -> None:
    @router.get(
        "",
        summary="How far the review of a run has come, image by image",
        responses=refusals(404, 409) | {304: {"description": "As `If-None-Match` had it"}},
        response_model=RunReview,
    )
    def run_review(run: str, response: Response, if_none_match: Annotated[str, Header()] = "") -> Any:
        with answering():
            reviewed, version = reviews.run_and_version(run)
        response.headers["ETag"] = f'"{version}"'
        if if_none_match == f'"{version}"':
            return Response(status_code=304, headers={"ETag": f'"{version}"'})
        return RunReview.of(run, reviewed)

    @router.get("/images/{image}", summary="One image with its regions and their marks", responses=refusals(404, 409))
    def image_review(run: str, image: str) -> ImageReviewDetail:
        with answering():
            recorded, one, reviewed = reviews.image(run, image)
            return ImageReviewDetail.of_image(reviewed, pictures_of(recorded, one))


def _add_marking(router: APIRouter, reviews: Reviews) -> None:
    @router.post(
        "/images/{image}/marks",
        summary="Marks a region or a place, or takes a mark back",
        status_code=201,
        responses=refusals(400, 404, 409, 413),
    )
    def mark(run: str, image: str, new: NewMark) -> MarkAnswer:
        box = None if new.box is None else new.box.box
        with answering():
            return MarkAnswer.of(
                reviews.mark(run, image, new.mark, region=new.region, box=box, reviewer=new.reviewer, note=new.note)
            )

    @router.post(
        "/images/{image}/look",
        summary="Says that an image was looked at as a whole",
        status_code=201,
        responses=refusals(400, 404, 409, 413),
    )
    def look(run: str, image: str, new: NewLook) -> NewLook:
        with answering():
            entry = reviews.look(run, image, new.complete, new.reviewer)
        return NewLook(complete=entry.complete, reviewer=entry.reviewer)

    @router.get("/marks", summary="The marks that were not taken back, stale ones too", responses=refusals(404, 409))
    def marks(run: str) -> list[MarkAnswer]:
        with answering():
            reviewed = reviews.run(run)
        standing = [mark for image in reviewed.images for mark in image.marks] + reviewed.orphans
        return [MarkAnswer.of_standing(mark) for mark in sorted(standing, key=lambda mark: mark.entry.id)]

    @router.get("/history", summary="Every mark ever set on a run, in order", responses=refusals(404, 409))
    def history(run: str, image: Note | None = None) -> list[MarkAnswer]:
        with answering():
            reviews.run(run)
            return [MarkAnswer.of(entry) for entry in reviews.store.history(run, image)]


def _add_figures(router: APIRouter, reviews: Reviews) -> None:
    @router.get("/figures", summary="Recall, false alarms and proposed thresholds", responses=refusals(404, 409))
    def run_figures(
        run: str,
        recall: Annotated[float, Query(gt=0, le=1, description="Share of marked defects to keep")] = DEFAULT_RECALL,
        false_alarms: Annotated[
            float | None, Query(gt=0, le=100, description="NG regions a good image may show; as the run unless given")
        ] = None,
    ) -> list[FiguresAnswer]:
        with answering():
            return figures_answers(reviews.run(run), recall, false_alarms)


def figures_answers(run: ReviewedRun, recall: float, false_alarms: float | None) -> list[FiguresAnswer]:
    """The figures and proposals of a run, of each model of a recipe apart."""
    answers = []
    for model in models_of(run):
        found = figures(run, model)
        wished = false_alarms or found.false_alarms_allowed or DEFAULT_RATE
        answers.append(FiguresAnswer(figures=found, proposals=propose(run, model, recall, wished)))
    return answers
