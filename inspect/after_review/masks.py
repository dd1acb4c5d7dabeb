"""Reviewed pictures and masks of their marked defects in the MVTec AD layout, which `flawmap evaluate` reads.

OUT/test/good/000.png
OUT/test/defect/001.png      OUT/ground_truth/defect/001_mask.png
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.after_review.files import Exported, copied, reviewed_files
from flawmap.inspect.exchange.outlines import Outlines
from flawmap.inspect.plain_text import plain
from flawmap.inspect.progress import ShowProgress
from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun, box_of
from flawmap.inspect.run.recorded_run import RecordedImage, RecordedRun
from flawmap.tiling.images import write_image
from flawmap.tiling.pages import mask_name

DEFECT = "defect"  # the kind of every defective picture


def write_masks(run: ReviewedRun, output: Path, exported: Exported, progress: ShowProgress) -> None:
    """Fills the folder `output`. A stack with a defect on one of its pages lies among the defective ones."""
    files = reviewed_files(run, exported)
    with progress("writing masks", len(files)) as step:
        for file in files:
            kind = DEFECT if any(image.defects for _, image in file.pictures) else "good"
            exported.paths.append(copied(file.path, output / "test" / kind / file.name))
            for picture, image in file.pictures:
                if image.defects:
                    page = picture.name.removeprefix(file.path.name)
                    path = output / "ground_truth" / DEFECT / mask_name(Path(file.name + page))
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_image(path, mask_of(run.recorded, image))
                    exported.paths.append(path)
            step(plain(file.name))


def mask_of(run: RecordedRun, image: ReviewedImage) -> NDArray[np.uint8]:
    """uint8 [H, W] of an image, 255 where a defect is marked: its pixels where the run has heatmaps, else its box."""
    mask = np.zeros((image.record.height, image.record.width), np.uint8)
    outlines = Outlines(run, RecordedImage(image.name, image.record))
    regions = {box_of(region): region for region in image.record.regions}
    for box in image.defects:
        inside = mask[box[0] : box[2], box[1] : box[3]]
        pixels = outlines.pixels(regions[box]) if box in regions else None
        if pixels is None or not pixels.any():
            inside[:] = 255
        else:
            inside[pixels] = 255
    return mask
