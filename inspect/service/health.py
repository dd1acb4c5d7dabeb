"""GET /health, /ready and /metrics: for whoever keeps the service running."""

from collections.abc import Callable, Mapping
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from flawmap.inspect.service.figures import Figures

Check = Callable[[], str]  # what is wrong, in a sentence; empty: nothing


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether an image sent now would be inspected."""

    ready: bool
    checks: dict[str, str]  # `ok`, or what is wrong


def health_routes(checks: Mapping[str, Check]) -> APIRouter:
    """`checks` by the name that the answer gives them."""
    router = APIRouter(tags=["operation"])

    @router.get("/health", summary="Does the process answer?")
    def health() -> Alive:
        return Alive()

    @router.get("/ready", summary="Would an image be inspected now?", responses={503: {"model": Readiness}})
    def ready(response: Response) -> Readiness:
        found = {name: check() or "ok" for name, check in checks.items()}
        answer = Readiness(ready=all(said == "ok" for said in found.values()), checks=found)
        if not answer.ready:
            response.status_code = 503
        return answer

    return router


def metrics_route(figures: Figures) -> APIRouter:
    router = APIRouter(tags=["operation"])

    @router.get("/metrics", summary="For Prometheus", response_class=PlainTextResponse)
    def metrics() -> Response:
        return Response(figures.text(), media_type=CONTENT_TYPE_LATEST)

    return router
