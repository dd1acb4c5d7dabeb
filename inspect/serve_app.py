"""The application behind `flawmap serve`, put together: the one place where routes are included."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI

from flawmap.inspect.service.access import Access, Keys
from flawmap.inspect.service.api_page import api_page
from flawmap.inspect.service.body_limit import BodyLimit
from flawmap.inspect.service.figures import Figures
from flawmap.inspect.service.health import Check, health_routes
from flawmap.inspect.service.history import History
from flawmap.inspect.service.inspect_routes import Intake, inspect_routes
from flawmap.inspect.service.login import login_routes
from flawmap.inspect.service.problems import add_problem_handlers
from flawmap.inspect.service.run_routes import run_routes

DESCRIPTION = 'Inspects images, and shows what was found in the runs of a folder. Every error is `{"detail": ...}`.'


@dataclass(frozen=True)
class Parts:
    """What the routes stand on."""

    history: History
    keys: Keys
    intake: Intake
    figures: Figures
    checks: Mapping[str, Check]  # what must be well for /ready, by name


def create_app(parts: Parts) -> FastAPI:
    # FastAPI's own documentation pages load their scripts from the internet, where a line PC is not.
    app = FastAPI(title="flawmap", version=version("flawmap"), description=DESCRIPTION, docs_url=None, redoc_url=None)
    add_problem_handlers(app)
    app.include_router(health_routes(parts.checks, parts.figures))
    app.include_router(login_routes(parts.keys))
    app.include_router(inspect_routes(parts.intake))
    app.include_router(run_routes(parts.history))
    app.include_router(api_page(app))
    app.add_middleware(BodyLimit)
    app.add_middleware(Access, keys=parts.keys)  # the last one added is asked first
    return app
