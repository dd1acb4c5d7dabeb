"""Runs to convert."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from flawmap.export.part_record import Part
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.run.recorded_run import RecordedRun, read_recorded_run
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle
from tests.written_runs import HOSTILE, image_record, region, run_info, write_run

PIXEL = {"pixel_size": "0.02 mm"}


def surface(seed: int, *, height: int = 600, width: int = 700) -> NDArray[Any]:
    """A good surface with a hooked scratch, a dot and a stain."""
    image = good_image(height, width, seed=seed)
    if seed:
        image[100:104, 200:260] = 250
        image[104:150, 256:260] = 250
        image[300:303, 400:403] = 20
        image[500:520, 600:640] = 255
    return image


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with heatmaps: a good image, two defective ones (one below a folder), pages of a stack, a broken file."""
    folder = tmp_path_factory.mktemp("run")
    images = folder / "images"
    (images / "lot 1").mkdir(parents=True)
    write_image(images / "good.png", surface(0))
    write_image(images / "bad.png", surface(1))
    write_image(images / "bad.bmp", surface(2))
    write_image(images / "lot 1" / "ünï.png", surface(3))
    tifffile.imwrite(images / "stack.tif", np.stack([surface(0), surface(4)]), photometric="minisblack")
    (images / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    bundle = make_bundle(folder / "toy.bundle", part=Part.model_validate(PIXEL), pages="pictures")
    inspect_folder([images], bundle.folder, folder / "run", heatmaps=True, zoom=False)
    return folder / "run"


@pytest.fixture(scope="session")
def recorded(run_dir: Path) -> RecordedRun:
    return read_recorded_run(run_dir)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A run without heatmaps whose images have every hostile name."""
    spots = [
        region((10, 10, 20, 30), defect_class='<b>"stain"'),
        region((1, 1, 5, 6), 2, verdict="OK", severity=0.1, rule="specks"),
    ]
    records = [image_record(name, verdict="NG", severity=1.5, regions=spots) for name in HOSTILE]
    records.append(image_record("torn.png", verdict="ERROR", error="truncated <PNG>", width=0, height=0))
    write_run(tmp_path / "run", records, run_info())
    return tmp_path / "run"
