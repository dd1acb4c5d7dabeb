"""Writes a picture too large to be held as a whole: a plain TIFF, row by row."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from numpy.typing import NDArray

ROWS_PER_STRIP = 64


def write_rows(path: Path, bands: Iterable[NDArray[Any]], shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
    """`bands`: ROWS_PER_STRIP rows at a time, [n, W] or [n, W, 3], the last ones fewer; `shape`: of all, [H, W(, 3)].

    OSError where the file cannot be written.
    """
    tifffile.imwrite(
        path,
        (np.ascontiguousarray(band) for band in bands),
        shape=shape,
        dtype=np.dtype(dtype),
        photometric="minisblack" if len(shape) == 2 else "rgb",
        rowsperstrip=ROWS_PER_STRIP,
    )
