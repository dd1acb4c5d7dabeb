"""How well do few images calibrate? Choices of n good images calibrate, the other good ones and the defects judge.

    python -m benchmarks.few_images BUNDLE DATASET [--images 1 2 3 5] [--false-alarms 0.1] [--choices 60]

DATASET is in the MVTec AD layout. Its good images are those of train/good that the bundle's training held out to
calibrate, and test/good. Prints a line of Markdown for each n, means over all choices or over so many random ones:
false regions a good image that did not calibrate, and the share of defects found, first with the tail alone, then with
what is said of scores that no calibration image showed (`flawmap.export.calibration_record`).

A defect is found here where a pixel that is hot enough lies within 3 px of it; `flawmap evaluate` asks whether the box
of a region comes so near.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.export.bundle import read_bundle
from flawmap.export.calibration_record import Calibration, check_false_alarms
from flawmap.inspect.calibration.calibrate import Seen, calibrate_on
from flawmap.inspect.calibration.hot_pixels import HotPixels
from flawmap.inspect.defects import FRAGMENT_REACH
from flawmap.inspect.evaluation.truth import GOOD, TrueImage, read_truth
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.true_defects import NEAR, TrueDefect
from flawmap.tiling.errors import FlawmapError, UsageError
from flawmap.tiling.images import read_image


@dataclass(frozen=True)
class Defective:
    """A defective image: its hottest pixels and, for each defect, which of them lie within `NEAR` px of it."""

    hot: HotPixels
    near: list[NDArray[np.intp]]


def see(pipeline: Pipeline, path: Path) -> Seen:
    scored = pipeline.score(pipeline.prepare(read_image(path, pipeline.info.image.reading)))
    return Seen.of(scored.heatmap, scored.look)


def see_defects(pipeline: Pipeline, image: TrueImage) -> Defective:
    hot = see(pipeline, image.path).hot
    return Defective(hot, [near_defect(hot, defect) for defect in image.defects(FRAGMENT_REACH, hot.shape)])


def near_defect(hot: HotPixels, defect: TrueDefect) -> NDArray[np.intp]:
    """Which of the hot pixels lie within `NEAR` px (Chebyshev) of the defect."""
    around = cv2.dilate(np.pad(defect.pixels, NEAR).astype(np.uint8), np.ones((2 * NEAR + 1,) * 2, np.uint8)) > 0
    y, x = np.divmod(hot.indices, hot.shape[1])
    y, x = y - (defect.y0 - NEAR), x - (defect.x0 - NEAR)
    inside = np.flatnonzero((y >= 0) & (y < around.shape[0]) & (x >= 0) & (x < around.shape[1]))
    return inside[around[y[inside], x[inside]]]


def judged(
    calibration: Calibration, good: Sequence[Seen], defective: Sequence[Defective], false_alarms: float
) -> tuple[float, float]:
    """(false regions a good image, share of the defects found) where so many false regions are allowed."""
    ng = calibration.score_at(-math.log10(false_alarms))
    false = 0
    for seen in good:
        hot = seen.hot.lowered(calibration.border)
        false += int((hot.peaks(max(calibration.grow, hot.level)) >= ng).sum())
    found = []
    for image in defective:
        scores = image.hot.lowered(calibration.border).scores
        found += [bool((scores[near] >= ng).any()) for near in image.near]
    return false / len(good), float(np.mean(found))


def choices(n_images: int, n: int, most: int) -> list[tuple[int, ...]]:
    """All choices of `n` of `n_images`, or `most` random ones where there are more."""
    if math.comb(n_images, n) <= most:
        return list(itertools.combinations(range(n_images), n))
    rng = np.random.default_rng(0)
    return [tuple(rng.choice(n_images, n, replace=False).tolist()) for _ in range(most)]


def table(
    good: Sequence[Seen], defective: Sequence[Defective], numbers: Sequence[int], false_alarms: float, most: int
) -> Iterator[str]:
    """Lines of Markdown, one for each of `numbers` of images that calibrate and leave one to judge."""
    yield "| images | false, recall by the tail alone | false, recall |"
    yield "|---|---|---|"
    for n in numbers:
        if n >= len(good):
            continue
        alone, now = [], []
        for chosen in choices(len(good), n, most):
            calibration = calibrate_on([good[i] for i in chosen], false_alarms)
            rest = [seen for i, seen in enumerate(good) if i not in chosen]
            now.append(judged(calibration, rest, defective, false_alarms))
            tail = calibration.model_copy(update={"image_peaks": []})
            alone.append(judged(tail, rest, defective, false_alarms))
        cells = [", ".join(f"{mean:.2f}" for mean in np.mean(pairs, axis=0)) for pairs in (alone, now)]
        yield f"| {n} of {len(good)} | {cells[0]} | {cells[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[1, 2, 3, 5])
    parser.add_argument("--false-alarms", type=float, default=0.1)
    parser.add_argument("--choices", type=int, default=60)
    given = parser.parse_args()
    try:
        check_false_alarms(given.false_alarms)
        bundle = read_bundle(given.bundle)
        where = bundle.info.part.where
        if where.background == "plain" or any(zone.false_alarms is not None for zone in where.zones):
            raise UsageError(f"`BUNDLE` (={given.bundle}) must have no zones with rates and no plain background")
        pipeline = Pipeline(bundle, TileScorer(bundle, "cpu"))
        held_out = [given.dataset / "train" / GOOD / name for name in bundle.info.provenance["held_out_to_calibrate"]]
        tested = read_truth(given.dataset, bundle.info.image.pages)
        good = [see(pipeline, path) for path in [*held_out, *(image.path for image in tested if image.mask is None)]]
        defective = [see_defects(pipeline, image) for image in tested if image.mask is not None]
        if not any(image.near for image in defective):
            raise UsageError(f"`DATASET` (={given.dataset}) must hold a defective image: there is none in test/")
        for line in table(good, defective, given.images, given.false_alarms, given.choices):
            print(line, flush=True)
    except FlawmapError as error:
        sys.exit(f"few_images: {error}")


if __name__ == "__main__":
    main()
