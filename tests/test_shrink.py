"""Shrinking and its way back: sizes, what a dot keeps, boxes in px of the image that came, and no cost without it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.export.bundle import Bundle, BundleInfo, read_bundle, write_info
from flawmap.export.bundle_seal import seal
from flawmap.export.bundle_writer import tile_info
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.shrink import enlarge, shrink, shrunk_size
from flawmap.training import checkpoint as checkpoints
from flawmap.training.good_images import read_good_images
from tests.bundles import calibration, good_image, make_bundle
from tests.products import tiny_config, write_good, write_untrained


@given(height=st.integers(1, 6000), width=st.integers(1, 6000), longest=st.none() | st.integers(1, 4000))
def test_the_longer_side_is_the_one_that_is_bounded(height: int, width: int, longest: int | None) -> None:
    small = shrunk_size((height, width, 3), longest)
    if longest is None or max(height, width) <= longest:
        assert small == (height, width)
        return
    assert max(small) == longest
    assert min(small) >= 1
    scale = longest / max(height, width)
    assert abs(small[0] - height * scale) < 1
    assert abs(small[1] - width * scale) < 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_shrinking_by_a_whole_number_takes_means(dtype: str, channels: int) -> None:
    image = good_image(96, 144, dtype=dtype, channels=channels)
    small = shrink(image, 36)
    blocks = image.reshape(24, 4, 36, 4, *image.shape[2:]).astype(np.float64).mean(axis=(1, 3))
    assert (small.dtype, small.shape) == (image.dtype, blocks.shape)
    np.testing.assert_allclose(small, blocks, atol=1e-6 if dtype == "float32" else 0.51)


def test_what_is_small_enough_is_not_touched() -> None:
    image = good_image(40, 60)
    assert shrink(image, 60) is image
    assert shrink(image, None) is image


@pytest.mark.parametrize(("side", "left"), [(5, 1.0), (2, (2 / 2.5) ** 2), (1, 1 / 2.5**2)])
def test_what_a_dot_loses_from_5120_to_2048(side: int, left: float) -> None:
    """Where it lies best. A pixel is then 2.5 px wide: 5 px make 2 of them, 1 px is a sixth of one."""
    image = np.zeros((50, 50), np.float32)
    image[10 : 10 + side, 10 : 10 + side] = 1
    assert shrink(image, 20).max() == pytest.approx(left, abs=1e-5)


@settings(max_examples=30)
@given(height=st.integers(2, 40), width=st.integers(2, 40), scale=st.floats(1, 5), seed=st.integers(0, 10**6))
def test_enlarging_stays_within_the_values_and_keeps_places(height: int, width: int, scale: float, seed: int) -> None:
    small = np.random.default_rng(seed).random((height, width), np.float32)
    shape = (round(height * scale), round(width * scale))
    large = enlarge(small, shape)
    assert large.shape == shape
    assert small.min() - 1e-6 <= large.min()
    assert large.max() <= small.max() + 1e-6
    ramp = np.repeat(np.arange(width, dtype=np.float32)[None], height, axis=0)
    # The centre of a pixel lies at (x + 0.5) / scale - 0.5 of the small image, as far as there are neighbours.
    expected = np.clip((np.arange(shape[1]) + 0.5) * width / shape[1] - 0.5, 0, width - 1)
    np.testing.assert_allclose(enlarge(ramp, shape)[0], expected, atol=2e-3)


def test_enlarging_writes_where_it_fits() -> None:
    small = np.random.default_rng(0).random((10, 12), np.float32)
    out = np.empty((20, 24), np.float32)
    assert enlarge(small, (20, 24), out) is out
    np.testing.assert_array_equal(out, cv2.resize(small, (24, 20), interpolation=cv2.INTER_LINEAR))
    for other in (np.empty((20, 25), np.float32), np.empty((20, 24), np.float64)):
        assert enlarge(small, (20, 24), other) is not other
    colour = np.zeros((4, 4, 3), np.uint8)
    assert enlarge(colour, (8, 8)).shape == (8, 8, 3)


def shrinking(bundle: Bundle, longest_side: int | None) -> Bundle:
    image = bundle.info.image.model_copy(update={"longest_side": longest_side})
    return replace(bundle, info=bundle.info.model_copy(update={"image": image}))


def pipeline(bundle: Bundle) -> Pipeline:
    return Pipeline(bundle, TileScorer(bundle, "cpu", threads=1), Thresholds.of(calibration(), 0.1))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_inspection_answers_in_px_of_the_image_that_came(tmp_path: Path, channels: int) -> None:
    bundle = shrinking(make_bundle(tmp_path / "b", channels=channels), 200)
    image = good_image(300, 400, channels=channels)
    image[120:124, 250:254] = 255
    inspection = pipeline(bundle).inspect(image)
    assert inspection.heatmap.shape == (300, 400)
    assert inspection.reconstruction.shape == image.shape
    assert inspection.reconstruction.dtype == image.dtype
    region = inspection.regions[0]
    assert inspection.verdict == "NG"
    assert 115 <= region["y0"] <= 121 < 123 <= region["y1"] <= 130
    assert 245 <= region["x0"] <= 251 < 253 <= region["x1"] <= 260
    assert {"shrink", "enlarge"} <= set(inspection.milliseconds)


def test_the_heatmap_is_that_of_the_small_image_enlarged(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    image = good_image(300, 400, defects=3)
    heatmap, reconstruction = pipeline(shrinking(bundle, 200)).heatmap(image)
    small, small_reconstruction = pipeline(bundle).heatmap(cv2.resize(image, (200, 150), interpolation=cv2.INTER_AREA))
    np.testing.assert_array_equal(heatmap, cv2.resize(small, (400, 300)))
    np.testing.assert_array_equal(reconstruction, cv2.resize(small_reconstruction, (400, 300)))


def test_arrays_are_used_again(tmp_path: Path) -> None:
    line = pipeline(shrinking(make_bundle(tmp_path / "b"), 200))
    first = line.inspect(good_image(300, 400, seed=1, defects=2))
    other = good_image(300, 400, seed=2, defects=2)
    expected = line.inspect(other)
    again = line.inspect(other, recycle=first)
    assert again.heatmap is first.heatmap
    assert again.reconstruction is first.reconstruction
    np.testing.assert_array_equal(again.heatmap, expected.heatmap)


def test_an_image_within_the_bound_goes_the_usual_way(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    image = good_image(150, 200, defects=2)
    plain, bounded = pipeline(bundle).inspect(image), pipeline(shrinking(bundle, 200)).inspect(image)
    np.testing.assert_array_equal(plain.heatmap, bounded.heatmap)
    assert "shrink" not in bounded.milliseconds


def test_the_bundle_remembers_and_older_ones_read(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    older: dict[str, Any] = bundle.info.model_dump()
    del older["image"]["longest_side"]
    assert BundleInfo.model_validate(older).image.longest_side is None
    write_info(bundle.folder, shrinking(bundle, 640).info)
    seal(bundle.folder)
    assert read_bundle(bundle.folder).info.image.longest_side == 640


def test_training_reads_what_inspection_will_see(tmp_path: Path) -> None:
    paths = write_good(tmp_path / "good", 2, side=200)
    reading: dict[str, Any] = {"tile_size": 32, "multiple": 4, "border": 8, "padding": "replicate", "cache_gib": 1.0}
    images = read_good_images(paths, longest_side=100, **reading)
    assert images.padded[0].shape == (116, 116)
    assert read_good_images(paths, **reading).padded[0].shape == (216, 216)


def test_the_tile_fits_the_shrunken_images(tmp_path: Path) -> None:
    sizes = {}
    for name, longest_side in (("full", None), ("small", 64)):
        config = tiny_config(image={"longest_side": longest_side})
        path = write_untrained(tmp_path / name, config)
        good = write_good(tmp_path / name / "good", 4, side=900)
        assert good
        sizes[name] = tile_info(checkpoints.load(path)).size
    assert sizes["small"] == 256 < sizes["full"]
