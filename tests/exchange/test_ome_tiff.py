"""Heatmaps as pyramidal OME-TIFF, opened by tifffile, its metadata by the schema of OME."""

from pathlib import Path

import numpy as np
import ome_types
import pytest
import tifffile
import xmlschema
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from flawmap.inspect.convert import convert
from flawmap.inspect.exchange.formats import Format
from flawmap.inspect.exchange.ome_tiff import halved, level_shapes
from flawmap.inspect.report.pictures import write_heatmap
from flawmap.inspect.run.heatmap_file import open_heatmap, read_heatmap
from flawmap.tiling.errors import ImageError, UsageError
from tests.command_line import run as flawmap
from tests.written_runs import image_record, run_info, write_run


def test_ome_tiff_is_a_pyramid_with_valid_metadata(run_dir: Path, tmp_path: Path) -> None:
    converted = convert(run_dir, Format.OME_TIFF, tmp_path)
    assert converted.notes == ["1 of 7 images have no heatmap, and so no file"] and not converted.failures
    assert {path.name for path in converted.paths} >= {"bad.png.ome.tif", "stack.tif#2.ome.tif"}
    heatmap = read_heatmap(run_dir / "overlays" / "bad.png-heatmap.tif", (600, 700))
    with tifffile.TiffFile(tmp_path / "bad.png.ome.tif") as tiff:
        assert tiff.is_ome and len(tiff.series) == 1 and len(tiff.pages) == 1
        levels = tiff.series[0].levels
        assert [level.shape for level in levels] == [(600, 700), (300, 350)] == level_shapes((600, 700))
        assert len(tiff.pages[0].subifds) == 1
        for level in levels:
            page = level.pages[0]
            assert (page.tilelength, page.tilewidth, page.predictor) == (512, 512, 1) and page.dtype == np.float32
        np.testing.assert_array_equal(levels[0].asarray(), heatmap)
        np.testing.assert_array_equal(levels[1].asarray(), heatmap.reshape(300, 2, 350, 2).max(axis=(1, 3)))
        xml = tiff.ome_metadata
    xmlschema.validate(xml, str(Path(ome_types.__file__).with_name("ome-2016-06.xsd")))
    image = ome_types.from_xml(xml).images[0]
    assert image.name == "bad.png" and image.pixels.size_x == 700 and image.pixels.size_y == 600
    assert image.pixels.physical_size_x == 20.0 and image.pixels.physical_size_x_unit.value == "µm"
    assert image.pixels.channels[0].name == "heatmap"


@given(arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.floats(-9, 9, width=32)))
def test_halving_keeps_every_peak(band: NDArray[np.float32]) -> None:
    height, width = (-(-side // 2) for side in band.shape)
    slow = [[band[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].max() for x in range(width)] for y in range(height)]
    np.testing.assert_array_equal(halved(band), slow)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5000), (1025, 513), (2051, 1029)])
def test_ome_tiff_of_odd_sizes(shape: tuple[int, int], tmp_path: Path) -> None:
    """Every level is the whole heatmap halved again and again, however it was cut into bands."""
    name = "lone \ud800\x07 & <x>.png"
    write_run(tmp_path, [image_record(name, height=shape[0], width=shape[1])], run_info(), ["stem"])
    heatmap = np.random.default_rng(1).gamma(2, 3, shape).astype(np.float32)
    heatmap[-1, -1] = 99
    write_heatmap(tmp_path, "stem", heatmap)
    convert(tmp_path, Format.OME_TIFF, tmp_path / "out")
    expected = read_heatmap(tmp_path / "overlays" / "stem-heatmap.tif", shape)
    with tifffile.TiffFile(tmp_path / "out" / "stem.ome.tif") as tiff:
        for level, size in zip(tiff.series[0].levels, level_shapes(shape), strict=True):
            assert level.shape == size
            np.testing.assert_array_equal(level.asarray(), expected)
            assert expected[-1, -1] == expected.max()
            expected = halved(expected)
        xml = tiff.ome_metadata
    xmlschema.validate(xml, str(Path(ome_types.__file__).with_name("ome-2016-06.xsd")))
    pixels = ome_types.from_xml(xml).images[0].pixels
    assert pixels.physical_size_x is None, "nobody said what a pixel covers"


def test_a_box_of_a_heatmap_is_that_of_the_whole(tmp_path: Path) -> None:
    heatmap = np.random.default_rng(2).gamma(2, 3, (700, 1100)).astype(np.float32)
    path = tmp_path / write_heatmap(tmp_path, "a", heatmap)
    whole = read_heatmap(path, heatmap.shape)
    with open_heatmap(path, heatmap.shape) as file:
        for y0, x0, y1, x1 in [(0, 0, 700, 1100), (0, 0, 1, 1), (511, 511, 513, 1025), (699, 1099, 700, 1100)]:
            np.testing.assert_array_equal(file.box(y0, x0, y1, x1), whole[y0:y1, x0:x1])


def test_what_does_not_count_is_not_a_number(tmp_path: Path) -> None:
    """-inf in the run: a band, a box and a whole level of it are still a heatmap."""
    write_run(tmp_path, [image_record("a.png", height=1100, width=600)], run_info(), ["a"])
    heatmap = np.random.default_rng(3).gamma(2, 3, (1100, 600)).astype(np.float32)
    heatmap[:513] = -np.inf
    path = tmp_path / write_heatmap(tmp_path, "a", heatmap)
    converted = convert(tmp_path, Format.OME_TIFF, tmp_path / "out")
    assert not converted.failures
    stored = read_heatmap(path, heatmap.shape)
    with tifffile.TiffFile(tmp_path / "out" / "a.ome.tif") as tiff:
        for level in tiff.series[0].levels:
            np.testing.assert_array_equal(level.asarray(), np.where(stored == -np.inf, np.nan, stored))
            stored = halved(stored)


def test_no_heatmaps_no_ome_tiff(hostile: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`RUN_DIR` \(=.*\) holds no heatmaps: inspect again with `--heatmaps`"):
        convert(hostile, Format.OME_TIFF, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_heatmap_stops_no_other(tmp_path: Path) -> None:
    write_run(tmp_path, [image_record("a.png"), image_record("b.png")], run_info(), ["a", "b"])
    for name in "ab":
        write_heatmap(tmp_path, name, np.ones((480, 640), np.float32))
    (tmp_path / "overlays" / "a-heatmap.tif").write_bytes(b"II*\0 torn")
    done = flawmap("convert", tmp_path, "--to", "ome-tiff", "-o", tmp_path / "out")
    assert done.returncode == ImageError.exit_code
    assert "a-heatmap.tif" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.ome.tif"]
