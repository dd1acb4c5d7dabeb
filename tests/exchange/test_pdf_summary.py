"""The PDF summary, its text read by poppler."""

import json
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.report.pdf_sheets import SETTINGS, fitted, printable
from flawmap.inspect.run.recorded_run import RecordedRun
from tests.exchange.pdf_text import pdf_text
from tests.written_runs import image_record, region, run_info, write_run


def test_pdf_says_what_was_found(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    convert(run_dir, Format.PDF, tmp_path / "summary.pdf")
    text = pdf_text(tmp_path / "summary.pdf")
    assert "Inspection of toy" in text and recorded.info.bundle_sha256 in text
    assert "0.1 false regions on a good image allowed" in text and "REVIEW from 0.70, NG from 1.00" in text
    assert re.search(r"torn\.png +ERROR +0 +", text) and "lot 1/ünï.png" in text
    worst = next(image.record for image in recorded.images if image.record.image == "bad.png").regions[0]
    assert f"at x {worst.x_min}, y {worst.y_min}" in text
    assert "Against the truth" not in text and "Reviewed by" in text
    assert (tmp_path / "summary.pdf").read_bytes().count(b"/Subtype /Image") >= 4 * 3


def test_pdf_of_hostile_names(hostile: Path, tmp_path: Path) -> None:
    """No name is markup, a formula, or beyond the font; pictures that are gone are left out."""
    names = ["$x^2$ 漢.png", "a" * 300 + "end.png"]
    for index, name in enumerate(names):
        one = image_record(name, verdict="NG", severity=2.0, regions=[region((1, 1, 9, 9), picture="../../up.png")])
        (hostile / "regions" / f"x{index}.json").write_text(json.dumps(one.model_dump()))
    convert(hostile, Format.PDF, tmp_path / "summary.pdf")
    text = pdf_text(tmp_path / "summary.pdf")
    assert r"$x^2$ \u6f22.png" in text and "…" in text and "end.png" in text
    assert "<script>alert(1)</script>.png" in text and r"caf\xe9" in text and "truncated <PNG>" in text
    assert "and 7 that rules dropped" in text


@settings(max_examples=40)
@given(st.text(max_size=60), st.floats(5, 80), st.sampled_from(["normal", "bold"]))
def test_no_text_reaches_into_the_next(text: str, room: float, weight: str) -> None:
    """Against the width that matplotlib itself lays the text out with."""
    shown = fitted(text, room, 9, weight)
    with rc_context(SETTINGS):
        drawn = Figure(dpi=720).text(0, 0, shown, fontsize=9, weight=weight)
        width = drawn.get_window_extent(FigureCanvasAgg(drawn.figure).get_renderer()).width / 720 * 25.4
    assert width <= room + 0.3 or len(shown) <= 3
    assert shown == printable(text) or "…" in shown


def test_pdf_of_a_long_run_and_of_an_empty_one(tmp_path: Path) -> None:
    records = [
        image_record(f"{i}.png", verdict="NG", severity=1.5, regions=[region((i, i, i + 9, i + 9))]) for i in range(340)
    ]
    write_run(tmp_path / "long", records, run_info())
    convert(tmp_path / "long", Format.PDF, tmp_path / "long.pdf")
    text = pdf_text(tmp_path / "long.pdf")
    assert "and 40 more: images.csv of the run has them all" in text and "and 330 more, in the run's report" in text
    write_run(tmp_path / "empty", [], run_info(finished=None, state="interrupted"))
    convert(tmp_path / "empty", Format.PDF, tmp_path / "empty.pdf")
    assert "interrupted" in pdf_text(tmp_path / "empty.pdf")
