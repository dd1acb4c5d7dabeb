"""Reads back the heatmaps that `flawmap inspect --heatmaps` writes, in little more memory than the heatmap itself."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from flawmap.tiling.errors import ImageError

BYTES_AT_ONCE = 1 << 21  # of compressed tiles; by default tifffile holds up to 64 MiB of them beside the picture


def read_heatmap(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """float32 [H, W], -inf where nothing counted.

    ImageError where the file cannot be read, is damaged or is no heatmap of an image of `shape`.
    """
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            if page.shape != shape or page.dtype != np.float32:
                raise ImageError(path, f"it holds {page.shape} {page.dtype}, its image is {shape[1]}x{shape[0]} px")
            heatmap = np.asarray(page.asarray(buffersize=BYTES_AT_ONCE), np.float32)
    except ImageError:
        raise
    except Exception as error:  # on damaged data tifffile and its codecs raise anything
        raise ImageError(path, f"{type(error).__name__}: {error}") from error
    lowest, highest = heatmap.min(), heatmap.max()  # NaN comes out of both; -inf is what was not to be looked at
    if np.isnan(lowest) or not np.isfinite(highest):
        raise ImageError(path, "it holds a score that is no finite number")
    return heatmap
