"""The axis on which the report lays severities."""

from pathlib import Path

import numpy as np

from flawmap.inspect.report.severity_axis import SeverityAxis
from flawmap.inspect.run.layout import image_data_path
from flawmap.inspect.run.recorded_run import read_recorded_run
from tests.written_runs import image_record, region, run_info, write_run


def test_histogram_holds_every_inspected_image_once() -> None:
    rng = np.random.default_rng(2)
    verdicts = rng.choice(["OK", "REVIEW", "NG", "ERROR"], 300)
    records = [image_record("a", verdict=v, severity=s) for v, s in zip(verdicts, rng.normal(1, 2, 300), strict=True)]
    axis = SeverityAxis.around(records, 0.7, 1.0)
    bars = axis.bars(records)
    assert sum(bar.count for bar in bars) == int((verdicts != "ERROR").sum())
    assert all(0 <= bar.left < 100 and bar.bottom + bar.height < 100.1 for bar in bars)
    assert 0 < axis.percent(0.7) < axis.percent(1.0) < 100 and len(axis.ticks()) <= 12


def test_a_severity_beyond_all_good_images_stretches_no_axis(tmp_path: Path) -> None:
    """700 is a word, no measurement; the records keep it."""
    spots = [region((1, 1, 5, 6), severity=703.41), region((9, 9, 12, 12), 2, severity=99.0)]
    records = [image_record("a.png", verdict="NG", severity=703.41, regions=spots), image_record("b.png")]
    axis = SeverityAxis.around(records, 0.7, 1.0)
    assert axis.high == 20 and axis.percent(703.41) == 100 and axis.ends_before(records)
    assert axis.percent(1.0) > 4, "NG can be told from the lower end"
    assert not SeverityAxis.around(records[1:], 0.7, 1.0).ends_before(records[1:])
    write_run(tmp_path, records, run_info())
    page, data = ((tmp_path / name).read_text("utf-8") for name in ("index.html", image_data_path("0000")))
    assert "&gt;99<" in page and ">703" not in page and "What lies beyond 20 is drawn there." in page
    assert '">99"' in data and '"99.00"' in data and "703" not in data
    assert read_recorded_run(tmp_path).images[0].record.severity == 703.41
