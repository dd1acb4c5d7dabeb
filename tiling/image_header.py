"""What a file says about its picture before it is decoded, and how large a picture may be."""

import os
from dataclasses import dataclass


class UnreadableError(ValueError):
    """Why a file cannot be read as an image, in one line; whoever knows the path turns it into an ImageError."""


@dataclass(frozen=True)
class ImageHeader:
    width: int  # px
    height: int  # px
    mono: bool  # grey, with or without alpha


def _limit(name: str, default: int) -> int:
    """OpenCV's own setting, so that raising it raises both; its spellings with a unit ("2GB") count as not set."""
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default


# OpenCV's defaults. 8192x60000 has 0.49e9 pixels.
MAX_SIDE = _limit("OPENCV_IO_MAX_IMAGE_WIDTH", 2**20)
MAX_PIXELS = _limit("OPENCV_IO_MAX_IMAGE_PIXELS", 2**30)


def check_size(width: int, height: int) -> None:
    """Stops a header of a few bytes from asking for gigabytes of memory.

    Errors: UnreadableError naming the size and the rule.
    """
    if width < 1 or height < 1:
        raise UnreadableError(f"the file says it holds {width}x{height} px; both must be at least 1")
    if width > MAX_SIDE or height > MAX_SIDE:
        raise UnreadableError(f"{width}x{height} px is too large: no side may be longer than {MAX_SIDE} px")
    if width * height > MAX_PIXELS:
        raise UnreadableError(
            f"{width}x{height} px is too large: an image may have at most {MAX_PIXELS} pixels"
            " (set OPENCV_IO_MAX_IMAGE_PIXELS to allow more)"
        )


def check_amount(width: int, height: int, n_bytes: int, most_pixels_per_byte: int, kind: str) -> None:
    """Refuses a picture larger than its compressed data could hold, however well it is compressed.

    Errors: UnreadableError naming the sizes.
    """
    if width * height > n_bytes * most_pixels_per_byte:
        raise UnreadableError(f"the {kind} is damaged: {n_bytes} bytes of data cannot hold {width}x{height} px")
