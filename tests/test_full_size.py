"""What only full-size images show: memory that does not grow with the folder, and the demo; minutes each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.strips import strip_rows, write_strip
from flawmap.export.bundle_writer import write_bundle
from flawmap.export.tile_size import choose_tile_size
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.sample_data.dataset import Product
from flawmap.tiling.images import write_image
from flawmap.training.config import load_config
from tests.products import write_untrained

FLAWMAP = Path(sys.executable).with_name("flawmap")
LIMIT_MIB = 1.2 * 1024
SIDE = 5120

pytestmark = pytest.mark.slow


def test_thirty_images_of_26_megapixels_take_no_more_memory_than_one(tmp_path: Path) -> None:
    """The network of the default settings, weights at random: memory does not depend on what it learned."""
    size = choose_tile_size([(SIDE, SIDE)], overlap=200, stride=8, border=48)
    checkpoint = write_untrained(tmp_path, load_config(None, [f"tile.size={size}"]), tile=256)
    bundle = tmp_path / "full.bundle"
    write_bundle(checkpoint, bundle)
    parts = tmp_path / "parts"
    parts.mkdir()
    product = Product("metal", (SIDE, SIDE))
    for i in range(2):
        write_image(parts / f"{i:02d}.png", product.good(i))
    calibrate_bundle(bundle, [parts / "00.png"], 0.1)
    for i in range(2, 30):
        os.link(parts / f"{i % 2:02d}.png", parts / f"{i:02d}.png")
    run = tmp_path / "run"
    done = subprocess.run(
        [str(FLAWMAP), "inspect", str(parts), "-m", str(bundle), "-o", str(run)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    print({key: info[key] for key in ("peak_memory_mib", "milliseconds_median")})
    assert info["counts"]["images"] == 30 and info["counts"]["ERROR"] == 0
    assert info["peak_memory_mib"] <= LIMIT_MIB
    assert {"decode", "cut", "score", "stitch", "regions", "write", "total"} <= set(info["milliseconds_median"])


def test_a_strip_of_8192x60000_stays_within_2_gib(tmp_path: Path) -> None:
    """The network of the default settings, weights at random; what it finds is for other tests."""
    height, width = 60_000, 8192
    size = choose_tile_size([(height, width)], overlap=200, stride=8, border=48)
    checkpoint = write_untrained(tmp_path, load_config(None, [f"tile.size={size}"]), tile=256)
    bundle = tmp_path / "strips.bundle"
    write_bundle(checkpoint, bundle)
    write_image(tmp_path / "good.tif", np.concatenate(list(strip_rows(3000, width, scratch=False))))
    calibrate_bundle(bundle, [tmp_path / "good.tif"], 0.1)
    (tmp_path / "good.tif").unlink()
    write_strip(tmp_path / "strip.tif", height, width, compression=None)
    run = tmp_path / "run"
    done = subprocess.run(
        [str(FLAWMAP), "inspect", str(tmp_path / "strip.tif"), "-m", str(bundle), "-o", str(run)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    record = json.loads((run / "regions" / "strip.tif.json").read_text(encoding="utf-8"))
    print({"peak_memory_mib": info["peak_memory_mib"], "milliseconds": record["milliseconds"]})
    assert (record["width"], record["height"]) == (width, height)
    assert record["bands"] > 10
    assert info["peak_memory_mib"] <= 2048


def test_the_demo_ends_with_a_report(tmp_path: Path) -> None:
    """At full size, with less time to learn; what it finds depends on the machine's speed and stands in the output."""
    command = [str(FLAWMAP), "demo", "--output", str(tmp_path), "--minutes", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
    report = Path(done.stdout.split("Report: ")[1].splitlines()[0])
    assert report.name == "index.html" and report.is_file()
    assert "defects found: " in done.stdout
