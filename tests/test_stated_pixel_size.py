"""What files say of their pixels' size, written by Pillow, by tifffile and by hand."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile

from flawmap.tiling.physical_size import PixelSize
from flawmap.tiling.stated_pixel_size import stated_pixel_size
from tests.image_files import FILES, GREY, chunk, png

Write = Callable[[Path], Any]
PICTURE = PIL.Image.fromarray(GREY)


def with_tifffile(**options: Any) -> Write:
    return lambda path: tifffile.imwrite(path, GREY, **options)


def with_pillow(**options: Any) -> Write:
    return lambda path: PICTURE.save(path, **options)


def ome(**attributes: object) -> Write:
    return with_tifffile(ome=True, metadata={"axes": "YX", **attributes})


@pytest.mark.parametrize(
    ("name", "write", "expected"),
    [
        ("a.png", with_pillow(dpi=(2540, 2540)), (10, 10)),
        ("a.png", with_pillow(dpi=(2540, 1270)), (10, 20)),
        ("a.tif", with_pillow(dpi=(2540, 1270)), (10, 20)),
        ("a.tif", with_pillow(resolution_unit=3, x_resolution=800.0, y_resolution=1000.0), (12.5, 10)),
        ("a.tif", with_tifffile(resolution=(800, 1000), resolutionunit="CENTIMETER"), (12.5, 10)),
        ("big.tif", with_tifffile(bigtiff=True, resolution=(2540, 2540), resolutionunit="INCH"), (10, 10)),
        ("ij.tif", with_tifffile(imagej=True, resolution=(0.08, 0.1), metadata={"unit": "um"}), (12.5, 10)),
        ("ij.tif", with_tifffile(imagej=True, resolution=(80, 100), metadata={"unit": "mm"}), (12.5, 10)),
        ("ij.tif", with_tifffile(imagej=True, resolution=(0.08, 0.1), metadata={"unit": "micron"}), (12.5, 10)),
        ("ij.tif", with_tifffile(imagej=True, resolution=(0.08, 0.1), metadata={"unit": "\\u00B5m"}), (12.5, 10)),
        ("a.ome.tif", ome(PhysicalSizeX=12.5, PhysicalSizeY=10), (12.5, 10)),
        ("a.ome.tif", ome(PhysicalSizeX=0.0125, PhysicalSizeXUnit="mm", PhysicalSizeY=1e4, PhysicalSizeYUnit="nm"),
         (12.5, 10)),
        ("a.ome.tif", ome(PhysicalSizeX=1, PhysicalSizeXUnit="µm", PhysicalSizeY=2, PhysicalSizeYUnit="µm"), (1, 2)),
    ],
)  # fmt: skip
def test_what_is_said_is_read(tmp_path: Path, name: str, write: Write, expected: tuple[float, float]) -> None:
    write(tmp_path / name)
    found = stated_pixel_size(tmp_path / name)
    assert found is not None
    # Resolutions in whole dots a metre or an inch, as PNG holds them.
    assert (found.x_um, found.y_um) == pytest.approx(expected, rel=2e-3)


def _phys(x: int, y: int, unit: int) -> bytes:
    return chunk(b"pHYs", struct.pack(">IIB", x, y, unit))


def test_a_png_in_dots_a_metre(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1, 1, _phys(80_000, 100_000, 1)))
    assert stated_pixel_size(tmp_path / "a.png") == PixelSize(x_um=12.5, y_um=10)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("ratio.png", png(1, 1, _phys(1, 1, 0))),
        ("none.png", png(1, 1, _phys(0, 0, 1))),
        ("behind.png", png(1, 1, chunk(b"IDAT", b""), _phys(80_000, 100_000, 1))),
        ("cut.png", png(1, 1, _phys(80_000, 100_000, 1))[:40]),
        ("empty.png", b""),
        ("cut.tif", FILES["plain.tif"][0][:100]),
        ("cut.bmp", b"BM"),
        ("text.png", b"not an image"),
        *((name, FILES[name][0]) for name in ("grey.png", "grey.bmp", "grey.jpg", "plain.tif", "float.tif")),
    ],
)
def test_nothing_said_is_nothing_read(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert stated_pixel_size(tmp_path / name) is None


@pytest.mark.parametrize(
    "write",
    [
        with_tifffile(resolution=(0, 0), resolutionunit="INCH"),
        with_tifffile(resolution=(72, 72), resolutionunit="NONE"),
        with_tifffile(imagej=True, resolution=(0.08, 0.1), metadata={"unit": "furlong"}),
        with_tifffile(description="<OME not XML", metadata=None),
        ome(PhysicalSizeX=12.5),
        ome(PhysicalSizeX=12.5, PhysicalSizeY=0),
        ome(PhysicalSizeX=12.5, PhysicalSizeY=10, PhysicalSizeYUnit="reference frame"),
    ],
)
def test_a_tiff_that_says_nothing_usable(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "a.tif")
    assert stated_pixel_size(tmp_path / "a.tif") is None


@pytest.mark.parametrize("name", ["a.bmp", "a.jpg"])
def test_bmp_and_jpeg_count_as_saying_nothing(tmp_path: Path, name: str) -> None:
    """Pillow writes 96 dots an inch into every BMP."""
    with_pillow(dpi=(2540, 2540))(tmp_path / name)
    assert stated_pixel_size(tmp_path / name) is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert stated_pixel_size(tmp_path / "none.png") is None


def test_pixels_are_not_decoded(tmp_path: Path) -> None:
    """A wrong checksum in the picture's data is for whoever reads the picture."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib", resolution=(2540, 2540))
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages.first.dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + 4] = b"\xff" * 4
    path.write_bytes(data)
    found = stated_pixel_size(path)
    assert found is not None and found.x_um == pytest.approx(10)
