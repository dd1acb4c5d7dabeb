"""What the next training should see: pictures that people found good, and on them what was raised for nothing.

OUT/train/good/000.png    whole pictures, for `flawmap train`: it learns from pictures, and counts false regions by them
OUT/tiles/000.png-1.png   the surroundings of every false alarm, for eyes and for other programs
OUT/tiles.csv             where each of these lies
"""

import csv
from pathlib import Path

import numpy as np

from flawmap.inspect.after_review.files import Exported, copied, reviewed_files
from flawmap.inspect.plain_text import plain
from flawmap.inspect.progress import ShowProgress
from flawmap.inspect.review.mark_record import Box
from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun, box_of, boxes_near
from flawmap.inspect.run.input_images import file_name
from flawmap.inspect.run.recorded_run import RecordedRun
from flawmap.inspect.run.records import ImageRecord, RegionRecord
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.reading import Reading
from flawmap.tiling.sheet_text import sheet_text
from flawmap.tiling.whole_file import write_whole

TILE_PX = 256
COLUMNS = ("tile", "image", "region", "x_min", "y_min", "x_max", "y_max", "severity", "score_max", "reviewer", "note")


def write_tiles(run: ReviewedRun, output: Path, exported: Exported, progress: ShowProgress) -> None:
    """Fills the folder `output`. A picture with a defect is no good one, and stays out of train/good."""
    files, rows = reviewed_files(run, exported), []
    with progress("writing tiles", len(files)) as step:
        for file in files:
            if all(image.is_good for _, image in file.pictures):
                exported.paths.append(copied(file.path, output / "train" / "good" / file.name))
            for picture, image in file.pictures:
                try:
                    rows += _write_tiles(run.recorded, picture, image, output / "tiles")
                except ImageError as error:
                    exported.notes.append(f"no tiles of {error}")
            step(plain(file.name))
    output.mkdir(parents=True, exist_ok=True)
    with write_whole(output / "tiles.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([COLUMNS, *rows])
    exported.paths += [output / "tiles" / str(row[0]) for row in rows] + [output / "tiles.csv"]


def _write_tiles(run: RecordedRun, picture: Path, image: ReviewedImage, folder: Path) -> list[list[object]]:
    """A tile around every false alarm of an image that no defect reaches into; the rows of tiles.csv."""
    false = [(region, image.mark_of.get(box_of(region))) for region in image.record.regions]
    pixels, rows = None, []
    for region, entry in false:
        box = tile_box(region, image.record)
        if entry is None or entry.mark != "false_alarm" or any(boxes_near(box, defect) for defect in image.defects):
            continue
        pixels = read_image(picture, _reading_of(run, image.record)) if pixels is None else pixels
        suffix = "tif" if pixels.dtype == np.float32 else "png"
        tile = f"{file_name(image.name)}-{region.region}.{suffix}"
        folder.mkdir(parents=True, exist_ok=True)
        write_image(folder / tile, pixels[box[0] : box[2], box[1] : box[3]])
        numbers = [region.x_min, region.y_min, region.x_max, region.y_max, round(region.severity, 3), region.score_max]
        texts = [sheet_text(plain(tile)), sheet_text(plain(image.record.image))]
        rows.append([*texts, region.region, *numbers, sheet_text(entry.reviewer), sheet_text(entry.note)])
    return rows


def tile_box(region: RegionRecord, record: ImageRecord) -> Box:
    """TILE_PX each way around a region, or more where it is larger, moved rather than cut at the border."""
    spans = []
    for start, stop, length in (
        (region.y_min, region.y_max, record.height),
        (region.x_min, region.x_max, record.width),
    ):
        size = min(max(TILE_PX, stop - start), length)
        first = min(max((start + stop - size) // 2, 0), length - size)
        spans.append((first, first + size))
    (y0, y1), (x0, x1) = spans
    return y0, x0, y1, x1


def _reading_of(run: RecordedRun, record: ImageRecord) -> Reading:
    if run.info.recipe is None or record.model is None:
        return Reading(**run.info.images)
    return Reading(**run.info.recipe.models[record.model].images)
