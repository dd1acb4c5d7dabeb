"""flawmap as a library: open a bundle once, then give it arrays.

from flawmap.inspect.inspector import Inspector

inspector = Inspector("board.bundle")
result = inspector.inspect(image)  # [H, W] or [H, W, C], three channels in RGB order
print(result.verdict, result.regions)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import read_bundle
from flawmap.inspect.inspect_image import region_records
from flawmap.inspect.pipeline import Outcome, Pipeline
from flawmap.inspect.run.records import RegionRecord, Verdict
from flawmap.inspect.scoring.lanes import open_lanes
from flawmap.inspect.scoring.scorers import as_it_runs
from flawmap.inspect.strip_pipeline import StripArrays, StripPipeline
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import read_image
from flawmap.tiling.physical_size import PixelSize
from flawmap.tiling.strips.open_rows import WHOLE_PIXELS, open_rows, strip_size
from flawmap.tiling.strips.whole_limit import too_large

Image = NDArray[Any]


@dataclass(frozen=True)
class Result:
    """What flawmap says about one image; everything in it is the caller's to keep and to change."""

    verdict: Verdict  # OK, REVIEW or NG: of the worst region
    severity: float  # of the highest score; of an OK image: how near it came to a region
    regions: list[RegionRecord]  # the most severe first; boxes half-open, in px of the image
    heatmap: NDArray[np.float32]  # [H, W], scores
    reconstruction: Image  # what the network holds for good: shape and dtype of the image
    milliseconds: dict[str, float]  # by stage


class Inspector:
    """A bundle, opened, warmed up and self-tested once the constructor returns.

    Any number of threads may call `inspect` at once. They take turns at the network, where one image keeps every core
    busy (on a GPU two are on their way at once); aligning an image and finding its regions go on beside it.
    docs/library.md has the measurement.
    """

    def __init__(self, bundle: Path | str, *, device: str = "auto", false_alarms: float | None = None) -> None:
        """`bundle`: folder that `flawmap train` wrote. `device`: auto, cpu, cuda, openvino or tensorrt.

        `false_alarms`: false regions that a good image may show on average, above 0 and up to 100; what the bundle was
        calibrated for unless given.

        Raises UsageError for a bundle that is not there, not sound or not calibrated, DeviceError for a device that is
        not here.
        """
        sound = as_it_runs(read_bundle(Path(bundle)), device)
        calibration = sound.info.calibration
        if calibration is None:
            raise UsageError(f"`bundle` (={bundle}) is not calibrated: run `flawmap calibrate` on good images first")
        self.thresholds = Thresholds.of(calibration, calibration.false_alarms if false_alarms is None else false_alarms)
        self.info = sound.info
        self.bundle_digest = sound.digest  # names the bundle and everything in it: 64 hex digits, as in run.json
        lanes = open_lanes(sound, device)
        self.device = lanes.device  # what really runs: cpu, cuda, openvino or tensorrt
        # Sentences that somebody should read once: why there is no GPU, whether the calibration is thin.
        notes = lanes.device_note, calibration.few_images_note(self.thresholds.false_alarms)
        self.notes = [note for note in notes if note]
        self._pipeline = Pipeline(sound, lanes, self.thresholds)

    def inspect(self, image: Image, *, pixel_size: PixelSize | None = None) -> Result:
        """Inspects `image`: [H, W], [H, W, 1] or [H, W, C], any size, of the bundle's dtype and channels.

        Three channels are in RGB order, those of a photometric stack in the order of its pages.

        The array is only read, and may be a view (a crop, a camera's buffer, the other byte order). `pixel_size`: what
        a pixel covers, which counts where the bundle's part description says `pixel_size: image`.

        Raises ImageError (`reason` says it in one line) for an image of another kind than the bundle's, an empty one,
        one that holds NaN, one in which an aligned product cannot be found, or one without a pixel size where rules
        need it.
        """
        pixels = _plain(image)
        prepared = self._pipeline.prepare(pixels)
        scored = self._pipeline.score(prepared)
        found = self._pipeline.judge(scored, pixels, pixel_size)
        return _result(found, found.heatmap, found.reconstruction)

    def inspect_file(self, path: Path | str) -> Result:
        """The same for an image file (PNG, BMP, JPEG, TIFF); ImageError also for one that cannot be read.

        A page of a file is called `stack.tif#2`, where the bundle takes pages for pictures. A picture of more than 67
        megapixels is read and scored in bands of rows (docs/strips.md): only the result's two arrays are held whole.
        """
        path, reading = Path(path), self.info.image.reading
        stated, size = self.info.part.stated_by(path), strip_size(path)
        if size is None or self._pipeline.needs_whole:
            if size is not None and size[0] * size[1] > WHOLE_PIXELS:
                raise ImageError(path, too_large(size, self._pipeline.needs_whole))
            return self.inspect(read_image(path, reading), pixel_size=stated)
        with open_rows(path, reading) as rows:
            arrays = StripArrays(rows)
            found = StripPipeline(self._pipeline).inspect(rows, arrays, stated)
        return _result(found, arrays.heatmap, arrays.reconstruction)


def _result(found: Outcome, heatmap: NDArray[np.float32], reconstruction: Image) -> Result:
    return Result(
        verdict=found.verdict,
        severity=found.severity,
        regions=region_records(found),
        heatmap=heatmap,
        reconstruction=reconstruction,
        milliseconds=found.milliseconds,
    )


def _plain(image: Image) -> Image:
    """`image` as files give it: contiguous, native byte order, mono as [H, W]; ImageError for what no file holds."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.size == 0 or image.ndim not in (2, 3):
        raise ImageError("image", f"an array of shape {image.shape} is not an image [H, W] or [H, W, C]")
    pixels = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError("image", f"{int((~np.isfinite(pixels)).sum())} values are NaN or infinite")
    return pixels
