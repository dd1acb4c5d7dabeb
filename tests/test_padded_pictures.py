"""Training on pictures too large to be held as a whole: windows of them, within the memory allowed."""

import csv
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.export.bundle import read_bundle
from flawmap.export.bundle_writer import write_bundle
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_image, write_image
from flawmap.training.fit import train
from flawmap.training.good_images import GoodImages, read_good_images
from flawmap.training.hard_places import Peak
from flawmap.training.padded_pictures import WINDOW_ROWS, window_places
from flawmap.training.suspicious import write_suspicious
from flawmap.training.tile_batches import HardPlace
from tests.products import draw_good, silent, tiny_config

STRIP_PIXELS = "flawmap.tiling.strips.open_rows.STRIP_PIXELS"
READING: dict[str, Any] = {"tile_size": 64, "multiple": 4, "border": 16, "padding": "replicate"}


@given(
    length=st.integers(1, 3000),
    most=st.integers(0, 20_000),
    fewest=st.integers(1, 100),
    multiple=st.sampled_from([1, 8]),
)
def test_windows_are_spread_and_stay_within_what_is_allowed(length: int, most: int, fewest: int, multiple: int) -> None:
    length, fewest = max(length, fewest) * multiple, fewest * multiple
    tops, height = window_places(length, most, fewest, multiple)
    assert height % multiple == 0 and all(top % multiple == 0 for top in tops)
    assert fewest <= height <= length
    assert len(tops) * height <= max(most, fewest)
    assert all(b - a >= height for a, b in pairwise(tops))
    if len(tops) > 1:
        assert (tops[0], tops[-1] + height) == (0, length)
        assert height >= min(WINDOW_ROWS, most // 2)
        assert max(np.diff(tops)) - min(np.diff(tops)) <= multiple
    else:
        assert abs(2 * tops[0] + height - length) <= 2 * multiple


def write_strips(folder: Path, count: int, height: int = 900, width: int = 70, **kind: object) -> list[Path]:
    folder.mkdir()
    paths = [folder / f"{i}.tif" for i in range(count)]
    for i, path in enumerate(paths):
        write_image(path, draw_good(height, width, seed=i, **kind))  # type: ignore[arg-type]
    return paths


@pytest.mark.parametrize("channels", [1, 3])
def test_windows_are_cut_from_the_padded_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    paths = write_strips(tmp_path / "good", 3, channels=channels)
    write_image(tmp_path / "small.tif", draw_good(100, 90, channels=channels, seed=9))
    monkeypatch.setattr(STRIP_PIXELS, 20_000)
    monkeypatch.setattr("flawmap.training.padded_pictures.WINDOW_ROWS", 80)
    allowed = 4 * 200 * 104 * channels  # 200 rows a picture
    images = read_good_images([*paths, tmp_path / "small.tif"], cache_gib=allowed / 2**30, **READING)
    assert images.in_windows and images.left_out == 0
    assert (len(images.padded), images.n_pictures) == (7, 4)
    assert sum(padded.nbytes for padded in images.padded) <= allowed
    for path, padded, top, size in zip(images.paths, images.padded, images.tops, images.sizes, strict=True):
        image = read_image(path)
        grid = TileGrid(*image.shape[:2], 64, 0, multiple=4, border=16, padding="replicate")
        assert size == image.shape[:2]
        np.testing.assert_array_equal(padded, grid.pad(image)[top : top + len(padded)])
    assert images.place_in_picture(1, 3, 20) == (images.tops[1] + 3 - 16, 4)


def test_pictures_that_fit_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_strips(tmp_path / "good", 2)
    whole = read_good_images(paths, cache_gib=1, **READING)
    monkeypatch.setattr(STRIP_PIXELS, 20_000)
    images = read_good_images(paths, cache_gib=1, **READING)
    assert not images.in_windows and images.tops == [0, 0]
    for some, others in zip(images.padded, whole.padded, strict=True):
        np.testing.assert_array_equal(some, others)


def test_what_needs_whole_pictures_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_strips(tmp_path / "good", 1)
    monkeypatch.setattr(STRIP_PIXELS, 20_000)
    images = read_good_images(paths, cache_gib=1e-5, needs_whole="`alignment`", **READING)
    assert images.padded[0].shape == (932, 104)
    monkeypatch.setattr("flawmap.training.padded_pictures.WHOLE_PIXELS", 30_000)
    said = "0.tif: 70x900 px is too large to be held as a whole, which `alignment` needs: train without it"
    with pytest.raises(ImageError, match=said):
        read_good_images(paths, cache_gib=1, needs_whole="`alignment`", **READING)


def test_pictures_that_differ_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = write_strips(tmp_path / "good", 1)
    (other,) = write_strips(tmp_path / "deep", 1, dtype="uint16")
    monkeypatch.setattr(STRIP_PIXELS, 20_000)
    with pytest.raises(UsageError, match=r"good images differ: .*0\.tif is mono uint8, .*0\.tif is mono uint16"):
        read_good_images([path, other], cache_gib=1, **READING)


def test_suspicious_places_are_given_in_the_picture(tmp_path: Path) -> None:
    padded = [draw_good(300, 260, seed=seed) for seed in range(2)]
    images = GoodImages([Path("a.tif")] * 2, list(padded), 16, 0, [(5000, 228)] * 2, tops=[0, 4000], in_windows=True)
    write_suspicious(tmp_path, [Peak(9.0, HardPlace(1, 100, 60)), Peak(8.0, HardPlace(0, 100, 60))], images)
    with (tmp_path / "suspicious.csv").open(newline="") as file:
        rows = [(row["image"], int(row["x"]), int(row["y"])) for row in csv.DictReader(file)]
    assert rows == [("a.tif", 44, 4084), ("a.tif", 44, 84)]


def test_from_good_strips_to_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training, calibration and inspection, none of which reads a picture as a whole."""
    paths = write_strips(tmp_path / "good", 6)

    def refuse(path: Path, *_: object) -> None:
        raise AssertionError(f"{path} was read as a whole")

    for module in ("inspect.calibration.calibrate_bundle", "inspect.read_ahead", "export.new_bundle"):
        monkeypatch.setattr(f"flawmap.{module}.read_image", refuse)
    monkeypatch.setattr("flawmap.training.padded_pictures.read_picture", refuse)
    monkeypatch.setattr(STRIP_PIXELS, 20_000)
    monkeypatch.setattr("flawmap.inspect.strip_pipeline.BAND_PIXELS", 20_000)
    cache_gib = 4 * 300 * 104 / 2**30
    config = tiny_config(alignment="auto", learning={"steps": 20, "cache_gib": cache_gib}, tile={"size": 128})
    checkpoint = train(paths, config, tmp_path / "work", device="cpu", report=silent)
    written = write_bundle(checkpoint, tmp_path / "strips.bundle")
    calibrate_bundle(tmp_path / "strips.bundle", written.held_out, 0.1)
    info = read_bundle(tmp_path / "strips.bundle").info
    assert info.alignment is None
    assert info.provenance["images_trained_on"] + info.provenance["images_standardised_on"] + len(written.held_out) == 6
    run = inspect_folder([tmp_path / "good"], tmp_path / "strips.bundle", tmp_path / "run")
    assert run.counts["images"] == 6 and run.counts["ERROR"] == 0
