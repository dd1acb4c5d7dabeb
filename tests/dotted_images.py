"""Images that the tests of pages look at: bright dots at known places, one image called after an attack."""

from pathlib import Path

from flawmap.tiling.images import write_image
from tests.bundles import good_image

HOSTILE = "<img src=x onerror=alert(1)>'\"&.png"
HEIGHT, WIDTH = 1500, 1700  # more than one tile: two levels
# Where the bright 2x2 px squares are: (x, y), the brighter the more severe.
DOTS = {
    "a10.png": [(1400, 300, 255), (200, 1350, 243), (850, 740, 233)],
    "a9.png": [(400, 400, 243)],
    HOSTILE: [(60, 60, 250)],
}


def write_dotted_images(folder: Path) -> Path:
    """The images of DOTS and "good.png", which has none, into the new folder `images` of `folder`."""
    images = folder / "images"
    images.mkdir()
    for number, (name, dots) in enumerate({**DOTS, "good.png": []}.items()):
        image = good_image(HEIGHT, WIDTH, seed=number)
        for x, y, level in dots:
            image[y : y + 2, x : x + 2] = level
        write_image(images / name, image)
    return images
