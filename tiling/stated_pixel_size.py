"""What an image file says a pixel covers: the resolution of TIFF, OME-TIFF and PNG. No pixel is decoded.

Sources: TIFF 6.0, section 8 (XResolution, ResolutionUnit); OME-TIFF, attributes PhysicalSizeX and PhysicalSizeXUnit of
`Pixels`, https://docs.openmicroscopy.org/ome-model/6.3.1/ome-tiff/; ImageJ's `unit=` in the description; PNG, pHYs,
https://www.w3.org/TR/png-3/#11pHYs.

Whoever asks for it vouches for it: many programs write 72 or 96 dots per inch into pictures that they know nothing of,
into BMP and JPEG nearly all of them, so that those two count as saying nothing.
"""

import math
import re
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import tifffile

from flawmap.tiling import png_file, tiff_file
from flawmap.tiling.pages import file_of
from flawmap.tiling.physical_size import PixelSize

UM_PER_INCH = 25_400.0
UM_PER_CM = 10_000.0
UM_PER_M = 1e6
TIFF_UNITS = {2: UM_PER_INCH, 3: UM_PER_CM}  # ResolutionUnit; 1 is an aspect ratio and no size
OME_UNITS = {"pm": 1e-6, "nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": UM_PER_CM, "m": UM_PER_M, "in": UM_PER_INCH}
IMAGEJ_UNITS = OME_UNITS | {"micron": 1.0, "microns": 1.0, "inch": UM_PER_INCH}
MICRO = str.maketrans({"\u00b5": "u", "\u03bc": "u"})
HEAD = 65_536  # bytes: a PNG's pHYs comes before its pixels


def stated_pixel_size(path: Path) -> PixelSize | None:
    """What `path` says of its pixels' size; None where it says nothing, nothing usable, or cannot be read.

    All pages of a file have the size of its first.
    """
    path = file_of(Path(path))
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
        if head[:4] in tiff_file.SIGNATURES:
            return _of_tiff(path)
        if head.startswith(png_file.SIGNATURE):
            return _of_png(head)
    except Exception:  # a damaged file: reading its pixels tells what is wrong with it
        return None
    return None


def _of_tiff(path: Path) -> PixelSize | None:
    with tifffile.TiffFile(path) as tiff:
        if tiff.ome_metadata:
            return _of_ome(tiff.ome_metadata)
        tags: Any = tiff.pages.first.tags
        unit = TIFF_UNITS.get(int(tags.valueof("ResolutionUnit", 2)))
        if tiff.imagej_metadata:
            unit = IMAGEJ_UNITS.get(_imagej_unit(str(tiff.imagej_metadata.get("unit", ""))), unit)
        per_unit = [tags.valueof(name) for name in ("XResolution", "YResolution")]
    if unit is None or None in per_unit:
        return None
    x, y = (numerator / denominator for numerator, denominator in per_unit)
    return _checked(unit / x, unit / y)


def _imagej_unit(text: str) -> str:
    """ImageJ escapes what is not ASCII: `\\u00B5m`."""
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), text).translate(MICRO)


def _of_ome(text: str) -> PixelSize | None:
    pixels = next((e for e in ElementTree.fromstring(text).iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib or "PhysicalSizeY" not in pixels.attrib:
        return None
    x, y = (
        float(pixels.attrib[name]) * OME_UNITS[pixels.attrib.get(f"{name}Unit", "um").translate(MICRO)]
        for name in ("PhysicalSizeX", "PhysicalSizeY")
    )
    return _checked(x, y)


def _of_png(head: bytes) -> PixelSize | None:
    position = len(png_file.SIGNATURE)
    while position + png_file.CHUNK_FRAME <= len(head):
        length, kind = struct.unpack_from(">I4s", head, position)
        if kind == b"pHYs" and length == 9:
            x, y, unit = struct.unpack_from(">IIB", head, position + 8)
            return _checked(UM_PER_M / x, UM_PER_M / y) if unit == 1 else None
        if kind == b"IDAT":
            return None
        position += png_file.CHUNK_FRAME + length
    return None


def _checked(x_um: float, y_um: float) -> PixelSize | None:
    sound = all(math.isfinite(size) and size > 0 for size in (x_um, y_um))
    return PixelSize(x_um, y_um) if sound else None
