"""Is a PNG file whole? Walks its chunks to the end marker and checks their checksums, without decoding.

Format: https://www.w3.org/TR/png-3/ (sections 5 and 11). The data's own checksum (Adler-32 inside the zlib stream) and
its length are the decoder's to check; OpenCV 4.14 does and returns nothing when they are wrong.
"""

import struct
import zlib

from flawmap.tiling.image_header import ImageHeader, UnreadableError, check_amount, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The other, ancillary chunks (texts, time, resolution) do not change what is read: not worth an error.
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
CHUNK_FRAME = 12  # bytes: length, type, checksum
DEFLATE_RATIO = 1032  # deflate makes no more than this many bytes from one
COLOUR_TYPES = {0: True, 2: False, 3: False, 4: True, 6: False}  # colour type: is it grey?


def check_png(data: bytes) -> ImageHeader:
    """Header of a PNG file that is all there.

    Errors: UnreadableError for a file that is cut off, damaged, too large or animated.
    """
    view = memoryview(data)
    header: ImageHeader | None = None
    bits_per_pixel = 0
    n_data = 0
    position = len(SIGNATURE)
    while True:
        if position + CHUNK_FRAME > len(data):
            raise UnreadableError("the file is cut off: the PNG end marker is missing")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + CHUNK_FRAME + length
        if end > len(data):
            raise UnreadableError("the file is cut off: the PNG end marker is missing")
        body = view[position + 8 : end - 4]
        if kind in CRITICAL and zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise UnreadableError(f"the PNG is damaged: wrong checksum of its {kind.decode()} chunk at byte {position}")
        if header is None:
            header, bits_per_pixel = read_header(kind, bytes(body))
        elif kind == b"acTL" and length == 8 and int.from_bytes(body[:4], "big") > 1:
            raise UnreadableError(f"an animated PNG with {int.from_bytes(body[:4], 'big')} pictures; one is needed")
        elif kind == b"IDAT":
            n_data += length
        elif kind == b"IEND":
            # 8 pixels of 1 bit come from a byte; what decides is bytes out for bytes in.
            check_amount(header.width, header.height, n_data, DEFLATE_RATIO * 8 // bits_per_pixel + 8, "PNG")
            return header
        position = end


def read_header(kind: bytes, body: bytes) -> tuple[ImageHeader, int]:
    """Size and kind of the picture, and its bits per pixel, by the first chunk. UnreadableError for no header."""
    if kind != b"IHDR" or len(body) != 13:
        raise UnreadableError("the PNG is damaged: it does not begin with its IHDR chunk")
    width, height, depth, colour_type = struct.unpack_from(">IIBB", body)
    if colour_type not in COLOUR_TYPES or depth not in (1, 2, 4, 8, 16):
        raise UnreadableError(f"the PNG is damaged: no colour type {colour_type} with {depth} bits exists")
    check_size(width, height)
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
    return ImageHeader(width, height, mono=COLOUR_TYPES[colour_type]), samples * depth
