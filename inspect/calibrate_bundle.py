"""Calibrates a bundle with the very pipeline that inspects, on good images that training did not see."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flawmap.export.bundle import read_bundle, update_bundle
from flawmap.export.calibration_record import Calibration, check_false_alarms
from flawmap.inspect.calibrate import calibrate
from flawmap.inspect.pipeline import Heatmap, Pipeline
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.scorers import open_scorer
from flawmap.tiling.images import read_image


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
    with progress("calibrating", len(paths)) as step:

        def heatmaps() -> Iterator[Heatmap]:
            for path in paths:
                yield pipeline.heatmap(read_image(path))[0]
                step(path.name)

        calibration = calibrate(heatmaps(), false_alarms)
    update_bundle(bundle_dir, calibration=calibration)
    return calibration
