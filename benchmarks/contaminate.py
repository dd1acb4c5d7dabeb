"""A dataset whose good training images are not all good, as in the field: what does the model make of it?

    python -m benchmarks.contaminate DATASET OUT --share 0.05

DATASET holds train/good, test/<kind> and ground_truth/<kind> in the MVTec AD layout. OUT gets the same files (hard
links where the disk allows it), with defective test images moved into train/good until they are that share of it;
OUT/contaminated.txt lists them.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from flawmap.tiling.errors import FlawmapError, UsageError
from flawmap.tiling.images import list_images


def contaminate(dataset: Path, out: Path, share: float, seed: int = 0) -> list[str]:
    """Writes the dataset `out`; returns the moved images, relative to `dataset`.

    Raises UsageError: a share outside (0, 1), no such layout, too few defective images, `out` in use.
    """
    if not 0 < share < 1:
        raise UsageError(f"`--share` (={share:g}) must lie between 0 and 1, both excluded")
    for folder in (dataset / "train" / "good", dataset / "test"):
        if not folder.is_dir():
            raise UsageError(f"`DATASET` (={dataset}) must have the MVTec AD layout: {folder} is missing")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"`OUT` (={out}) must be empty or not there")
    files = [path.relative_to(dataset) for path in sorted(dataset.rglob("*")) if path.is_file()]
    defective = [path.relative_to(dataset) for path in list_images(dataset / "test")]
    defective = [path for path in defective if path.parts[1] != "good"]
    n_good = len(list_images(dataset / "train" / "good"))
    count = max(1, round(share * n_good / (1 - share)))
    if count >= len(defective):
        raise UsageError(
            f"`--share` (={share:g}) of {n_good} good images takes {count} defective images and one left to test on, "
            f"{dataset / 'test'} has {len(defective)}"
        )
    moved = sorted(defective[i] for i in np.random.default_rng(seed).permutation(len(defective))[:count])
    for path in files:
        if path in moved:
            link(dataset / path, out / "train" / "good" / f"{path.parts[1]}_{path.name}")
        elif not _is_mask_of(path, moved):
            link(dataset / path, out / path)
    names = [path.as_posix() for path in moved]
    (out / "contaminated.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return names


def _is_mask_of(path: Path, images: list[Path]) -> bool:
    return path.parts[0] == "ground_truth" and any(
        (path.parts[1], path.stem) == (image.parts[1], f"{image.stem}_mask") for image in images
    )


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.05, help="of train/good that shall be defective")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        names = contaminate(arguments.dataset, arguments.out, arguments.share, arguments.seed)
    except FlawmapError as error:
        sys.exit(f"contaminate: {error}")
    print(f"{len(names)} defective images in {arguments.out / 'train' / 'good'}")


if __name__ == "__main__":
    main()
