"""Calibrates a bundle with the very pipeline that inspects, on good images that training did not see."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flawmap.export.bundle import BundleInfo, read_bundle, update_bundle
from flawmap.export.calibration_record import Calibration, check_false_alarms
from flawmap.inspect.calibration.calibrate import OwnZone, Seen, calibrate_on
from flawmap.inspect.pipeline import Image, Pipeline, check_image_kind
from flawmap.inspect.progress import ShowProgress, Step, silent
from flawmap.inspect.scoring.lanes import open_lanes
from flawmap.inspect.scoring.scorers import as_it_runs
from flawmap.inspect.strip_pipeline import StripPipeline
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image
from flawmap.tiling.look_map import FIRST_ZONE
from flawmap.tiling.pages import pictures_of
from flawmap.tiling.plain_background import PlainBackground
from flawmap.tiling.shrink import shrink
from flawmap.tiling.strips.open_rows import WHOLE_PIXELS, open_rows, strip_size
from flawmap.tiling.strips.whole_limit import too_large

BACKGROUND_IMAGES = 12  # are enough to know its tone


def calibrate_bundle(
    bundle_dir: Path,
    paths: Sequence[Path],
    false_alarms: float,
    *,
    device: str = "auto",
    progress: ShowProgress = silent,
) -> Calibration:
    """Writes a new calibration of what runs on `device` into the bundle and returns it.

    Raises:
        UsageError: no bundle, `false_alarms` outside its range, no plain background where there should be one, a zone
            that no image shows. ImageError: an image cannot be read or is of another
            kind than the bundle's; nothing is skipped in silence. DeviceError: see `open_lanes`.
    """
    check_false_alarms(false_alarms)
    bundle = as_it_runs(read_bundle(bundle_dir), device)
    pictures = pictures_of(paths, bundle.info.image.pages)
    with progress("calibrating", len(pictures)) as step:
        calibration = measure_calibration(Pipeline(bundle, open_lanes(bundle, device, 1)), pictures, false_alarms, step)
    if bundle.running is None:
        update_bundle(bundle_dir, calibration=calibration)
    else:
        again = bundle.running.model_copy(update={"calibration": calibration})
        update_bundle(bundle_dir, faster=[again if f.device == again.device else f for f in bundle.info.faster])
    return calibration


def measure_calibration(pipeline: Pipeline, pictures: Sequence[Path], false_alarms: float, step: Step) -> Calibration:
    """The calibration of `pipeline`'s bundle with its scorer; errors as in `calibrate_bundle`."""
    info, background = pipeline.info, None
    if info.part.where.background == "plain" and pictures:
        background = _measure_background(info, pictures)
        pipeline.looking.background = background
    own = _zones_with_a_rate(info)

    def seen() -> Iterator[Seen]:
        for path in pictures:
            yield replace(_seen(path, pipeline, own), name=path.name)
            step(path.name)

    calibration = calibrate_on(seen(), false_alarms, own)
    return calibration.model_copy(update={"counted": info.counted, "background": background})


def _seen(path: Path, pipeline: Pipeline, own: Sequence[OwnZone]) -> Seen:
    """What calibration keeps of a picture; one too large to be held as a whole is read and scored in bands of rows."""
    size, reading = strip_size(path), pipeline.info.image.reading
    if size is None or pipeline.needs_whole:
        if size is not None and size[0] * size[1] > WHOLE_PIXELS:
            raise ImageError(path, too_large(size, pipeline.needs_whole))
        scored = pipeline.score(pipeline.prepare(read_image(path, reading)))
        return Seen.of(scored.heatmap, scored.look, own)
    look = pipeline.looking.drawn(size)
    with open_rows(path, reading) as rows:
        strips = StripPipeline(pipeline)
        looks = None if look is None else [look[band.y0 : band.y1] for band in strips.grid_bands(rows)]
        return Seen.of_bands(size, (band.heatmap for band in strips.bands(rows)), looks, own)


def _zones_with_a_rate(info: BundleInfo) -> list[OwnZone]:
    return [
        OwnZone(zone.name, value, zone.false_alarms)
        for value, zone in enumerate(info.part.where.zones, start=FIRST_ZONE)
        if zone.false_alarms is not None
    ]


def _measure_background(info: BundleInfo, paths: Sequence[Path]) -> PlainBackground:
    """From some of the good images `paths`, evenly over the list."""

    def images() -> Iterator[Image]:
        for path in paths[:: max(1, len(paths) // BACKGROUND_IMAGES)]:
            image = read_image(path, info.image.reading)
            check_image_kind(image, info.image.channels, info.image.dtype)
            yield shrink(image, info.image.longest_side)

    return PlainBackground.measure(images())
