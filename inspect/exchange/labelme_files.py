"""A run as LabelMe JSON files, one an image: regions as shapes that a person corrects in LabelMe.

The format is that of LabelMe 5 (https://github.com/wkentaro/labelme, labelme/label_file.py).
"""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, get_args

from flawmap.inspect.exchange.annotated import annotated, label_of
from flawmap.inspect.exchange.outlines import Outlines
from flawmap.inspect.run.input_images import file_name
from flawmap.inspect.run.record_files import json_text
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.inspect.run.records import RegionRecord, Verdict
from flawmap.inspect.run.source_files import places_of
from flawmap.inspect.shown_severity import shown_severity
from flawmap.tiling.errors import UsageError
from flawmap.tiling.pages import split_page
from flawmap.tiling.whole_file import write_text

VERSION = "5.5.0"  # of the format
VERDICTS = tuple(verdict for verdict in get_args(Verdict) if verdict != "ERROR")


@dataclass(frozen=True)
class LabelMeFile:
    """Where the shapes of one image go, relative to the folder given."""

    path: Path
    image: RecordedImage


def write_labelme(run: RecordedRun, folder: Path) -> list[Path]:
    """Writes a file for every inspected image, below `folder` as the images lie in theirs; returns their paths.

    A good image has a file without shapes; one that could not be inspected has none, as nobody has looked at it.
    UsageError where a file is there already: somebody may have drawn in it. OSError where one cannot be written.
    """
    files = labelme_files(run)
    there = [file.path for file in files if os.path.lexists(folder / file.path)]
    if there:
        raise UsageError(
            f"`-o` (={folder}) holds `{there[0]}`"
            + (f" and {len(there) - 1} more of these files" if len(there) > 1 else "")
            + " already, and somebody may have drawn in it: give another folder, or move them away"
        )
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json_text(labelme(run, file, _picture(run, file, folder))))
    return [folder / file.path for file in files]


def labelme_files(run: RecordedRun) -> list[LabelMeFile]:
    """`bad/001.json` for bad/001.png, where LabelMe looks for it; `bad/001.png.json` beside one of bad/001.bmp.

    A part of a name that Windows does not allow is changed as in the run folder.
    """
    safe = [PurePosixPath(*map(file_name, PurePosixPath(image.record.image).parts)) for image in run.inspected]
    stems = Counter(str(path.with_suffix("")).casefold() for path in safe)
    return [
        LabelMeFile(
            Path(path.with_suffix(".json") if stems[str(path.with_suffix("")).casefold()] == 1 else f"{path}.json"),
            image,
        )
        for path, image in zip(safe, run.inspected, strict=True)
    ]


def labelme(run: RecordedRun, file: LabelMeFile, picture: str) -> dict[str, Any]:
    """The content of one file; `picture` is the path of the image that LabelMe shows, relative to the file."""
    record = file.image.record
    outlines = Outlines(run, file.image)
    return {
        "version": VERSION,
        "flags": {verdict: verdict == record.verdict for verdict in VERDICTS},
        "shapes": [shape for region in annotated(record) for shape in _shapes(region, outlines)],
        "imagePath": picture,
        "imageData": None,
        "imageHeight": record.height,
        "imageWidth": record.width,
    }


def _shapes(region: RegionRecord, outlines: Outlines) -> list[dict[str, Any]]:
    """A polygon for each piece of a region, held together by its number; its box where no outline is known."""
    polygons = outlines.polygons(region)
    corners = [[region.x_min, region.y_min], [region.x_max, region.y_max]]
    drawn = [("polygon", polygon.tolist()) for polygon in polygons] or [("rectangle", corners)]
    return [
        {
            "label": label_of(region),
            "points": [[float(x), float(y)] for x, y in points],
            "group_id": region.region,
            "description": f"{region.verdict}, severity {shown_severity(region.severity)}",
            "shape_type": kind,
            "flags": {},
            "mask": None,
        }
        for kind, points in drawn
    ]


def _picture(run: RecordedRun, file: LabelMeFile, folder: Path) -> str:
    """The image as inspected if it is still there, and otherwise by its name as if it lay beside the file."""
    image = file.image.record.image
    for place in places_of(run, image):
        return Path(os.path.relpath(place, (folder / file.path).parent.resolve())).as_posix()
    return split_page(Path(image))[0].name
