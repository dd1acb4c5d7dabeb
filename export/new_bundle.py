"""What every bundle is made with: a folder that appears whole or not at all, the images' sizes, an aligned product's
reference.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import CONTEXT, GOLDEN_CONTEXT, AlignmentInfo
from flawmap.export.parity import Parity
from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.pages import file_of
from flawmap.tiling.shrink import shrunk_size
from flawmap.tiling.strips.open_rows import picture_size
from flawmap.training.config import ImageSettings
from flawmap.training.split import Split

MEASURED_IMAGES = 16  # looked at for their size
UNNAMED = "product"  # what a checkpoint is about that names none


@dataclass(frozen=True)
class Written:
    """A bundle that still has to be calibrated, on the images that training held out for it."""

    parity: Parity | None  # None: there is no network that ONNX Runtime could run otherwise than torch
    held_out: list[Path]
    false_alarms: float


@contextmanager
def new_bundle(out: Path) -> Iterator[Path]:
    """An empty folder to fill; it becomes `out`, in the place of an older bundle, unless an error ends the block.

    UsageError where `out` is something else than a bundle.
    """
    if out.exists() and not (out / "bundle.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"`--output` (={out}) is there and is not a bundle: give another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}-", dir=out.parent))
    replaced = folder.with_name(f"{folder.name}-replaced")
    try:
        folder.chmod(0o755)
        yield folder
        if out.exists():
            out.rename(replaced)  # out of the way in one step: a kill leaves the old bundle or the new one, never half
        folder.rename(out)
    finally:
        for leftover in (folder, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def image_sizes(split: Split, settings: ImageSettings) -> list[tuple[int, int]]:
    """Heights and widths, as tiles are cut from, of a few good images that are still where training found them."""
    paths = [p for p in split.calibrate + split.train if file_of(p).is_file()][:MEASURED_IMAGES]
    sizes = (picture_size(path) or read_image(path, settings.reading).shape for path in paths)
    return [shrunk_size(size, settings.longest_side) for size in sizes]


def alignment_info(reference: ContextMap | None, slack: int) -> AlignmentInfo | None:
    """What bundle.json says of the `reference`; None for a product that is not aligned."""
    if reference is None:
        return None
    height, width = reference.shape
    return AlignmentInfo(height=height, width=width, slack=slack)


def write_reference(folder: Path, reference: ContextMap, golden_context: NDArray[np.generic]) -> None:
    """Into a bundle: the `reference`, and what it shows at the golden tiles, whose folder is there already."""
    np.save(folder / GOLDEN_CONTEXT, golden_context)
    np.save(folder / CONTEXT, reference.pixels)
    picture = reference.image
    if picture.ndim == 2 or picture.shape[2] == 3:  # for people, to draw on: docs/where_to_look.md
        write_image(folder / ("reference.tif" if picture.dtype == np.float32 else "reference.png"), picture)
