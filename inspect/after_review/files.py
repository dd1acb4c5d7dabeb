"""The picture files behind reviewed images, and what their copies are called."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile

from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun
from flawmap.inspect.run.input_images import file_name
from flawmap.inspect.run.records import ImageRecord
from flawmap.inspect.run.source_files import source_file
from flawmap.tiling.pages import file_of
from flawmap.tiling.whole_file import write_whole


@dataclass(frozen=True)
class ReviewedFile:
    """A file all of whose pictures were reviewed completely: mostly one, of a stack its pages."""

    path: Path
    name: str  # of a copy: no other is called so, whatever its suffix, after which masks are called
    pictures: list[tuple[Path, ReviewedImage]]


@dataclass
class Exported:
    """What was written, and what could not be or was left out."""

    paths: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def reviewed_files(run: ReviewedRun, exported: Exported) -> list[ReviewedFile]:
    """Those that are still there; notes in `exported` how many are not."""
    found: dict[Path, list[tuple[Path, ReviewedImage]]] = {}
    incomplete, gone = set(), 0
    for image in run.images:
        picture = source_file(run.recorded, image.record)
        if picture is None:
            gone += image.complete
        elif image.complete:
            found.setdefault(file_of(picture), []).append((picture, image))
        else:
            incomplete.add(file_of(picture))
    if gone:
        exported.notes.append(
            f"{gone} complete image{'s are' if gone > 1 else ' is'} gone, or another by now: left out"
        )
    kept = {file: pictures for file, pictures in found.items() if file not in incomplete}
    names = _names([pictures[0][1].record for pictures in kept.values()])
    return [ReviewedFile(file, name, kept[file]) for file, name in zip(kept, names, strict=True)]


def _names(records: list[ImageRecord]) -> list[str]:
    """The file's own name, or one with a piece of a digest where that would not do."""
    files = [file_of(Path(record.image)) for record in records]
    stems = Counter(file.stem.casefold() for file in files)
    names = []
    for file in files:
        name = file_name(file.name)
        if stems[file.stem.casefold()] > 1 or name != file.name:
            digest = hashlib.sha256(str(file).encode(errors="surrogatepass")).hexdigest()[:12]
            name = f"{file_name(file.stem)}-{digest}{file.suffix}"
        names.append(name)
    return names


def copied(file: Path, to: Path) -> Path:
    """Copies a picture, whole or not at all; returns where to."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(to) as temporary:
        copyfile(file, temporary)
    return to
