"""A picture inspected in bands of rows is judged as it is in one go: heatmap, regions and severities, bit for bit."""

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.export.calibration_record import BorderZone
from flawmap.inspect.pipeline import Inspection, Outcome, Pipeline
from flawmap.inspect.rules.findings import SHAPE_DTYPE
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.strip_pipeline import StripFiles, StripPipeline
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import write_image
from flawmap.tiling.strips.open_rows import open_rows
from tests.bundles import calibration, good_image, make_bundle

# tile size, overlap, border, stride, channels, dtype
GEOMETRIES = [
    (32, 8, 8, 4, 1, "uint8"),
    (64, 16, 0, 4, 3, "uint8"),
    (48, 24, 16, 8, 1, "uint16"),
    (40, 12, 44, 4, 1, "float32"),  # a border wider than a tile
]
ZONES = [
    BorderZone(from_px=0, to_px=3, factor=0.5, offset=0.4),
    BorderZone(from_px=3, to_px=16, factor=0.9, offset=0.1),
]


@pytest.fixture(scope="module")
def pipelines() -> Iterator[list[Pipeline]]:
    with tempfile.TemporaryDirectory() as folder:
        made = []
        for number, (size, overlap, border, stride, channels, dtype) in enumerate(GEOMETRIES):
            bundle = make_bundle(
                Path(folder) / str(number),
                channels=channels,
                dtype=dtype,
                tile_size=size,
                overlap=overlap,
                border=border,
                stride=stride,
            )
            bordered = calibration().model_copy(update={"border": ZONES})
            made.append(Pipeline(bundle, TileScorer(bundle, "cpu"), Thresholds.of(bordered, 0.1)))
        yield made


@dataclass
class Found:
    """All that an inspection in bands says, in memory."""

    outcome: Outcome
    image: NDArray[Any]
    heatmap: NDArray[np.float32]
    reconstruction: NDArray[Any]
    n_bands: int


def inspected(pipeline: Pipeline, path: Path, band_pixels: int) -> Found:
    strips = StripPipeline(pipeline, band_pixels=band_pixels)
    with open_rows(path) as rows, StripFiles(path.parent, rows) as files:
        n_bands = len(strips.grid_bands(rows))
        outcome = strips.inspect(rows, files)
        return Found(outcome, files.image[:, :], files.heatmap[:, :], files.reconstruction[:, :], n_bands)


def assert_same(found: Found, expected: Inspection, image: NDArray[Any]) -> None:
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.heatmap, expected.heatmap)
    np.testing.assert_array_equal(found.reconstruction, expected.reconstruction)
    for name in ("regions", "severities", "candidates"):
        np.testing.assert_array_equal(getattr(found.outcome, name), getattr(expected, name))
    for some, others in ((found.outcome.found, expected.found), (found.outcome.below, expected.below)):
        for name in SHAPE_DTYPE.names or ():  # lengths, widths, contrasts; NaN equals NaN
            np.testing.assert_array_equal(some.shapes[name], others.shapes[name])
        assert some.verdicts == others.verdicts
    assert found.outcome.severity == expected.severity
    assert found.outcome.verdict == expected.verdict


@settings(max_examples=40)
@given(
    geometry=st.integers(0, len(GEOMETRIES) - 1),
    height=st.integers(1, 400),
    width=st.integers(1, 150),
    band_pixels=st.integers(1, 30_000),
    seed=st.integers(0, 1000),
)
def test_bands_give_what_the_whole_picture_gives(
    pipelines: list[Pipeline], geometry: int, height: int, width: int, band_pixels: int, seed: int
) -> None:
    pipeline = pipelines[geometry]
    *_, channels, dtype = GEOMETRIES[geometry]
    image = good_image(height, width, channels=channels, dtype=dtype, seed=seed, defects=seed % 5)
    # A scratch through all rows and all joins.
    image[:, width // 2 : width // 2 + 2] = image.max()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "strip.tif"
        write_image(path, image)
        assert_same(inspected(pipeline, path, band_pixels), pipeline.inspect(image), image)


def test_a_region_goes_through_all_bands(pipelines: list[Pipeline], tmp_path: Path) -> None:
    image = good_image(700, 60, seed=3)
    image[10:690, 30:32] = 255
    write_image(tmp_path / "strip.png", image)
    found = inspected(pipelines[0], tmp_path / "strip.png", 5000)
    assert found.n_bands > 8
    assert_same(found, pipelines[0].inspect(image), image)
    (region,) = found.outcome.regions
    assert (region["y0"], region["y1"]) == (10, 690)
    assert set(found.outcome.milliseconds) == {"decode", "cut", "score", "stitch", "regions", "write"}


def test_what_does_not_fit_the_bundle_is_refused(pipelines: list[Pipeline], tmp_path: Path) -> None:
    write_image(tmp_path / "deep.tif", good_image(300, 60, dtype="uint16"))
    with pytest.raises(ImageError, match="the image is mono uint16, the bundle was trained on mono uint8"):
        inspected(pipelines[0], tmp_path / "deep.tif", 5000)
    write_image(tmp_path / "strip.tif", good_image(300, 60))
    bundle = make_bundle(tmp_path / "shrinking", longest_side=100)
    pipeline = Pipeline(bundle, pipelines[0].lanes, pipelines[0].thresholds)
    refused = re.escape("60x300 px is too large to be held as a whole, which `image.longest_side` needs: train without")
    with pytest.raises(ImageError, match=refused):
        inspected(pipeline, tmp_path / "strip.tif", 5000)


def test_rows_that_cannot_be_read_stop_this_picture(pipelines: list[Pipeline], tmp_path: Path) -> None:
    path = tmp_path / "strip.png"
    write_image(path, good_image(700, 60))
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ImageError, match="the PNG is damaged"):
        inspected(pipelines[0], path, 5000)
