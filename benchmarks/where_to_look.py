"""What regions of interest save: one picture, whole and with what counts in a part of it.

    python -m benchmarks.where_to_look [--side 5120] [--shares 1 0.5 0.25 0.1]

The network is that of the default settings with weights at random: what it says does not matter to the time. Each share
is one rectangle in the middle, put into the bundle as `flawmap configure` does, so that tiles have the size that fits
it. Times are medians of `Pipeline.inspect` on the CPU, in seconds.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from flawmap.export.bundle import read_bundle, rewrite_bundle
from flawmap.export.bundle_writer import write_bundle
from flawmap.export.configure_bundle import configure_bundle
from flawmap.export.part_record import Part
from flawmap.export.tile_size import choose_tile_size
from flawmap.export.where_record import Where
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.scorers import open_scorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.sample_data.dataset import Product
from flawmap.tiling.images import write_image
from flawmap.tiling.look_map import EVERYWHERE, LookMap, WhereToLook
from flawmap.training.config import load_config
from tests.products import write_untrained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=5120, help="height and width in px")
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.5, 0.25, 0.1], help="of the picture")
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    image = Product("metal", (given.side, given.side)).good(0)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bench.bundle"
        write_bundle(write_untrained(Path(folder), load_config(), tile=256), bundle)
        _fit_tiles_to_the_whole(bundle, image.shape)
        write_image(Path(folder) / "good.png", image)
        print("| counts | tiles | tile px | seconds | times faster |\n|---|---|---|---|---|")
        whole = 0.0
        for share in given.shares:
            tiles, size, seconds = _measure(bundle, Path(folder) / "good.png", image, share, given.repeat)
            whole = whole or seconds
            print(f"| {share:.0%} | {tiles} | {size} | {seconds:.2f} | {whole / seconds:.1f} |", flush=True)


def _fit_tiles_to_the_whole(bundle: Path, shape: tuple[int, ...]) -> None:
    """As if the network had been trained on such pictures: the small ones here gave it small tiles."""
    info = read_bundle(bundle).info
    tile = info.tile
    size = choose_tile_size([(shape[0], shape[1])], tile.overlap, info.network.stride, tile.border)
    rewrite_bundle(bundle, info.model_copy(update={"tile": tile.model_copy(update={"size": size})}), {})


def _measure(bundle: Path, good: Path, image: np.ndarray, share: float, repeat: int) -> tuple[int, int, float]:
    """(tiles, their size in px, median seconds) with `share` of the picture looked at."""
    part, where = Part(), EVERYWHERE
    if share < 1:
        part, where = Part(where=Where(mask="mask.png")), WhereToLook(LookMap(_middle(image.shape, share)))
    configure_bundle(bundle, part, where)
    calibrate_bundle(bundle, [good], 0.1, device="cpu")
    opened = read_bundle(bundle)
    assert opened.info.calibration is not None
    pipeline = Pipeline(opened, open_scorer(opened, "cpu"), Thresholds.of(opened.info.calibration, 0.1))
    prepared = pipeline.prepare(image)
    found, times = None, []
    for _ in range(repeat + 1):  # the first one warms up
        start = time.perf_counter()
        found = pipeline.inspect(image, recycle=found)
        times.append(time.perf_counter() - start)
    grid = pipeline.looking.grid(prepared.image, prepared.look)
    return len(grid), grid.tile_size, statistics.median(times[1:])


def _middle(shape: tuple[int, ...], share: float) -> np.ndarray:
    look = np.zeros(shape[:2], np.uint8)
    high, wide = (round(side * share**0.5) for side in shape[:2])
    y, x = (shape[0] - high) // 2, (shape[1] - wide) // 2
    look[y : y + high, x : x + wide] = 1
    return look


if __name__ == "__main__":
    main()
