"""Is a BMP file whole? Compares its length with what its header needs, without decoding.

Format: Microsoft, "Bitmap Storage" (BITMAPFILEHEADER and BITMAPINFOHEADER). The file length in the header is not used:
many writers leave it 0.
"""

import struct

from flawmap.tiling.image_header import UnreadableError, check_size
from flawmap.tiling.tiff_pages import FileBytes

SIGNATURE = b"BM"
FILE_HEADER = 14  # bytes
CORE_HEADER = 12  # bytes, the oldest of the headers
PLAIN = (0, 3, 6)  # BI_RGB, BI_BITFIELDS, BI_ALPHABITFIELDS
DEPTHS = (1, 4, 8, 16, 24, 32)


def check_bmp(data: bytes | FileBytes) -> tuple[int, int]:
    """Width and height in px of a BMP file that is all there.

    Errors: UnreadableError for a file that is cut off, too large or run-length compressed (where a gap cannot be told
    from a skipped run).
    """
    head = data[:34]
    if len(head) < 34:
        raise UnreadableError("the file is cut off: its BMP header is not complete")
    offset, header_length = struct.unpack_from("<II", head, 10)
    if header_length == CORE_HEADER:
        width, height, _, depth = struct.unpack_from("<HHHH", head, 18)
        compression = 0
    else:
        width, height, _, depth, compression = struct.unpack_from("<iiHHI", head, 18)
    if offset < FILE_HEADER + header_length:
        raise UnreadableError(f"the BMP is damaged: its pixels cannot begin at byte {offset}, inside the header")
    height = abs(height)  # negative: the first row is the top one
    check_size(width, height)
    if depth not in DEPTHS:
        raise UnreadableError(f"the BMP is damaged: no picture has {depth} bits per pixel")
    if compression not in PLAIN:
        raise UnreadableError(f"a compressed BMP (method {compression}) is not supported; save it plain or as PNG")
    needed = offset + (width * depth + 31) // 32 * 4 * height
    if len(data) < needed:
        raise UnreadableError(f"the file is cut off: {len(data)} of the {needed} bytes of the BMP are there")
    return width, height
