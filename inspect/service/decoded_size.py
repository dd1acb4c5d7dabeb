"""How large a picture is once it is decoded, told by its header before it is: a small file can unpack to gigabytes."""

from pathlib import Path

from flawmap.tiling import tiff_file
from flawmap.tiling.errors import ImageError
from flawmap.tiling.image_header import UnreadableError
from flawmap.tiling.images import opened, problems_of
from flawmap.tiling.pages import split_page
from flawmap.tiling.reading import Reading
from flawmap.tiling.strips.open_rows import picture_size
from flawmap.tiling.tiff_pages import FileBytes

BYTES_A_PIXEL = 16  # of a TIFF at least allowed: four channels of 32 bits


def check_decoded_size(path: Path, reading: Reading, megapixels: int, bytes_a_pixel: int) -> None:
    """ImageError for a picture of more than `megapixels`, and for a TIFF of more bytes a pixel than any it can be.

    `bytes_a_pixel`: of the pictures that the bundle takes. What is no image, or a damaged one, passes: its reader
    knows what is wrong with it. PNG, JPEG and BMP have 8 bytes a pixel at most.
    """
    size = picture_size(path)
    if size is None:
        return
    height, width = size
    if height * width > megapixels * 10**6:
        raise ImageError(
            path, f"{width}x{height} px are more than the {megapixels} megapixels that `--image-limit-mp` allows"
        )
    allowed = max(BYTES_A_PIXEL, 2 * bytes_a_pixel)
    n_bytes = _tiff_bytes(path, reading)
    if n_bytes > allowed * height * width:
        raise ImageError(
            path, f"{n_bytes / (height * width):.0f} bytes a pixel once it is decoded; at most {allowed} are read here"
        )


def _tiff_bytes(path: Path, reading: Reading) -> int:
    """Bytes that the samples of a TIFF take; 0 of other files, and where its reader will say what is wrong."""
    file, page = split_page(path)
    try:
        with problems_of(path, file), opened(file) as stream:
            data = FileBytes(stream)
            if data[:4] not in tiff_file.SIGNATURES:
                return 0
            with tiff_file.damage_named(), tiff_file.open_pages(data, reading, page) as pages:
                return sum(int(one.nbytes) for one in pages)
    except (ImageError, UnreadableError):
        return 0
