"""What one image takes on this machine: inspected a few times as a folder is, and measured, for `flawmap plan`."""

import os
import re
import shutil
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import CONTEXT, GOLDEN_TILES, Bundle, read_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.looking import Looking, grid_of
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.run.layout import RECORDS
from flawmap.inspect.run.record_files import read_record
from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.image_header import UnreadableError, check_size
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.reading import Reading
from flawmap.tiling.shrink import shrunk_size
from flawmap.tiling.strips.open_rows import STRIP_PIXELS, open_rows, strip_size
from flawmap.tiling.strips.write_rows import ROWS_PER_STRIP, write_rows

Image = NDArray[Any]

IMAGES = 5  # inspected in a row; the first pays for what is done once and is not counted
SIZE = re.compile(r"(\d+)\s*[xX]\s*(\d+)")
TAKT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(s|ms|min)?")
SECONDS = {"s": 1.0, None: 1.0, "ms": 1e-3, "min": 60.0}
LONGEST_SIDE = 100_000  # px


@dataclass(frozen=True)
class Takt:
    """One image on this machine; times are medians over a few images in a row."""

    shape: tuple[int, int]  # height and width, px
    grid: TileGrid
    device: str  # really used
    device_note: str
    milliseconds: dict[str, float]  # by stage; stages of neighbouring images overlap
    seconds: float  # from the end of one image to the end of the next
    alone_seconds: float  # one image with nothing beside it, from reading the file to its record: all stages together
    peak_memory_mib: float | None  # of the whole process
    shown: str  # what picture was inspected
    lanes: int = 1  # images that were scored at once


def measure(bundle_dir: Path, image: str, *, device: str = "auto", progress: ShowProgress = silent) -> Takt:
    """Inspects `image`, an image file or a size "WIDTHxHEIGHT" in px, IMAGES times with the bundle at `bundle_dir`.

    Of a size, the picture is the product as the bundle knows it: the reference of an aligned product, else a golden
    tile mirrored over and over, saved as PNG (float32, and strips: TIFF).

    Raises UsageError: bundle (not sound, not calibrated), `image` neither size nor file, or of another size than an
    aligned product's; ImageError for an image that cannot be inspected; DeviceError.
    """
    bundle = read_bundle(bundle_dir)
    with tempfile.TemporaryDirectory(prefix="flawmap-plan-") as folder:
        images, run_dir = Path(folder) / "images", Path(folder) / "run"
        images.mkdir()
        first, shown = _put_picture(bundle, image, images)
        for number in range(1, IMAGES):
            _same_file(first, images / f"{number}{first.suffix}")
        run = inspect_folder([images], bundle_dir, run_dir, device=device, progress=progress)
        records = [read_record(run_dir / RECORDS / f"{number}{first.suffix}.json") for number in range(IMAGES)]
    counted = [record for record in records[1:] if record is not None]
    broken = next((record for record in counted if record.verdict == "ERROR"), None)
    if broken is not None:
        raise ImageError(image, broken.error)
    milliseconds = {
        stage: statistics.median(record.milliseconds[stage] for record in counted) for stage in counted[0].milliseconds
    }
    seconds = milliseconds.pop("total") / 1e3
    shape = counted[0].height, counted[0].width
    scored = shrunk_size(shape, bundle.info.image.longest_side)
    return Takt(
        shape=shape,
        grid=grid_of(bundle.info, *scored, Looking(bundle, None).drawn(shape), counted[-1].tile_size),
        device=run.device,
        device_note=run.device_note,
        milliseconds=milliseconds,
        seconds=seconds,
        alone_seconds=sum(milliseconds.values()) / 1e3,
        peak_memory_mib=run.peak_memory_mib,
        shown=shown,
        lanes=run.settings["lanes"],
    )


def takt_seconds(text: str) -> float:
    """ "2s", "1.5 s", "500ms", "2" -> seconds; UsageError for anything else, and for 0."""
    found = TAKT.fullmatch(text.strip())
    seconds = float(found[1]) * SECONDS[found[2]] if found else 0.0
    if seconds <= 0:
        raise UsageError(f"`--takt` (={text}) must be a time above 0 such as 2s, 0.5s or 500ms")
    return seconds


def in_words(takt: Takt, allowed_seconds: float | None) -> str:
    """The plan as the command prints it, a table of stages and what it means for a takt of `allowed_seconds`."""
    height, width = takt.shape
    shrunk = "" if (height, width) == (takt.grid.height, takt.grid.width) else f"{width}x{height} px, shrunk to "
    memory = "" if takt.peak_memory_mib is None else f"; {takt.peak_memory_mib:.0f} MiB of memory at most"
    lanes = f", {takt.lanes} images side by side" if takt.lanes > 1 else ""
    lines = [
        f"{shrunk}{takt.grid}, on {takt.device}{lanes}{memory}",
        f"measured on {takt.shown}, {IMAGES} in a row, medians of the last {IMAGES - 1}",
        *(f"  {stage:10} {milliseconds:9.1f} ms" for stage, milliseconds in takt.milliseconds.items()),
        f"An image every {takt.seconds:.3g} s; one alone takes {takt.alone_seconds:.3g} s from its file to its record.",
    ]
    if allowed_seconds is not None:
        lines.append(_verdict(takt, allowed_seconds))
    return "\n".join(lines)


def _verdict(takt: Takt, allowed: float) -> str:
    share = takt.seconds / allowed
    if share <= 1:
        late = "" if takt.alone_seconds <= allowed else ", each verdict later than the next image"
        return f"The takt of {allowed:g} s is met: {1 - share:.0%} to spare{late}."
    stage = max(takt.milliseconds, key=lambda name: takt.milliseconds[name])
    return (
        f"The takt of {allowed:g} s is missed: an image takes {share:.2g} times as long, most of it `{stage}`; "
        "docs/performance.md says what helps."
    )


def _put_picture(bundle: Bundle, image: str, folder: Path) -> tuple[Path, str]:
    """Puts the picture to inspect into `folder`; (its path, what it is)."""
    size = SIZE.fullmatch(image.strip())
    if size is None:
        path = Path(image)
        if not path.is_file():
            raise UsageError(f"`--image` (={image}) must be WIDTHxHEIGHT in px, such as 5120x5120, or an image file")
        _check_readable(path, bundle.info.image.reading)
        return _same_file(path.resolve(), folder / f"0{path.suffix}"), f"{path.name}"
    width, height = int(size[1]), int(size[2])
    if not 1 <= min(width, height) <= max(width, height) <= LONGEST_SIDE:
        raise UsageError(f"`--image` (={image}) must have sides of 1 to {LONGEST_SIDE} px")
    reading = bundle.info.image.reading
    if reading.pages == "channels" or reading.bayer is not None:
        taken = "TIFF stacks" if reading.pages == "channels" else "raw pictures"
        raise UsageError(f"`--image` (={image}) must be a file for a bundle that takes {taken}")
    try:
        check_size(width, height)
    except UnreadableError as error:
        raise UsageError(f"`--image` (={image}): {error}") from None
    path, shown = _draw_product(bundle, height, width, folder / "0")
    return path, f"{shown}, saved as {path.suffix[1:].upper()}"


def _draw_product(bundle: Bundle, height: int, width: int, path: Path) -> tuple[Path, str]:
    """Writes a picture of the product as far as the bundle knows it; (`path` with its suffix, what it shows)."""
    alignment = bundle.info.alignment
    if alignment is not None:
        if (height, width) != (alignment.height, alignment.width):
            raise UsageError(
                f"`--image` (={width}x{height}) must be {alignment.width}x{alignment.height}: the product is aligned"
            )
        picture = ContextMap(np.load(bundle.folder / CONTEXT, allow_pickle=False)).image
        return _write_picture(path, picture), "the reference picture"
    tile = np.load(bundle.folder / GOLDEN_TILES, allow_pickle=False)[0]
    shown = "a golden tile of the bundle, mirrored"
    rows, columns = _mirrored(height, tile.shape[0]), _mirrored(width, tile.shape[1])
    if height * width <= STRIP_PIXELS:
        return _write_picture(path, tile[rows][:, columns]), shown
    bands = (tile[rows[y : y + ROWS_PER_STRIP]][:, columns] for y in range(0, height, ROWS_PER_STRIP))
    path = path.with_suffix(".tif")
    write_rows(path, bands, (height, width, *tile.shape[2:]), tile.dtype)
    return path, shown


def _mirrored(length: int, period: int) -> NDArray[np.int64]:
    """0, 1 ... period - 1, period - 1 ... 1, 0, 0, 1 ..."""
    place = np.arange(length) % (2 * period)
    return np.minimum(place, 2 * period - 1 - place)


def _write_picture(path: Path, picture: Image) -> Path:
    path = path.with_suffix(".tif" if picture.dtype == np.float32 else ".png")
    write_image(path, np.ascontiguousarray(picture))
    return path


def _check_readable(path: Path, reading: Reading) -> None:
    """ImageError, before anything is measured, for a file that cannot be read."""
    if strip_size(path) is None:
        read_image(path, reading)
    else:
        with open_rows(path, reading):  # reads the first row
            pass


def _same_file(path: Path, other: Path) -> Path:
    """Makes `other` the same picture as `path`, without a copy where the disk can."""
    try:
        os.link(path, other)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(path, other)
    return other
