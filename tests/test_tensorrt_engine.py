"""What TensorRT would be told; nobody here can run it."""

import logging
from pathlib import Path

import pytest

from flawmap.export.bundle import FasterModel
from flawmap.inspect.scoring.tensorrt_engine import engine_folder, engine_options
from tests.bundles import calibration, make_bundle


def test_engines_are_kept_and_waiting_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    caplog.set_level(logging.INFO, "flawmap")
    bundle = make_bundle(tmp_path / "bundle")
    folder = tmp_path / "caches" / "flawmap" / "tensorrt" / bundle.digest[:16]
    options = engine_options(bundle)
    assert folder.is_dir() and engine_folder(bundle) == folder
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(folder)
    assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "True"
    assert options["trt_fp16_enable"] == "False"
    assert f"takes minutes, at the first start and for each new size of image (kept in {folder})" in caplog.text
    caplog.clear()
    (folder / "kept.engine").write_bytes(b"engine")
    assert engine_options(bundle) == options
    assert caplog.text == ""


def test_half_precision_is_for_those_that_were_shown_to_bear_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bundle = make_bundle(tmp_path / "bundle")
    half = FasterModel(
        device="tensorrt", precision="fp16", model="m", golden_score="g", tolerance=0.1, calibration=calibration(),
        comparison={},
    )  # fmt: skip
    assert engine_options(bundle.with_model(half))["trt_fp16_enable"] == "True"


def test_without_a_cache_folder_every_start_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flawmap")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert engine_options(make_bundle(tmp_path / "bundle")) == {"trt_fp16_enable": "False"}
    assert "takes minutes, at every start: its cache folder cannot be written" in caplog.text
