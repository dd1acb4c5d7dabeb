"""Which images a run inspects, what each is called in the tables, and what its files are called in the run folder."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from flawmap.inspect.run.layout import EVALUATION, OUTPUT_FOLDERS, is_run_folder
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import IMAGE_SUFFIXES, list_images
from flawmap.tiling.pages import pictures_of
from flawmap.tiling.reading import AS_THEY_ARE, Reading

LONGEST_NAME = 120  # bytes, of the 255 (143 where names are encrypted) allowed: region numbers and suffixes come on top
# Separators, what Windows does not allow in a file name, and bytes that are no UTF-8: a run folder is copied between
# machines, and its page links to the files.
UNSAFE = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f\ud800-\udfff]')


@dataclass(frozen=True)
class InputImage:
    """One image of a run."""

    path: Path  # a file, or a page of one: see `flawmap.tiling.pages`
    image: str  # relative to the folder given, forward slashes: its name in images.csv and regions.csv
    name: str  # of its files in the run folder: unique, flat, at most LONGEST_NAME bytes
    reading: Reading = AS_THEY_ARE

    def pictures(self, reading: Reading) -> list["InputImage"]:
        """What this file holds, read as the bundle wants it: itself, or its pages, `stack.tif#1` and so on."""
        found = []
        for path in pictures_of([self.path], reading.pages):
            image = self.image + path.name.removeprefix(self.path.name)
            found.append(replace(self, path=path, image=image, name=file_name(image), reading=reading))
        return found


@dataclass(frozen=True)
class _Found:
    path: Path
    parent: str  # name of the folder given, or of the folder that holds the file given
    relative: str


def list_inputs(paths: Iterable[Path], run_dir: Path) -> list[InputImage]:
    """Every image below `paths` (files and folders), in the order given and naturally sorted within a folder.

    Pictures that flawmap wrote into `run_dir` or another run folder are left out; a file that is reached twice counts
    once. Two folders that hold equal names get their own name in front.

    Raises UsageError: no path, a path that is missing, a folder without an image, two images of one name.
    """
    found: list[_Found] = []
    for path in paths:
        found += _find(Path(path), run_dir)
    if not found:
        raise UsageError("`PATH` is missing: give an image or a folder of images")
    found = _once(found)
    labels = [f.relative for f in found]
    if len(set(labels)) < len(labels):
        labels = [f"{f.parent}/{f.relative}" for f in found]
    _check_unique(labels, found)
    return [InputImage(f.path, label, file_name(label)) for f, label in zip(found, labels, strict=True)]


def file_name(image: str) -> str:
    """A flat name for the files of `image` (an `InputImage.image`); equal images give equal names, others others.

    A plain name stays as it is, suffix included ("a.png" beside "a.bmp"). What had to be changed or cut gets a piece of
    its SHA-256 behind it.
    """
    flat = UNSAFE.sub("_", image).rstrip(". ")
    encoded = flat.encode()
    if flat == image and len(encoded) <= LONGEST_NAME:
        return image
    digest = hashlib.sha256(image.encode(errors="surrogatepass")).hexdigest()[:16]
    kept = encoded[: LONGEST_NAME - len(digest) - 1].decode(errors="ignore")  # no half character at the cut
    return f"{kept}-{digest}"


def _find(path: Path, run_dir: Path) -> list[_Found]:
    if path.is_dir():
        images = [image for image in list_images(path) if not _written_by_flawmap(image, path, run_dir)]
        if not images:
            raise UsageError(f"no image in the folder `{path}` but those that flawmap wrote itself")
        folder = path.resolve().name
        return [_Found(image, folder, image.relative_to(path).as_posix()) for image in images]
    if not os.path.lexists(path):
        raise UsageError(f"`PATH` (={path}) does not exist")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UsageError(f"`PATH` (={path}) must be a folder or an image ({', '.join(IMAGE_SUFFIXES)})")
    return [_Found(path, path.absolute().parent.name, path.name)]


def _written_by_flawmap(image: Path, given: Path, run_dir: Path) -> bool:
    """Whether `image`, found below the folder `given`, lies in a run folder or is a picture of this very run folder."""
    run_dir = run_dir.resolve()
    written = (*OUTPUT_FOLDERS, EVALUATION)
    if any(image.resolve().is_relative_to(run_dir / folder) for folder in written):
        return True
    for folder in image.parents:
        run_folder = is_run_folder(folder) or folder.resolve() == run_dir
        if folder == given:  # the user's own pictures may lie beside the tables
            return run_folder and image.relative_to(folder).parts[0] in written
        if run_folder:
            return True
    return False


def _once(found: list[_Found]) -> list[_Found]:
    """Drops what was found before: a file given beside its folder, a folder given twice."""
    return list({os.path.normpath(f.path.absolute()): f for f in reversed(found)}.values())[::-1]


def _check_unique(labels: list[str], found: list[_Found]) -> None:
    places: dict[str, list[Path]] = defaultdict(list)
    for label, f in zip(labels, found, strict=True):
        places[label].append(f.path)
    for label, paths in places.items():
        if len(paths) > 1:
            raise UsageError(
                f"two images would both be called `{label}`: {paths[0]} and {paths[1]}; "
                "give the folder that holds both, or inspect them in two runs"
            )
