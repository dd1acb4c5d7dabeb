"""One defect among good pictures, evaluated as a user would: what every kind of model must be able to."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flawmap.inspect.evaluate_run import evaluate_run, page_of
from flawmap.tiling.images import write_image

Image = NDArray[np.generic]


def write_dataset(folder: Path, good: Sequence[Image], defective: Image, place: tuple[slice, slice]) -> Path:
    """`folder` in the MVTec AD layout: the `good` pictures, and `defective` with one defect, which fills `place`."""
    mask = np.zeros(defective.shape[:2], np.uint8)
    mask[place] = 255
    pictures = {f"test/good/{number}.tif": image for number, image in enumerate(good)}
    pictures |= {"test/defect/0.tif": defective, "ground_truth/defect/0_mask.png": mask}
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, picture)
    return folder


def assert_defect_stands_out(run_dir: Path, dataset: Path) -> None:
    """Of a run with heatmaps over such a dataset: found before any good picture shows a false region."""
    metrics = evaluate_run(run_dir, dataset)
    assert (metrics["images"]["defective"], metrics["images_not_inspected"]) == (1, 0)
    assert metrics["image_auroc"] == 1.0
    fewest = metrics["froc"]["points"][0]
    assert (fewest["false_regions_per_good_image"], fewest["region_recall"]) == (0.0, 1.0)
    assert metrics["promises"][0]["good_images"] == metrics["images"]["good"] > 0
    assert metrics["pixel_ap"] > 0.2  # by chance: the share of marked pixels, below 0.04 in these tests
    assert page_of(run_dir).is_file()
