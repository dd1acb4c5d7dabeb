"""The application behind `flawmap serve`, put together: the one place where routes are included."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from starlette.responses import RedirectResponse

from flawmap.inspect.service.access import Access, Keys
from flawmap.inspect.service.api_page import api_page
from flawmap.inspect.service.body_limit import BodyLimit
from flawmap.inspect.service.health import Check, health_routes
from flawmap.inspect.service.history import History
from flawmap.inspect.service.login import login_routes
from flawmap.inspect.service.problems import add_problem_handlers
from flawmap.inspect.service.run_routes import run_routes

DESCRIPTION = 'Inspects images, and shows what was found in the runs of a folder. Every error is `{"detail": ...}`.'
FRONT_PAGE = "/review"


def create_app(history: History, keys: Keys, checks: Mapping[str, Check], further: Sequence[APIRouter] = ()) -> FastAPI:
    """The history and what every service has, and the `further` routes: inspection, figures, review.

    `checks`: what must be well for /ready, by name.
    """
    # FastAPI's own documentation pages load their scripts from the internet, where a line PC is not.
    app = FastAPI(title="flawmap", version=version("flawmap"), description=DESCRIPTION, docs_url=None, redoc_url=None)
    add_problem_handlers(app)
    for router in (health_routes(checks), login_routes(keys), *further, run_routes(history), api_page(app)):
        app.include_router(router)

    @app.get("/", include_in_schema=False)
    def front_page() -> RedirectResponse:
        return RedirectResponse(FRONT_PAGE)

    app.add_middleware(BodyLimit)
    app.add_middleware(Access, keys=keys)  # the last one added is asked first
    return app
