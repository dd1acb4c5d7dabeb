"""One picture of a folder that is too large to be held as a whole: scored row by row, its arrays kept on the disk."""

from dataclasses import dataclass
from pathlib import Path

from flawmap.inspect.pipeline import Outcome, Pipeline
from flawmap.inspect.read_ahead import Decoded, decode_whole
from flawmap.inspect.strip_pipeline import StripFiles, StripPipeline
from flawmap.tiling.errors import ImageError
from flawmap.tiling.strips.open_rows import WHOLE_PIXELS, open_rows
from flawmap.tiling.strips.whole_limit import too_large


@dataclass(frozen=True)
class ScoredStrip:
    """What was decided on a strip, and the arrays to draw it from; whoever draws it closes the files."""

    outcome: Outcome
    files: StripFiles
    n_bands: int


def score_strip(decoded: Decoded, pipeline: Pipeline, folder: Path) -> ScoredStrip:
    """Inspects `decoded`, which was not read; its arrays take up room in `folder` until they were drawn.

    Errors: ImageError for rows that cannot be read or do not fit the bundle, OSError for a full disk.
    """
    path = decoded.entry.path
    strips = StripPipeline(pipeline)
    with open_rows(path, decoded.entry.reading) as rows:
        files = StripFiles(folder, rows)
        try:
            outcome = strips.inspect(rows, files, pipeline.info.part.stated_by(path))
        except BaseException:
            files.close()
            raise
        return ScoredStrip(outcome, files, len(strips.grid_bands(rows)))


def read_whole(decoded: Decoded, pipeline: Pipeline) -> None:
    """Reads and prepares, as a whole, what was not read because it is large, for a bundle that knows no bands.

    ImageError for a picture of more than WHOLE_PIXELS.
    """
    assert decoded.strip is not None
    height, width = decoded.strip
    if height * width > WHOLE_PIXELS:
        raise ImageError(decoded.entry.path, too_large(decoded.strip, pipeline.needs_whole))
    decode_whole(decoded, pipeline.prepare)
