"""Raw pictures: what a sensor behind a Bayer filter gives, as a page of a TIFF file."""

from typing import Any

import numpy as np

from flawmap.tiling.reading import Bayer
from tests.image_files import Array
from tests.tiff_by_hand import BYTE, CFA, SHORT, Page

PATTERNS: dict[Bayer, bytes] = {"rggb": b"\0\1\1\2", "bggr": b"\2\1\1\0", "grbg": b"\1\0\2\1", "gbrg": b"\1\2\0\1"}


def mosaic(image: Array, pattern: Bayer) -> Array:
    """What a sensor behind the filter sees of an RGB image."""
    raw = np.empty(image.shape[:2], image.dtype)
    for place, colour in enumerate(pattern):
        y, x = divmod(place, 2)
        raw[y::2, x::2] = image[y::2, x::2, "rgb".index(colour)]
    return raw


def raw_page(raw: Array, pattern: bytes | None, repeat: tuple[int, int] = (2, 2), **options: Any) -> Page:
    tags: dict[int, tuple[int, Any]] = {} if pattern is None else {33421: (SHORT, list(repeat)), 33422: (BYTE, pattern)}
    return Page(raw, photometric=CFA, tags=tags, **options)
