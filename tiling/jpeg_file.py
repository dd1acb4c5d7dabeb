"""Is a JPEG file whole? Walks its segments and scans to the end-of-image marker, without decoding.

Format: ITU-T T.81, annex B. libjpeg fills what is missing with grey and only warns, so the end marker is what tells a
whole file from a cut one. JPEG has no checksum: a changed byte inside the picture's data cannot be seen here.
"""

import re
import struct

from flawmap.tiling.image_header import ImageHeader, UnreadableError, check_amount, check_size
from flawmap.tiling.tiff_pages import FileBytes

SIGNATURE = b"\xff\xd8\xff"
END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF0..SOF15; the three are other segments
STANDALONE = {0x01, *range(0xD0, 0xD8)}  # without a length
# In a scan 0xFF is followed by 0x00 (stuffing), a restart marker or more 0xFF (fill); anything else ends the scan.
SCAN_END = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SEGMENT_START = 32  # bytes that hold a marker, the fill before it and a frame's header
PIXELS_PER_BYTE = 512  # at least one bit for each block of 8x8
CUT_OFF = "the file is cut off: the JPEG end marker is missing"


def check_jpeg(data: bytes) -> ImageHeader:
    """Header of a JPEG file that is all there.

    Errors: UnreadableError for a file that is cut off, damaged, too large, or neither 8-bit grey nor 8-bit colour.
    """
    header: ImageHeader | None = None
    position, scanned = 2, 0
    while True:
        marker, position = _next_marker(data, position)
        if marker == END_OF_IMAGE:
            if header is None or scanned == 0:
                raise UnreadableError("the JPEG is damaged: it ends before its picture begins")
            check_amount(header.width, header.height, scanned, PIXELS_PER_BYTE, "JPEG")
            return header
        if marker in STANDALONE:
            continue
        if position + 2 > len(data):
            raise UnreadableError(CUT_OFF)
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2:
            raise UnreadableError(f"the JPEG is damaged: a segment of {length} bytes at byte {position}")
        if marker in FRAMES:
            header = _frame_header(data, position, length)
        position += length
        if marker == START_OF_SCAN:
            end = SCAN_END.search(data, position)
            if end is None:
                raise UnreadableError(CUT_OFF)
            scanned += end.start() - position
            position = end.start()


def frame_header(data: bytes | FileBytes) -> ImageHeader:
    """Header of a JPEG file, of which only the segments up to its first frame are looked at. UnreadableError."""
    position = 2
    while True:
        part = data[position : position + SEGMENT_START]
        marker, start = _next_marker(part, 0)
        if marker in (END_OF_IMAGE, START_OF_SCAN):
            raise UnreadableError("the JPEG is damaged: its picture begins before its header")
        if marker in STANDALONE:
            position += start
            continue
        if start + 2 > len(part):
            raise UnreadableError(CUT_OFF)
        (length,) = struct.unpack_from(">H", part, start)
        if marker in FRAMES:
            return _frame_header(part, start, length)
        position += start + length


def _next_marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker at `position` and where its content begins; 0xFF may be repeated before it."""
    start = position
    while position < len(data) and data[position] == 0xFF:
        position += 1
    if position >= len(data):
        raise UnreadableError(CUT_OFF)
    if position == start:
        raise UnreadableError(f"the JPEG is damaged: no marker at byte {position}")
    return data[position], position + 1


def _frame_header(data: bytes, position: int, length: int) -> ImageHeader:
    if position + 8 > len(data) or length < 8:
        raise UnreadableError(CUT_OFF)
    bits, height, width, n_channels = struct.unpack_from(">BHHB", data, position + 2)
    check_size(width, height)
    if bits != 8 or n_channels not in (1, 3):
        raise UnreadableError(
            f"a JPEG with {n_channels} channels of {bits} bits is not supported (1 or 3 channels of 8 bits are)"
        )
    return ImageHeader(width, height, mono=n_channels == 1)
