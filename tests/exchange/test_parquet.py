"""Runs as Parquet tables, opened by pyarrow."""

import json
from pathlib import Path

import pyarrow.parquet as parquet

from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.run.recorded_run import RecordedRun
from tests.written_runs import HOSTILE, image_record, run_info, write_run


def test_parquet_says_what_the_records_say(run_dir: Path, recorded: RecordedRun, tmp_path: Path) -> None:
    convert(run_dir, Format.PARQUET, tmp_path)
    images = parquet.read_table(tmp_path / "images.parquet")
    regions = parquet.read_table(tmp_path / "regions.parquet")
    assert not (tmp_path / "parts.parquet").exists()
    rows = images.to_pylist()
    assert [row["image"] for row in rows] == [image.record.image for image in recorded.images]
    assert [row["severity"] for row in rows] == [
        None if image.record.verdict == "ERROR" else image.record.severity for image in recorded.images
    ]
    assert rows[-1]["verdict"] == "ERROR" and rows[-1]["width"] is None and rows[-1]["error"]
    assert rows[0]["pixel_x_um"] == 20.0 and rows[0]["inspected"].tzinfo is not None
    expected = [(image.record.image, one) for image in recorded.images for one in image.record.regions]
    for row, (name, one) in zip(regions.to_pylist(), expected, strict=True):
        assert row["image"] == name and row["score_max"] == one.score_max and row["length_mm"] == one.length_mm
        assert row["rule"] is None and row["area_px"] == one.area_px
    told = json.loads(images.schema.metadata[b"flawmap.run"])
    assert told["bundle_sha256"] == recorded.info.bundle_sha256


def test_parquet_has_the_columns_of_the_tables(run_dir: Path, tmp_path: Path) -> None:
    convert(run_dir, Format.PARQUET, tmp_path)
    for name in ("images", "regions"):
        header = (run_dir / f"{name}.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
        assert parquet.read_schema(tmp_path / f"{name}.parquet").names[: len(header)] == header


def test_parquet_holds_hostile_names_and_what_rules_dropped(hostile: Path, tmp_path: Path) -> None:
    convert(hostile, Format.PARQUET, tmp_path)
    names = parquet.read_table(tmp_path / "images.parquet")["image"].to_pylist()
    assert set(names) >= {HOSTILE[0], r"caf\udce9 %41#frag?x=1.png", r"lone \ud800.png"}
    verdicts = parquet.read_table(tmp_path / "regions.parquet")["verdict"].to_pylist()
    assert verdicts.count("OK") == verdicts.count("NG") == len(HOSTILE)


def test_parquet_of_a_run_without_regions(tmp_path: Path) -> None:
    write_run(tmp_path / "run", [image_record("a.png")], run_info())
    convert(tmp_path / "run", Format.PARQUET, tmp_path / "out")
    assert parquet.read_table(tmp_path / "out" / "regions.parquet").num_rows == 0
