"""The page of a run: one index.html that opens from its folder, without a server, a network or anything else.

It is drawn from run.json, regions/**/*.json and the names of the tiles in zoom/, so a run that was interrupted or
copied gets the same page. Style and script are part of it. What an image's regions are it loads from
`page/<name>.js` when that image is looked at: the page of 500 images opens as fast as that of five.
"""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from flawmap.inspect.plain_text import plain
from flawmap.inspect.report.defect_map import defect_maps
from flawmap.inspect.report.detection_limit_page import draw_detection_limit
from flawmap.inspect.report.heat_scale import INFERNO, NG_PLACE, REVIEW_PLACE, HeatScale
from flawmap.inspect.report.image_data import IMAGE_CALL, image_script
from flawmap.inspect.report.page_text import environment
from flawmap.inspect.report.part_rows import PartRow, axis_of_parts, part_rows
from flawmap.inspect.report.severity_axis import SeverityAxis, worst_first
from flawmap.inspect.report.viewer_files import bring_viewer
from flawmap.inspect.run.layout import DETECTION_LIMIT_PAGE, PAGE, PAGE_FILES, evaluation_folder, image_data_path
from flawmap.inspect.run.recorded_run import RecordedRun, read_recorded_run
from flawmap.inspect.run.records import ImageRecord, RunInfo
from flawmap.tiling.whole_file import write_text

SCRIPTS = (
    "elements.js",
    "images.js",
    "table.js",
    "picture.js",
    "look.js",
    "print.js",
)  # one function around all of them


@dataclass(frozen=True)
class EvaluationLink:
    """Where an evaluation of the run lies, relative to the run folder; the camera it is about, in a recipe."""

    path: str
    camera: str = ""


@dataclass(frozen=True)
class PageImage:
    """One image on the page: its number there, what its files are called, and what was found."""

    key: int
    name: str
    record: ImageRecord

    @property
    def data(self) -> str:
        """Relative to the run folder."""
        return image_data_path(self.name)


def write_page(run_dir: Path) -> Path:
    """Writes `index.html` and what it loads into the folder that `flawmap inspect` wrote; returns its path.

    UsageError where the folder holds no run, or none of its records can be read; the page names those that cannot.
    """
    return draw_page(read_recorded_run(run_dir))


def draw_page(recorded: RecordedRun) -> Path:
    """As `write_page`, of a run that was read already."""
    run_dir = recorded.folder
    draw_detection_limit(run_dir, recorded.info)
    run, names = recorded.info, {image.record.image: image.name for image in recorded.images}
    ordered = worst_first([image.record for image in recorded.images], lambda record: record.image)
    images = [PageImage(key, names[record.image], record) for key, record in enumerate(ordered)]
    _write_image_data(run_dir, run, images)
    page = run_dir / PAGE
    write_text(page, render(run_dir, run, images, bring_viewer(run_dir), recorded.damaged))
    return page


def _evaluations(run_dir: Path, run: RunInfo) -> list[EvaluationLink]:
    """Those that `flawmap evaluate` wrote about these results."""
    models = [(None, "")] if run.recipe is None else [(n, one.camera) for n, one in enumerate(run.recipe.models)]
    links = [EvaluationLink(f"{evaluation_folder(number)}/{PAGE}", camera) for number, camera in models]
    return [link for link in links if (run_dir / link.path).is_file()]


def _write_image_data(run_dir: Path, run: RunInfo, images: list[PageImage]) -> None:
    """Writes page/<name>.js for every image, and removes those of images that are no longer there."""
    folder = run_dir / PAGE_FILES
    folder.mkdir(exist_ok=True)
    for image in images:
        text = image_script(image.key, image.name, image.record, heat_of(run, image.record), run_dir)
        path = run_dir / image.data
        if not path.is_file() or path.read_text("utf-8") != text:
            write_text(path, text)
    current = {Path(image.data).name for image in images}
    for path in folder.glob("*.js"):
        if path.name not in current and path.read_text("utf-8", errors="replace").startswith(IMAGE_CALL):
            path.unlink(missing_ok=True)


def heat_of(run: RunInfo, record: ImageRecord) -> HeatScale | None:
    """The colour scale of an image's heat; None where no model inspected it."""
    if run.recipe is None:
        return HeatScale(run.thresholds["review"], run.thresholds["ng"])
    if record.model is None:
        return None
    thresholds = run.recipe.models[record.model].thresholds
    return HeatScale(thresholds["review"], thresholds["ng"])


def render(
    run_dir: Path, run: RunInfo, images: list[PageImage], viewer: str | None, damaged: Sequence[str] = ()
) -> str:
    """The page of `run_dir` as text. `images` come worst first: ERROR, NG, REVIEW, OK, and by severity within.

    `viewer`: script of OpenSeadragon relative to the run folder, None where there is none. `damaged`: sentences on
    records that could not be read.
    """
    records = [image.record for image in images]
    parts: list[PartRow] = []
    if run.recipe is None:
        axis = SeverityAxis.around(records, run.thresholds["severity_review"], run.thresholds["severity_ng"])
        models = [("", run.thresholds)]
    else:
        parts = part_rows(run.recipe, records)
        axis = axis_of_parts(run.recipe, parts, records)
        models = [(model.camera, model.thresholds) for model in run.recipe.models]
    here = Path(__file__).parent
    style = (here / "style.css").read_text("utf-8")
    script = "\n".join((here / name).read_text("utf-8") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    pages = environment()
    pages.filters.update(duration=_duration, moment=_moment, setting=_setting, total=_total)
    text = pages.from_string((here / "index.html.j2").read_text("utf-8"))
    rendered = text.render(
        run=run,
        name=run_dir.resolve().name,
        evaluations=_evaluations(run_dir, run),
        detection_limit=DETECTION_LIMIT_PAGE if (run_dir / DETECTION_LIMIT_PAGE).is_file() else None,
        images={image.record.image: image for image in images},
        records=records,
        parts=parts,
        without_part=[record for record in records if not record.part],
        judged=records if run.recipe is None else parts,
        counts=Counter(one.verdict for one in (records if run.recipe is None else parts)),
        region_count=sum(record.n_regions for record in records),
        maps=defect_maps(records),
        axis=axis,
        models=models,
        heat_stops=_heat_stops(),
        places=(100 * REVIEW_PLACE, 100 * NG_PLACE),
        throughput=_throughput(records),
        total_ms=_total(run.milliseconds_median),
        stages={name: value for name, value in run.milliseconds_median.items() if name != "total"},
        viewer=viewer,
        damaged=damaged,
        style=Markup(style),
        script=Markup(script),
        # The browser runs this script and those of the run folder, whatever a file name or a record says.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    return plain(rendered)


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


def _setting(value: object) -> str:
    """A value of run.json's settings as people write it."""
    if isinstance(value, list):
        return "; ".join(map(str, value))
    words = {True: "yes", False: "no", None: "–"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _throughput(records: list[ImageRecord]) -> tuple[float, float] | None:
    """Images an hour and megapixels a second over the inspected images, one after the other; None without any."""
    timed = [(record, _total(record.milliseconds) or 0.0) for record in records if record.verdict != "ERROR"]
    seconds = sum(milliseconds for _, milliseconds in timed) / 1000
    if seconds <= 0:
        return None
    megapixels = sum(record.width * record.height for record, _ in timed) / 1e6
    return 3600 * len(timed) / seconds, megapixels / seconds


def _heat_stops() -> str:
    """The colour scale as stops of a CSS gradient."""
    return ", ".join("#{:02x}{:02x}{:02x}".format(*INFERNO[round(255 * step / 16)]) for step in range(17))
