"""Sample data, defect by defect: how many of each contrast are found, at the run's threshold and at others.

    python -m flawmap.sample_data --surface cloth --out DATASET
    flawmap train DATASET/train/good -o x.bundle
    flawmap inspect DATASET/test -m x.bundle -o RUN_DIR
    python -m benchmarks.grades RUN_DIR DATASET

`flawmap evaluate` counts the pieces of the masks; here each defect of DATASET/truth.json counts once, and is found
where one of its pieces is. Prints a table in Markdown, and how many images are NG.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from flawmap.inspect.evaluation.evaluate import Evaluation, evaluate
from flawmap.inspect.evaluation.froc import operating_points
from flawmap.sample_data.placing import GRADES
from flawmap.tiling.errors import FlawmapError, UsageError


class DrawnDefect(NamedTuple):
    """A defect of truth.json, and the score up to which it is found; -inf where nothing is near it."""

    kind: str
    grade: str
    score: float


def drawn_defects(evaluation: Evaluation, dataset: Path) -> list[DrawnDefect]:
    """The defects of the images that were evaluated; UsageError where `dataset` has no truth.json."""
    path = dataset / "truth.json"
    if not path.is_file():
        raise UsageError(f"`DATASET` (={dataset}) must be what `python -m flawmap.sample_data` wrote: no truth.json")
    truth = json.loads(path.read_text(encoding="utf-8"))["images"]
    found = []
    for outcome in evaluation.outcomes:
        for drawn in truth[f"test/{outcome.image}"]:
            scores = [piece.score for piece in outcome.defects if _overlap(piece.box, drawn["box"])]
            found.append(DrawnDefect(drawn["kind"], drawn["grade"], max(scores)))
    return found


def _overlap(piece: Sequence[int], box: Sequence[int]) -> bool:
    return piece[0] < box[2] and box[0] < piece[2] and piece[1] < box[3] and box[1] < piece[3]


def table(evaluation: Evaluation, defects: list[DrawnDefect]) -> Iterator[str]:
    """Lines of Markdown: a row for each grade, one for each kind, one for all."""
    points = operating_points(evaluation.outcomes)
    thresholds = [evaluation.metrics["ng_score"], *(point.score for point in points)]
    header = ["defects", "run's threshold", *(f"at {point.rate:g}" for point in points)]
    yield "| " + " | ".join(header) + " |"
    yield "|" + "---|" * len(header)
    kinds = sorted({defect.kind for defect in defects})
    groups = {
        **{grade: [d for d in defects if d.grade == grade] for grade in reversed(GRADES)},
        **{kind: [d for d in defects if d.kind == kind] for kind in kinds},
        "all": defects,
    }
    for name, group in groups.items():
        cells = [f"{sum(d.score >= threshold for d in group)}/{len(group)}" for threshold in thresholds]
        yield "| " + " | ".join([name, *cells]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("dataset", type=Path)
    arguments = parser.parse_args()
    try:
        evaluation = evaluate(arguments.run_dir, arguments.dataset)
        defects = drawn_defects(evaluation, arguments.dataset)
    except FlawmapError as error:
        sys.exit(f"grades: {error}")
    print(*table(evaluation, defects), sep="\n")
    for word, good in (("good", True), ("defective", False)):
        images = [outcome for outcome in evaluation.outcomes if outcome.is_good == good]
        print(f"{sum(outcome.verdict == 'NG' for outcome in images)} of {len(images)} {word} images are NG")


if __name__ == "__main__":
    main()
