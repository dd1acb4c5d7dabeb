"""Which files of a folder are images, and in which order people expect them."""

import os
import re
from pathlib import Path, PurePath

from flawmap.tiling.errors import UsageError

IMAGE_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")

LONGEST_NUMBER = 4000  # digits
NameKey = list[tuple[int, int]]


def list_images(folder: Path) -> list[Path]:
    """All images in `folder` and the folders below it, by suffix (any case), in natural order: a2.png before a10.png.

    Hidden files and folders are left out. Links to folders are followed, except back into a folder that is being
    walked. A link that leads nowhere is listed if it has an image's suffix: reading it tells what is wrong, leaving it
    out would hide a part that was never inspected. So is anything else with such a suffix that is not a folder.

    Errors: UsageError if `folder` is missing, is no folder, cannot be read or holds no image.
    """
    folder = Path(folder)
    try:
        there, is_folder = folder.exists(), folder.is_dir()
    except OSError as error:
        raise UsageError(f"the image folder `{folder}` cannot be read: {error.strerror}") from error
    if not there:
        raise UsageError(f"the image folder `{folder}` does not exist")
    if not is_folder:
        raise UsageError(f"the image folder `{folder}` is not a folder")
    images = _walk(folder, ancestors=())
    if not images:
        raise UsageError(f"no image in the folder `{folder}` (looked for {', '.join(IMAGE_SUFFIXES)})")
    return sorted(images, key=lambda image: natural_order(image.relative_to(folder)))


def _walk(folder: Path, ancestors: tuple[str, ...]) -> list[Path]:
    place = os.path.realpath(folder)
    if place in ancestors:
        return []
    try:
        entries = [(entry, entry.is_dir()) for entry in sorted(folder.iterdir())]
    except OSError as error:
        raise UsageError(f"the image folder `{folder}` cannot be read: {error.strerror}") from error
    images: list[Path] = []
    for entry, is_folder in entries:
        if entry.name.startswith("."):
            continue
        if is_folder:
            images += _walk(entry, (*ancestors, place))
        elif entry.suffix.lower() in IMAGE_SUFFIXES:
            images.append(entry)
    return images


def natural_order(path: PurePath) -> tuple[list[NameKey], str]:
    """Folder by folder, numbers by value and letters without case; the path itself decides what is left (a1, a01)."""
    return [_name_key(part) for part in path.parts], str(path)


def _name_key(name: str) -> NameKey:
    """Character by character, a run of digits counting as one character: a.png, a2.png, a10.png, a_1.png."""
    pieces = re.findall("[0-9]+|[^0-9]", name.casefold())
    # Python refuses to make numbers of more digits than LONGEST_NUMBER: no file has them, a damaged record may.
    return [
        (ord("0"), int(piece[:LONGEST_NUMBER])) if piece[0] in "0123456789" else (ord(piece), 0) for piece in pieces
    ]
