"""`flawmap review calibrate`: a copy of a bundle, calibrated on the images that people looked at and found good."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from flawmap.export.bundle import read_bundle
from flawmap.export.calibration_record import Calibration
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.review.reviewed_run import ReviewedImage, ReviewedRun
from flawmap.inspect.run.source_files import source_file
from flawmap.tiling.errors import UsageError

DEFAULT_FALSE_ALARMS = 0.1  # of a bundle that was never calibrated


@dataclass(frozen=True)
class Recalibrated:
    """The calibration of the copy, how many false regions a good image it allows, and what to know of it."""

    calibration: Calibration
    false_alarms: float
    notes: list[str]


def calibrate_on_review(
    run: ReviewedRun,
    bundle: Path,
    output: Path,
    *,
    false_alarms: float | None = None,
    device: str = "auto",
    progress: ShowProgress = silent,
) -> Recalibrated:
    """Copies `bundle` to `output`, which must not be there, and calibrates the copy on the good images of `run`.

    `false_alarms`: as the bundle allows unless given. `bundle` stays as it is: who inspects with it goes on so.

    Raises UsageError: no bundle, no good image left, `output` is there; what `calibrate_bundle` raises otherwise.
    """
    if output.exists():
        raise UsageError(f"`-o` (={output}) is there already: no bundle is written over, give another name")
    known = read_bundle(bundle)
    good = [image for image in run.images if image.is_good and _inspected_by(run, image, known.digest)]
    pictures = [path for image in good if (path := source_file(run.recorded, image.record)) is not None]
    if not pictures:
        raise UsageError(
            f"no image of the run was looked at as a whole and found good{' and is still there' if good else ''}: "
            "there is nothing to calibrate on"
        )
    own = known.info.calibration.false_alarms if known.info.calibration else DEFAULT_FALSE_ALARMS
    allowed = own if false_alarms is None else false_alarms
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name[:40]}-", dir=output.parent))
    try:
        copy = shutil.copytree(bundle, folder / "bundle")
        calibration = calibrate_bundle(copy, pictures, allowed, device=device, progress=progress)
        copy.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    left_out = [image for image in run.inspected if image.record.n_regions and not (image.complete or image.defects)]
    n_left_out = sum(_inspected_by(run, image, known.digest) for image in left_out)
    few = calibration.few_images_note(allowed)
    return Recalibrated(calibration, allowed, _notes(good, len(pictures), n_left_out, few))


def _inspected_by(run: ReviewedRun, image: ReviewedImage, digest: str) -> bool:
    """With a recipe, a bundle is calibrated on the images of its own camera."""
    recipe = run.recorded.info.recipe
    return recipe is None or (
        image.record.model is not None and recipe.models[image.record.model].bundle_sha256 == digest
    )


def _notes(good: list[ReviewedImage], n_there: int, n_left_out: int, few: str) -> list[str]:
    """`n_there`: of `good`, those calibrated on. `n_left_out`: images with a region that may be good."""
    notes = [few] if few else []
    if n_there < len(good):
        notes.append(f"{len(good) - n_there} of {len(good)} good images are gone, or others by now: not calibrated on")
    alarmed = sum(bool(image.record.n_regions) for image in good)
    if 2 * alarmed > len(good):
        notes.append(
            f"{alarmed} of the {len(good)} good images had raised an alarm: who looks at such images alone calibrates "
            "too high; look at some without a region too"
        )
    if n_left_out:
        notes.append(
            f"{n_left_out} images with a region are neither reviewed completely nor hold a marked defect: without "
            "the good ones among them the copy raises more false alarms than it is allowed"
        )
    return notes
