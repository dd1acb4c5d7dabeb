"""A dataset in two, for what learns from labelled defects: some defective images to learn from, the others to test on.

    python -m benchmarks.labelled_split DATASET OUT --number 'kos(\\d+)' --labelled 13-25

DATASET holds train/good, test/<kind> and ground_truth/<kind> in the MVTec AD layout. Pictures of one item must not
lie on both sides, so images go by the number in their names: `--number` is a regular expression whose group is that
number, `--labelled` the range (both ends in it) that is learned from. OUT/labelled gets the defective images of that
range (`--set hog.labelled=OUT/labelled`), OUT/rest everything else, all good images among it (hard links where the
disk allows it).
"""

import argparse
import re
import sys
from pathlib import Path

from benchmarks.contaminate import link
from flawmap.inspect.evaluation.truth import TrueImage, read_truth
from flawmap.tiling.errors import FlawmapError, UsageError
from flawmap.tiling.images import list_images


def split_labelled(dataset: Path, out: Path, number: str, first: int, last: int) -> tuple[int, int]:
    """Writes OUT/labelled and OUT/rest; returns how many defective images each got.

    Raises UsageError: no such layout, an expression that is none or does not fit a name, a range that leaves one side
    without a defective image, `out` in use.
    """
    train = dataset / "train" / "good"
    if not train.is_dir():
        raise UsageError(f"`DATASET` (={dataset}) must have the MVTec AD layout: {train} is missing")
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"`OUT` (={out}) must be empty or not there")
    truth = read_truth(dataset)
    defective = [image for image in truth if image.mask is not None]
    labelled = [image for image in defective if first <= _number_of(image.path, number) <= last]
    if not 0 < len(labelled) < len(defective):
        raise UsageError(
            f"`--labelled` (={first}-{last}) must leave defective images on both sides: "
            f"it holds {len(labelled)} of {len(defective)}"
        )
    for path in list_images(train):
        link(path, out / "rest" / path.relative_to(dataset))
    for image in truth:
        side = out / ("labelled" if image in labelled else "rest")
        for path in _files_of(image):
            link(path, side / path.relative_to(dataset))
    return len(labelled), len(defective) - len(labelled)


def _number_of(path: Path, number: str) -> int:
    try:
        found = re.search(number, path.name)
        if found is not None:
            return int(found.group(1))
    except (re.error, IndexError, ValueError) as error:
        raise UsageError(
            f"`--number` (={number}) must be a regular expression with a group of digits: {error}"
        ) from None
    raise UsageError(f"`--number` (={number}) does not fit the name of {path}")


def _files_of(image: TrueImage) -> list[Path]:
    return [image.path] if image.mask is None else [image.path, image.mask]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--number", required=True, help="regular expression; its group is the number of the item")
    parser.add_argument("--labelled", required=True, type=_range, help="FIRST-LAST, the numbers to learn from")
    arguments = parser.parse_args()
    try:
        n_labelled, n_rest = split_labelled(arguments.dataset, arguments.out, arguments.number, *arguments.labelled)
    except FlawmapError as error:
        sys.exit(f"labelled_split: {error}")
    print(f"{n_labelled} defective images in {arguments.out / 'labelled'}, {n_rest} in {arguments.out / 'rest'}")


def _range(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"`--labelled` (={text}) must have the form FIRST-LAST, for example 13-25")
    return int(found.group(1)), int(found.group(2))


if __name__ == "__main__":
    main()
