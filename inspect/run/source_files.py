"""Where the pictures of a run lie, for whoever needs their pixels once more."""

from collections.abc import Iterator
from pathlib import Path

from flawmap.inspect.run.recorded_run import RecordedRun
from flawmap.inspect.run.records import ImageRecord
from flawmap.tiling.pages import page_path, split_page


def source_file(run: RecordedRun, record: ImageRecord) -> Path | None:
    """The picture that was inspected, a page of a stack by its name there; None where it is gone or another by now."""
    page = split_page(Path(record.image))[1]
    for file in places_of(run, record.image):
        status = file.stat()
        if (status.st_size, status.st_mtime_ns) == (record.source.size_bytes, record.source.modified_ns):
            return file if page is None else page_path(file, page)
    return None


def places_of(run: RecordedRun, image: str) -> Iterator[Path]:
    """Files that `image` of a run may have been read from: below the folders given, or one of the files given."""
    file, _ = split_page(Path(image))
    for given in map(Path, run.info.settings.get("paths", [])):
        for place in (given / file, given, given.parent / file):
            if place.is_file() and str(place).endswith(file.name):
                yield place
