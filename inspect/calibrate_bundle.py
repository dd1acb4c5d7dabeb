"""Calibrates a bundle with the very pipeline that inspects, on good images that training did not see."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flawmap.export.bundle import read_bundle, update_bundle
from flawmap.export.calibration_record import Calibration, check_false_alarms
from flawmap.inspect.calibrate import Seen, calibrate_on
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.scorers import open_scorer
from flawmap.inspect.strip_pipeline import StripPipeline, refusal
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image
from flawmap.tiling.pages import pictures_of
from flawmap.tiling.strips.open_rows import WHOLE_PIXELS, open_rows, strip_size


def calibrate_bundle(
    bundle_dir: Path,
    paths: Sequence[Path],
    false_alarms: float,
    *,
    device: str = "auto",
    progress: ShowProgress = silent,
) -> Calibration:
    """Writes a new calibration into the bundle and returns it.

    Raises:
        UsageError: no bundle, or `false_alarms` outside its range. ImageError: an image cannot be read or is of another
            kind than the bundle's; nothing is skipped in silence. DeviceError: see `open_scorer`.
    """
    check_false_alarms(false_alarms)
    bundle = read_bundle(bundle_dir)
    pipeline = Pipeline(bundle, open_scorer(bundle, device))
    pictures = pictures_of(paths, bundle.info.image.pages)
    with progress("calibrating", len(pictures)) as step:

        def seen() -> Iterator[Seen]:
            for path in pictures:
                yield _seen(path, pipeline)
                step(path.name)

        calibration = calibrate_on(seen(), false_alarms)
    update_bundle(bundle_dir, calibration=calibration)
    return calibration


def _seen(path: Path, pipeline: Pipeline) -> Seen:
    """What calibration keeps of a picture; one too large to be held as a whole is read and scored in bands of rows."""
    size, reading = strip_size(path), pipeline.info.image.reading
    if size is None or pipeline.needs_whole:
        if size is not None and size[0] * size[1] > WHOLE_PIXELS:
            raise ImageError(path, refusal(*size, pipeline.needs_whole))
        return Seen.of(pipeline.heatmap(read_image(path, reading))[0])
    with open_rows(path, reading) as rows:
        bands = StripPipeline(pipeline).bands(rows)
        return Seen.of_bands(size, (band.heatmap for band in bands))
