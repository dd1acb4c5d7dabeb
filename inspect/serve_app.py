"""The application behind `flawmap serve`, put together: the one place where routes are included.

history (service/) + inspection (service/) + review (review/) -> FastAPI
"""

from collections.abc import Mapping
from importlib.metadata import version

from fastapi import FastAPI

from flawmap.inspect.service.access import Access, Keys
from flawmap.inspect.service.health import Check, health_routes
from flawmap.inspect.service.history import History
from flawmap.inspect.service.login import login_routes
from flawmap.inspect.service.problems import add_problem_handlers
from flawmap.inspect.service.run_routes import run_routes

DESCRIPTION = 'Inspects images, and shows what was found in the runs of a folder. Every error is `{"detail": ...}`.'


def create_app(history: History, keys: Keys, checks: Mapping[str, Check]) -> FastAPI:
    """`checks`: what must be well for /ready, by name."""
    # FastAPI's own documentation pages load their scripts from the internet, where a line PC is not.
    app = FastAPI(title="flawmap", version=version("flawmap"), description=DESCRIPTION, docs_url=None, redoc_url=None)
    add_problem_handlers(app)
    app.include_router(health_routes(checks))
    app.include_router(login_routes(keys))
    app.include_router(run_routes(history))
    app.add_middleware(Access, keys=keys)
    return app
