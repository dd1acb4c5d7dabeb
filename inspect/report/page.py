"""The page of a run: one index.html that opens from its folder, without a server, a network or anything else.

It is drawn from run.json and regions/**/*.json alone, so a run that was interrupted or copied gets the same page.
Style and script are part of the page; pictures are links into `overlays/`.
"""

import base64
import hashlib
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup
from pydantic import BaseModel, ValidationError

from flawmap.inspect.records import ImageRecord, RegionRecord, RunInfo
from flawmap.inspect.report.heat_scale import INFERNO, NG_PLACE, REVIEW_PLACE, HeatScale
from flawmap.inspect.report.page_text import environment, without_surrogates
from flawmap.inspect.report.part_rows import PartRow, axis_of_parts, part_rows
from flawmap.inspect.report.pictures import PANEL_MAX_PX, crop_box, strip_size
from flawmap.inspect.report.severity_axis import SeverityAxis, worst_first
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_text

REGIONS_SHOWN = 50  # of one image; the rest is in regions.csv
STRIP_WIDTH_PX = 832  # room for a strip: the smallest, two screen pixels for each of its own
STRIP_ENLARGED_MAX = 6

THRESHOLDS = ("review", "ng", "severity_review", "severity_ng")

Record = TypeVar("Record", bound=BaseModel)


def write_page(run_dir: Path) -> Path:
    """Writes `index.html` into the folder that `flawmap inspect` wrote, and returns its path.

    UsageError where the folder holds no run, or a record in it cannot be read.
    """
    if not (run_dir / "run.json").is_file():
        raise UsageError(f"`RUN_DIR` (={run_dir}) holds no run.json: give a folder that `flawmap inspect` wrote")
    run = _read(run_dir / "run.json", RunInfo)
    for thresholds in [run.thresholds] if run.recipe is None else [model.thresholds for model in run.recipe.models]:
        missing = [name for name in THRESHOLDS if name not in thresholds]
        if missing:
            raise UsageError(
                f"{run_dir / 'run.json'} is not a record of this flawmap: `thresholds.{missing[0]}`: missing"
            )
    records = [_read(path, ImageRecord) for path in _record_files(run_dir)]
    page = run_dir / "index.html"
    write_text(page, render(run, records))
    return page


def render(run: RunInfo, records: list[ImageRecord]) -> str:
    """The page as text. Worst image (or part) first: ERROR, NG, REVIEW, OK, and by severity within."""
    records = worst_first(records, lambda record: record.image)
    parts: list[PartRow] = []
    if run.recipe is None:
        axis = SeverityAxis.around(records, run.thresholds["severity_review"], run.thresholds["severity_ng"])
        models = [("", run.thresholds)]
    else:
        parts = part_rows(run.recipe, records)
        axis = axis_of_parts(run.recipe, parts, records)
        models = [(model.camera, model.thresholds) for model in run.recipe.models]
    here = Path(__file__).parent
    style, script = ((here / name).read_text("utf-8") for name in ("style.css", "page.js"))
    pages = environment()
    pages.filters.update(duration=_duration, moment=_moment, total=_total, strip=_strip)
    text = pages.from_string((here / "index.html.j2").read_text("utf-8"))
    rendered = text.render(
        run=run,
        records=records,
        parts=parts,
        without_part=[record for record in records if not record.part],
        judged=records if run.recipe is None else parts,
        counts=Counter(one.verdict for one in (records if run.recipe is None else parts)),
        region_count=sum(len(record.regions) for record in records),
        axis=axis,
        models=models,
        heats=[(camera, HeatScale(thresholds["review"], thresholds["ng"])) for camera, thresholds in models],
        heat_stops=_heat_stops(),
        places=(100 * REVIEW_PLACE, 100 * NG_PLACE),
        total_ms=_total(run.milliseconds_median),
        stages={name: value for name, value in run.milliseconds_median.items() if name != "total"},
        regions_shown=REGIONS_SHOWN,
        style=Markup(style),
        script=Markup(script),
        # The browser runs this script and no other, whatever a file name or a record says.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return without_surrogates(rendered)


def _record_files(run_dir: Path) -> list[Path]:
    """Hidden files are records still being written."""
    return sorted(path for path in (run_dir / "regions").rglob("*.json") if not path.name.startswith("."))


def _read(path: Path, kind: type[Record]) -> Record:
    try:
        # pydantic's own JSON parser refuses the lone surrogates that stand for file names that are not UTF-8.
        return kind.model_validate(json.loads(path.read_text("utf-8", errors="surrogateescape")))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path} is not a record of this flawmap: `{place}`: {first['msg']}") from error


def _total(milliseconds: dict[str, float]) -> float | None:
    """The time of a whole image: the stage `total` where it was measured, else the sum; None where nothing was."""
    return milliseconds.get("total", sum(milliseconds.values())) if milliseconds else None


def _duration(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "–"
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"


def _moment(iso: str) -> str:
    """`2026-11-22T15:04:07+01:00` as people write it."""
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M")


def _strip(region: RegionRecord, record: ImageRecord) -> dict[str, int]:
    """Size of a region's strip on the page in CSS px: nothing moves while pictures load, small strips are enlarged."""
    y0, x0, y1, x1 = crop_box(region, record.height, record.width)
    shrunk = min(1.0, PANEL_MAX_PX / max(y1 - y0, x1 - x0, 1))
    height, width = strip_size(max(1, round((y1 - y0) * shrunk)), max(1, round((x1 - x0) * shrunk)))
    factor = min(max(1, STRIP_WIDTH_PX // width), STRIP_ENLARGED_MAX)
    return {"width": width * factor, "height": height * factor}


def _heat_stops() -> str:
    """The colour scale as stops of a CSS gradient."""
    return ", ".join("#{:02x}{:02x}{:02x}".format(*INFERNO[round(255 * step / 16)]) for step in range(17))
