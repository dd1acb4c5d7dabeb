"""The review of `flawmap serve`, put together: marks and figures (review/), pictures and viewer (report/).

/review/{run}    the page; its style and scripts below /review/assets/
/api/runs/{run}/review    what it asks and says
"""

import sys
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response

from flawmap.inspect.report import viewer_files
from flawmap.inspect.report.image_data import image_data
from flawmap.inspect.report.page import heat_of
from flawmap.inspect.review.mark_store import MarkStore
from flawmap.inspect.review.reviews import Reviews
from flawmap.inspect.review.routes import review_routes
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.inspect.serve.review_work import Calibrating, work_routes
from flawmap.inspect.service.history import History

INSPECT = Path(__file__).parent.parent
REPORT, REVIEW = INSPECT / "report", INSPECT / "review"
SCRIPTS = (
    REPORT / "elements.js",
    REPORT / "picture.js",
    *(REVIEW / name for name in ("images_list.js", "look.js", "marking.js", "uses.js", "figures.js")),
)
STYLES = (REPORT / "style.css", REVIEW / "review.css")
VIEWER = "/review/assets/openseadragon.min.js"
# The page shows names that anybody may have given to a file: no script but ours runs, and nothing else is asked.
EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"  # in whose place OpenSeadragon would put its own
POLICY = {
    "Content-Security-Policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {EMPTY_STYLE}; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}


def review_router(history: History, store: MarkStore, bundle: Path, device: str) -> APIRouter:
    """Everything of the review; the runs are those of `history`, `bundle` what copies are calibrated of on `device`."""
    reviews = Reviews(store, lambda run: None if (found := history.run(run)) is None else found.folder)
    router = APIRouter()
    router.include_router(review_routes(reviews, pictures_of))
    router.include_router(work_routes(reviews, history.runs_dir, Calibrating(bundle, device)))
    router.include_router(_page_routes())
    return router


def pictures_of(run: RecordedRun, image: RecordedImage) -> dict[str, Any]:
    """What the report's pages know of an image, of all its regions."""
    return image_data(image.name, image.record, heat_of(run.info, image.record), run.folder, sys.maxsize)


def _page_routes() -> APIRouter:
    router = APIRouter(prefix="/review", include_in_schema=False)
    style, script = ("\n".join(path.read_text("utf-8") for path in paths) for paths in (STYLES, SCRIPTS))
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    page = (REVIEW / "review.html").read_text("utf-8")
    if (viewer_files.SOURCE / viewer_files.SCRIPT).is_file():
        page = page.replace('data-viewer=""', f'data-viewer="{VIEWER}"')

    @router.get("")
    @router.get("/{run}")
    def review(run: str = "") -> HTMLResponse:
        return HTMLResponse(page, headers=POLICY)

    @router.get("/assets/review.js")
    def scripts() -> Response:
        return Response(script, media_type="text/javascript")

    @router.get("/assets/review.css")
    def styles() -> Response:
        return Response(style, media_type="text/css")

    @router.get("/assets/openseadragon.min.js")
    def viewer() -> FileResponse:
        path = viewer_files.SOURCE / viewer_files.SCRIPT
        if not path.is_file():
            raise HTTPException(404, "this flawmap was built without OpenSeadragon")
        return FileResponse(path, media_type="text/javascript")

    return router
