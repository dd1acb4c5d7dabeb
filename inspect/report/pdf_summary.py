"""The summary of a run for the quality file: one PDF that prints on A4.

What was inspected, when, with what and at which false-alarm rate; how many of each verdict; where regions lie; every
image (or part) that is not OK; and the worst of them with their pictures.
"""

from collections import Counter
from datetime import datetime
from pathlib import Path

from matplotlib.patches import Rectangle

from flawmap.inspect.report.defect_map import DefectMap, defect_maps
from flawmap.inspect.report.page_text import number, severity
from flawmap.inspect.report.part_rows import PartRow, axis_of_parts, part_rows
from flawmap.inspect.report.pdf_sheets import GREY, INK, INSIDE, LINE, SMALL, TITLE, Sheets, sheets
from flawmap.inspect.report.severity_axis import SeverityAxis, worst_first
from flawmap.inspect.run.recorded_run import RecordedRun
from flawmap.inspect.run.records import ImageRecord, RegionRecord
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image
from flawmap.tiling.whole_file import write_whole

ROWS_MAX = 300  # of images that are not OK; the others are in images.csv
PICTURED_MAX = 10  # images
STRIPS_MAX = 3  # regions of one
# On white paper, WCAG AA; the verdict's word always stands beside its colour.
COLOURS = {"NG": "#b3261e", "REVIEW": "#8a5a00", "OK": "#1b6e4a", "ERROR": "#5b3fa8"}


def write_pdf(run: RecordedRun, evaluated: str, path: Path) -> None:
    """Writes the summary to `path`, whole or not at all; OSError where it cannot be written.

    `evaluated`: what `flawmap evaluate` found about the run, as text; empty where it was not asked.
    """
    records = worst_first([image.record for image in run.images], lambda record: record.image)
    parts = [] if run.info.recipe is None else part_rows(run.info.recipe, records)
    footer = (
        f"flawmap {run.info.versions.get('flawmap', '')}, bundle {run.info.bundle_sha256[:12]}, {run.info.started[:16]}"
    )
    with write_whole(path) as temporary, sheets(temporary, f"Inspection of {run.info.product}", footer) as pdf:
        pdf.new_sheet()
        _front(pdf, run, records, parts)
        if evaluated:
            pdf.heading("Against the truth")
            for line in evaluated.splitlines():
                pdf.line([(0, line)])
        _signatures(pdf)
        for drawn in defect_maps(records):
            _defect_map(pdf, drawn)
        if parts:
            _parts_table(pdf, parts)
        _images_table(pdf, records)
        _pictures(pdf, run, [record for record in records if record.verdict in ("NG", "REVIEW")])


def _front(pdf: Sheets, run: RecordedRun, records: list[ImageRecord], parts: list[PartRow]) -> None:
    info = run.info
    pdf.heading(f"Inspection of {info.product}", TITLE)
    pdf.line([(0, _when(run))], colour=GREY)
    pdf.y += 4
    if parts:
        _counts(pdf, "parts", Counter(part.verdict for part in parts))
    _counts(pdf, "images", Counter(record.verdict for record in records))
    regions = sum(record.n_regions for record in records)
    dropped = sum(region.dropped for record in records for region in record.regions)
    facts = [
        ("regions", f"{regions}" + (f", and {dropped} that rules dropped" if dropped else "")),
        ("bundle", f"{info.bundle}"),
        ("SHA-256", info.bundle_sha256),
        ("device", info.device + (f" ({info.device_note})" if info.device_note else "")),
        ("flawmap", info.versions.get("flawmap", "")),
    ]
    if info.recipe is None:
        facts += _judged_by("", info.settings.get("false_alarms"), info.thresholds)
    else:
        for model in info.recipe.models:
            facts += _judged_by(f"camera {model.camera}: ", model.false_alarms, model.thresholds)
    if run.damaged:
        facts.append(("left out", f"records that cannot be read: {len(run.damaged)}, the first {run.damaged[0]}"))
    if info.calibration_note:
        facts.append(("note", info.calibration_note))
    pdf.heading("What was inspected, and how")
    for name, value in facts:
        _fact(pdf, name, value)
    _severities(pdf, run, records, parts)


def _when(run: RecordedRun) -> str:
    info = run.info
    started = datetime.fromisoformat(info.started).strftime("%Y-%m-%d %H:%M")
    if info.finished is None:
        return f"begun {started}, {info.state}"
    finished = datetime.fromisoformat(info.finished).strftime("%Y-%m-%d %H:%M")
    return f"{started} to {finished}" + ("" if info.state == "finished" else f", {info.state}")


def _judged_by(whose: str, false_alarms: object, thresholds: dict[str, float]) -> list[tuple[str, str]]:
    allowed = 10 ** -thresholds["severity_ng"] if false_alarms is None else false_alarms
    review, ng = (severity(thresholds[name]) for name in ("severity_review", "severity_ng"))
    return [
        ("false alarms", f"{whose}{float(str(allowed)):.3g} false regions on a good image allowed"),
        ("severity", f"{whose}REVIEW from {review}, NG from {ng}"),
    ]


def _fact(pdf: Sheets, name: str, value: str, per_line: int = 88) -> None:
    """A fact over as many lines as it takes."""
    words, line, lines = value.split(), "", []
    for word in words:
        if line and len(line) + 1 + len(word) > per_line:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    for index, text in enumerate([*lines, line]):
        pdf.line([(0, name if index == 0 else ""), (30, text)])


def _counts(pdf: Sheets, what: str, counts: Counter[str]) -> None:
    """How many of each verdict, large."""
    height, wide = 17.0, INSIDE / 5
    pdf.need(height + 4)
    axes = pdf.plot(height)
    axes.set(xlim=(-0.5, INSIDE - 0.5), ylim=(-0.5, height + 0.5))
    axes.set_axis_off()
    shown = [(what, sum(counts.values()), INK), *((v, counts[v], COLOURS[v]) for v in ("OK", "REVIEW", "NG", "ERROR"))]
    for place, (name, count, colour) in enumerate(shown):
        axes.add_patch(Rectangle((place * wide, 0), wide - 3, height, fill=False, edgecolor=colour, linewidth=1.2))
        axes.text(place * wide + 3, 7, str(count), fontsize=17, color=colour, weight="bold")
        axes.text(place * wide + 3, 2.5, name, fontsize=SMALL, color=colour)
    pdf.y += height + 4


def _severities(pdf: Sheets, run: RecordedRun, records: list[ImageRecord], parts: list[PartRow]) -> None:
    """The histogram of the report's page."""
    info, height = run.info, 38.0
    if info.recipe is None:
        axis = SeverityAxis.around(records, info.thresholds["severity_review"], info.thresholds["severity_ng"])
    else:
        axis = axis_of_parts(info.recipe, parts, records)
    judged = parts or records
    pdf.heading(f"Severity of the {'parts' if parts else 'images'}")
    pdf.need(height + 14)
    pdf.y += 4
    axes = pdf.plot(height)
    for bar in axis.bars(judged):
        axes.bar(
            bar.left,
            bar.height,
            bar.width,
            bar.bottom,
            align="edge",
            color=COLOURS[bar.verdict],
            edgecolor="white",
            linewidth=0.3,
        )
    for place, name in ((axis.review, "REVIEW"), (axis.ng, "NG")):
        axes.axvline(axis.percent(place), color=INK, linestyle="--" if name == "REVIEW" else "-", linewidth=0.8)
        axes.text(axis.percent(place), 103, name, fontsize=SMALL, ha="right" if name == "REVIEW" else "left")
    axes.set(xlim=(0, 100), ylim=(0, 100))
    axes.set_xticks(
        [axis.percent(tick) for tick in axis.ticks()], [severity(tick).removesuffix(".00") for tick in axis.ticks()]
    )
    axes.set_yticks([])
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right", "left"]].set_visible(False)
    pdf.y += height + 6
    beyond = f"; what lies beyond {number(axis.high)} is drawn there" if axis.ends_before(judged) else ""
    pdf.line(
        [(0, "−log10 of how many such regions a good image shows; bars have square-root heights" + beyond)],
        size=SMALL,
        colour=GREY,
    )


def _signatures(pdf: Sheets) -> None:
    pdf.need(18)
    pdf.y += 12
    pdf.line([(0, "Reviewed by " + "_" * 34), (95, "Date, signature " + "_" * 30)])


def _defect_map(pdf: Sheets, drawn: DefectMap) -> None:
    """All regions over one outline."""
    share = min(INSIDE / drawn.width, 95 / drawn.height)
    wide, high = drawn.width * share, drawn.height * share
    pdf.need(high + 30)
    camera = f", camera {drawn.camera}" if drawn.camera else ""
    pdf.heading(f"Where regions lie{camera}")
    pdf.line(
        [(0, f"regions: {drawn.n_regions}, on {drawn.n_images} images; shaded where those of several images gather")],
        colour=GREY,
    )
    pdf.y += 3
    axes = pdf.plot(high, width=wide)
    for cell in drawn.cells:
        axes.add_patch(
            Rectangle((cell.x, cell.y), cell.width, cell.height, color=INK, alpha=0.08 + 0.27 * cell.share, linewidth=0)
        )
    for mark in drawn.marks:
        axes.add_patch(
            Rectangle(
                (mark.x, mark.y), mark.width, mark.height, fill=False, edgecolor=COLOURS[mark.verdict], linewidth=0.8
            )
        )
    axes.set(xlim=(0, drawn.width), ylim=(drawn.height, 0), xticks=[], yticks=[])
    pdf.y += high + 4


def _parts_table(pdf: Sheets, parts: list[PartRow]) -> None:
    pdf.heading("Parts that are not OK")
    shown = [part for part in parts if part.verdict != "OK"]
    columns = (0.0, 52.0, 68.0, 83.0)
    pdf.line(list(zip(columns, ("part", "verdict", "severity", "decided by"), strict=True)), bold=True, size=SMALL)
    for part in shown[:ROWS_MAX]:
        missing = ", ".join(part.result.missing_cameras)
        said = f"no picture of {missing}" if missing else part.result.worst_image
        level = "" if part.verdict == "ERROR" else severity(part.severity)
        cells = list(zip(columns, (part.name, part.verdict, level, said), strict=True))
        pdf.line(cells, size=SMALL, colour=COLOURS[part.verdict])
    _rest(pdf, len(shown), "parts.csv")


def _images_table(pdf: Sheets, records: list[ImageRecord]) -> None:
    pdf.heading("Images that are not OK")
    shown = [record for record in records if record.verdict != "OK"]
    columns = (0.0, 52.0, 68.0, 83.0, 97.0)
    names = ("image", "verdict", "severity", "regions", "worst region, or why not inspected")
    pdf.line(list(zip(columns, names, strict=True)), bold=True, size=SMALL)
    for record in shown[:ROWS_MAX]:
        level = "" if record.verdict == "ERROR" else severity(record.severity)
        said = record.error or (_in_words(record.regions[0]) if record.regions else "")
        cells = (record.image, record.verdict, level, str(record.n_regions), said)
        pdf.line(list(zip(columns, cells, strict=True)), size=SMALL, colour=COLOURS[record.verdict])
    _rest(pdf, len(shown), "images.csv")


def _rest(pdf: Sheets, count: int, table: str) -> None:
    if count > ROWS_MAX:
        pdf.line([(0, f"and {count - ROWS_MAX} more: {table} of the run has them all")], size=SMALL, colour=GREY)
    elif not count:
        pdf.line([(0, "none")], size=SMALL, colour=GREY)


def _pictures(pdf: Sheets, run: RecordedRun, records: list[ImageRecord]) -> None:
    """The worst images, each with the strips of its worst regions: crop, heat and reconstruction."""
    height = 74.0
    for index, record in enumerate(records[:PICTURED_MAX]):
        pdf.need(height + 30)
        if index == 0:
            pdf.heading("The worst images" if len(records) > PICTURED_MAX else "Images")
        pdf.line(
            [(0, f"{record.verdict}, severity {severity(record.severity)}: {record.image}")],
            bold=True,
            colour=COLOURS[record.verdict],
        )
        pdf.y += 2
        _picture(pdf, run, record.overlay, height, width=height)
        begin = pdf.y
        counted = [region for region in record.regions if not region.dropped]
        for region in counted[:STRIPS_MAX]:
            pdf.line([(height + 6, f"{region.region}: {_in_words(region)}")], size=SMALL)
            pdf.y += 1
            _picture(
                pdf, run, region.picture, height / STRIPS_MAX - LINE - 2, width=INSIDE - height - 6, left=height + 6
            )
            pdf.y += height / STRIPS_MAX - LINE - 1
        pdf.y = begin + height + 4
    if len(records) > PICTURED_MAX:
        pdf.line([(0, f"and {len(records) - PICTURED_MAX} more, in the run's report")], size=SMALL, colour=GREY)


def _picture(
    pdf: Sheets, run: RecordedRun, picture: str | None, height: float, *, width: float, left: float = 0.0
) -> None:
    """A picture of the run folder, where it is still there."""
    if picture is None or ".." in Path(picture).parts or Path(picture).is_absolute():
        return
    try:
        pixels = read_image(run.folder / picture)
    except ImageError:
        return
    pdf.picture(pixels if pixels.ndim == 3 else pixels[..., None].repeat(3, axis=2), height, width=width, left=left)


def _in_words(region: RegionRecord) -> str:
    size = f"{region.x_max - region.x_min} × {region.y_max - region.y_min} px"
    if region.length_mm is not None and region.width_mm is not None:
        size = f"{number(region.length_mm)} × {number(region.width_mm)} mm"
    named = f"{region.defect_class}, " if region.defect_class else ""
    return f"{named}{size} at x {region.x_min}, y {region.y_min}"
