"""Pages of a TIFF file as pictures of their own: `stack.tif#2` is the second page of stack.tif.

Such a name stands for its picture wherever a path does: in lists, tables, records and messages.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from flawmap.tiling.image_header import UnreadableError
from flawmap.tiling.reading import Pages
from flawmap.tiling.tiff_pages import SIGNATURES, FileBytes, find_pages

# Behind a TIFF's suffix: no file that flawmap takes for an image has such a name.
PAGE = re.compile(r"(.+\.tiff?)#([1-9][0-9]*)", re.IGNORECASE | re.DOTALL)


def page_path(file: Path, page: int) -> Path:
    """Page `page` of `file`, counted from 1."""
    return file.with_name(f"{file.name}#{page}")


def split_page(path: Path) -> tuple[Path, int | None]:
    """The file, and which of its pages; None where `path` names a whole file."""
    found = PAGE.fullmatch(path.name)
    return (path.with_name(found[1]), int(found[2])) if found else (path, None)


def file_of(path: Path) -> Path:
    """The file in which the picture `path` lies."""
    return split_page(path)[0]


def pictures_of(files: Iterable[Path], pages: Pages) -> list[Path]:
    """The pictures in `files`, in order: the pages of a file that has several where `pages` is `pictures`, or it alone.

    A file that cannot be read stays in the list, for whoever reads it to say why.
    """
    if pages != "pictures":
        return list(files)
    return [picture for file in files for picture in _pictures(file)]


def mask_name(path: Path) -> str:
    """What the mask of a picture is called: `stack_mask.png`, of a page `stack#2_mask.png`."""
    file, page = split_page(path)
    return f"{file.stem}_mask.png" if page is None else f"{file.stem}#{page}_mask.png"


def _pictures(file: Path) -> list[Path]:
    try:
        count = _count(file) if file.is_file() else 1  # opening a pipe would wait for ever
    except (OSError, UnreadableError):
        count = 1
    return [page_path(file, page) for page in range(1, count + 1)] if count > 1 else [file]


def _count(file: Path) -> int:
    with file.open("rb") as stream:
        data = FileBytes(stream)
        return len(find_pages(data)) if data[:4] in SIGNATURES else 1
