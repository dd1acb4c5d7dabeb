"""What a file does not say of its pictures and somebody must: its pages, the Bayer pattern, the bits that count.

One `Reading` goes from the settings of a training into the bundle, so that training, calibration, inspection and
evaluation read every file alike.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.image_header import UnreadableError

Pages = Literal["one", "pictures", "channels"]
Bayer = Literal["rggb", "bggr", "grbg", "gbrg"]  # the colours of the first two pixels of the first two rows

# OpenCV's plain interpolation: it takes 8 and 16 bits, and makes nothing of an edge that was not there.
DEMOSAICING = {
    "rggb": cv2.COLOR_BayerRGGB2RGB,
    "bggr": cv2.COLOR_BayerBGGR2RGB,
    "grbg": cv2.COLOR_BayerGRBG2RGB,
    "gbrg": cv2.COLOR_BayerGBRG2RGB,
}
SMALLEST_BAYER = 3  # px: below that OpenCV has no neighbours to take a colour from, and gives black


@dataclass(frozen=True)
class Reading:
    """How image files are read.

    `pages`: a file with several pages is an error (`one`), so many pictures, or one picture whose channels they are,
    as of a photometric stack with a page for each light. `bayer`: the pattern of raw pictures; None: what a TIFF's own
    tags say, and no raw picture without them. `bits`: a uint16 picture's significant bits, its full scale being
    2**bits - 1 (4095 of a 12-bit camera); None: what a TIFF's own tags say, or not known. `n_pages`: how many pages
    make up the channels of a picture; None: two or more.
    """

    pages: Pages = "one"
    bayer: Bayer | None = None
    bits: int | None = None
    n_pages: int | None = None


AS_THEY_ARE = Reading()


@dataclass(frozen=True)
class Stored:
    """A picture as its file holds it, and what the file says about it: None where it says nothing."""

    pixels: NDArray[Any]
    bits: int | None = None
    bayer: Bayer | None = None
    raw: bool = False  # marked as a picture behind a colour filter, whether or not its pattern is said


def demosaiced(stored: Stored, bayer: Bayer | None) -> NDArray[Any]:
    """RGB [H, W, 3] of a raw picture, and of any mono one where `bayer` says that it is one; others as they are.

    Errors: UnreadableError for a pattern that is not known or is another than `bayer`, and for what cannot be raw.
    """
    pixels = stored.pixels
    if not stored.raw and bayer is None:
        return pixels
    pattern = stored.bayer or bayer
    if pattern is None:
        raise UnreadableError("a raw picture whose Bayer pattern the file does not say: set `image.bayer`")
    if bayer is not None and pattern != bayer:
        raise UnreadableError(f"its Bayer pattern is {pattern}, `image.bayer` is {bayer}")
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        kind = f"{'mono' if pixels.ndim == 2 else 'colour'} {pixels.dtype.name}"
        raise UnreadableError(f"`image.bayer` (={pattern}) needs mono pictures of 8 or 16 bits, this one is {kind}")
    if min(pixels.shape) < SMALLEST_BAYER:
        raise UnreadableError(
            f"a raw picture of {pixels.shape[1]}x{pixels.shape[0]} px is too small: both sides must be at least "
            f"{SMALLEST_BAYER} px"
        )
    return np.asarray(cv2.cvtColor(pixels, DEMOSAICING[pattern]))


def significant_bits(stored: Stored, expected: int | None) -> int | None:
    """The bits of a uint16 picture as its file says them, or as `expected`; None where neither is known.

    Errors: UnreadableError where the file says others than `expected`, and for a value that so many bits cannot hold.
    """
    pixels = stored.pixels
    if expected is not None:
        found = 8 if pixels.dtype == np.uint8 else stored.bits
        if pixels.dtype.kind != "u":
            raise UnreadableError(f"pixels of type {pixels.dtype.name}, pixels of {expected} bits are expected")
        if found is not None and found != expected:
            raise UnreadableError(f"pixels of {found} bits, {expected} bits are expected")
    bits = stored.bits or expected
    if bits is None or pixels.dtype != np.uint16:
        return None
    largest = int(pixels.max())
    if largest >= 2**bits:
        raise UnreadableError(f"a value of {largest}, {bits} bits hold {2**bits - 1} at most")
    return bits
