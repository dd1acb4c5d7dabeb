"""What people marked, for other programs and for the next training: what `flawmap review export` does.

A picture without a defect says something only if somebody looked at it as a whole: others would pass for good. So good
pictures, masks and tiles come from those that are complete (`flawmap.inspect.review.reviewed_run`); COCO also has those
with a marked defect, and says which are which.
"""

from pathlib import Path

from flawmap.inspect.after_review.coco import coco_of_marks
from flawmap.inspect.after_review.files import Exported
from flawmap.inspect.after_review.masks import write_masks
from flawmap.inspect.after_review.tiles import write_tiles
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.review.formats import ReviewFormat
from flawmap.inspect.review.reviewed_run import ReviewedRun
from flawmap.inspect.run.record_files import json_text
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_text


def export_review(run: ReviewedRun, to: ReviewFormat, output: Path, *, progress: ShowProgress = silent) -> Exported:
    """Writes the marks on `run`: COCO into the file `output`, masks and tiles into a new folder.

    Raises UsageError: nothing to write, a folder with something in it, a place that cannot be written; ImageError for a
    damaged heatmap that outlines would be drawn from.
    """
    exported = Exported(notes=_left_out(run))
    try:
        if to is ReviewFormat.COCO:
            if output.suffix.lower() != ".json" or output.is_dir():
                raise UsageError(f"`-o` (={output}) must be a file that ends in .json: `--to coco` writes one")
            output.parent.mkdir(parents=True, exist_ok=True)
            write_text(output, json_text(coco_of_marks(run)))
            exported.paths.append(output)
            return exported
        if output.exists() and (not output.is_dir() or any(output.iterdir())):
            raise UsageError(f"`-o` (={output}) must be a new or an empty folder: `--to {to}` writes one")
        if not any(image.complete for image in run.images):
            raise UsageError(
                "no image was looked at as a whole and marked throughout: nothing tells a good picture from one that "
                "nobody looked at (in the review, key C)"
            )
        write = write_masks if to is ReviewFormat.MASKS else write_tiles
        write(run, output, exported, progress)
        return exported
    except OSError as error:
        raise UsageError(f"`-o` (={output}) cannot be written: {error.strerror or error}") from error


def _left_out(run: ReviewedRun) -> list[str]:
    incomplete = sum(not image.complete for image in run.inspected)
    notes = []
    if incomplete:
        notes.append(
            f"{incomplete} of {len(run.inspected)} images were not reviewed completely: what is good there is not known"
        )
    if run.stale:
        notes.append(f"{len(run.stale)} mark{'s are' if len(run.stale) > 1 else ' is'} stale")
    return notes
