"""A line-scan strip, generated, inspected by a bundle in a process of its own: time, and the most memory it took.

    python -m benchmarks.strips my_product.bundle                      # 8192x60000, takes minutes
    python -m benchmarks.strips my_product.bundle --height 9000 --compression zlib

The bundle: for mono images of 8 bits. The strip is ground metal with a dot every 3072 rows and one scratch
that goes through joins; it is written to a temporary folder, and so is the run.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from benchmarks.measure import circumstances
from flawmap.sample_data.dataset import Product

BLOCK = 48 * 64  # rows drawn at a time
ROWS_PER_STRIP = 64  # BLOCK is a multiple
TILE_WIDTH = 512  # px
SCRATCH_ROWS = 12_000  # the scratch is as long, if the strip is
FLAWMAP = Path(sys.executable).with_name("flawmap")


def strip_rows(height: int, width: int, *, scratch: bool = True) -> Iterator[NDArray[np.uint8]]:
    """The strip, ROWS_PER_STRIP rows at a time; without `scratch` a good one."""
    product = Product("metal", (BLOCK, width))
    top, bottom = height // 3, min(height // 3 + SCRATCH_ROWS, height)
    for number, y0 in enumerate(range(0, height, BLOCK)):
        block = product.good(number % 4)[: height - y0]
        if scratch:
            block[max(0, top - y0) : max(0, bottom - y0), width // 2 : width // 2 + 3] = 20
            middle = len(block) // 2
            block[middle : middle + 5, width // 3 : width // 3 + 5] = 255
        for y in range(0, len(block), ROWS_PER_STRIP):
            yield block[y : y + ROWS_PER_STRIP]


def write_strip(path: Path, height: int, width: int, compression: str | None) -> None:
    """In strips of ROWS_PER_STRIP rows, or in tiles: tifffile compresses strips only of a picture that is whole."""
    rows = strip_rows(height, width)
    form: dict[str, Any] = {"rowsperstrip": ROWS_PER_STRIP}
    if compression is not None:
        form = {"tile": (ROWS_PER_STRIP, TILE_WIDTH), "compression": compression}
    tifffile.imwrite(
        path,
        rows if compression is None else _tiles(rows),
        shape=(height, width),
        dtype=np.uint8,
        photometric="minisblack",
        **form,
    )


def _tiles(rows: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    for part in rows:
        width = part.shape[1]
        padded = np.zeros((ROWS_PER_STRIP, -(-width // TILE_WIDTH) * TILE_WIDTH), np.uint8)
        padded[: len(part), :width] = part
        for x in range(0, width, TILE_WIDTH):
            yield padded[:, x : x + TILE_WIDTH].copy()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--width", type=int, default=8192)
    parser.add_argument("--height", type=int, default=60_000)
    parser.add_argument("--compression", default=None, help="of the TIFF: zlib, lzw, zstd; none unless given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        strip, run_dir = Path(folder) / "strip.tif", Path(folder) / "run"
        write_strip(strip, arguments.height, arguments.width, arguments.compression)
        subprocess.run([FLAWMAP, "inspect", strip, "-m", arguments.bundle, "-o", run_dir], check=True)
        run = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))
        record = json.loads((run_dir / "regions" / "strip.tif.json").read_text(encoding="utf-8"))
    report = {
        "size": [arguments.width, arguments.height],
        "peak_memory_mib": run["peak_memory_mib"],
        "seconds": {stage: round(ms / 1e3, 1) for stage, ms in record["milliseconds"].items()},
        "tallest_region": max((r["y_max"] - r["y_min"] for r in record["regions"]), default=0),
        **{key: record[key] for key in ("bands", "verdict", "error")},
        "regions": len(record["regions"]),
        "device": run["device"],
    }
    print(json.dumps(report | circumstances(["flawmap", "numpy", "onnxruntime"]), indent=2))


if __name__ == "__main__":
    main()
