"""The page of a detection limit: the sentence that is signed, its curves, and every kind at every contrast.

It opens from its folder without a server or a network, and nothing on it runs.
"""

from itertools import groupby
from pathlib import Path

from markupsafe import Markup

from flawmap.inspect.plain_text import plain
from flawmap.inspect.report.page_text import environment
from flawmap.inspect.run.detection_limit_record import LimitRecord, read_detection_limit
from flawmap.inspect.run.layout import DETECTION_LIMIT, DETECTION_LIMIT_PAGE, EVALUATION, PAGE
from flawmap.inspect.run.records import RunInfo
from flawmap.tiling.whole_file import write_text

# What is injected (docs/detection_limit.md). Kinds and places that are not here are shown by their names alone.
KINDS = {
    "spot": "brighter or darker, fading outwards, like dust, a stain, a blowhole",
    "pit": "bright beside dark, like a dent under oblique light",
    "hairline": "a curve 1 to 3 px wide; its size is its length; like a hair, a crack",
    "smudge": "light taken or added in an irregular area, texture kept, like grease or a wiped place",
    "blur": "texture out of focus or smeared, like smeared print",
    "missing": "texture filled in from its rim, like a place left out",
}
PLACES = {
    "anywhere": "anywhere in the image",
    "edge": "on a steep edge of the product",
    "border": "at most 2 px from the image's border",
}


def draw_detection_limit(run_dir: Path, run: RunInfo) -> None:
    """Writes the page; where `run_dir` holds no detection limit, there is none.

    It leads back to the report, and to the evaluation where there is one. OSError where it cannot be written.
    """
    limit = read_detection_limit(run_dir)
    page = run_dir / DETECTION_LIMIT_PAGE
    if limit is None:
        if page.is_file():  # of a result that has gone
            page.unlink()
        return
    here = Path(__file__).parent
    style = "".join((here / name).read_text("utf-8") for name in ("style.css", "evaluation.css"))
    pages = environment()
    pages.filters.update(size=_size)
    base = run_dir / DETECTION_LIMIT
    by_kind = groupby(limit.over_size, key=lambda curve: curve.kind)
    rendered = pages.from_string((here / "detection_limit.html.j2").read_text("utf-8")).render(
        run=run,
        name=run_dir.resolve().name,
        report=f"../{PAGE}",
        evaluation=PAGE if (run_dir / EVALUATION / PAGE).is_file() else None,
        limit=limit,
        picture=f"{base.name}.png" if base.with_suffix(".png").is_file() else None,
        files=[f"{base.name}{suffix}" for suffix in (".csv", ".json") if base.with_suffix(suffix).is_file()],
        kinds=[(kind, KINDS.get(kind, ""), list(curves)) for kind, curves in by_kind],
        exceptions=any(curve.exceptions for curve in limit.over_size),
        places=[(PLACES.get(place, place), rate) for place, rate in limit.found_by_place.items()],
        style=Markup(style),
    )
    write_text(page, plain(rendered))


def _size(limit: LimitRecord, largest: float) -> str:
    """From which size on, as the sentence says it."""
    if limit.px is None:
        return f"not up to {largest:g} px"
    return f"{limit.px} px or less" if limit.smallest_tried else f"{limit.px} px"
