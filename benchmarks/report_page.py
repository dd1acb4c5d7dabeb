"""How long the report of a large run takes to be written and to open in Chromium, from its folder.

    python -m benchmarks.report_page [--images 500] [--regions 20]

Every image has regions, each with its strip: a run in which everything is wrong is the largest page there is. All
images share the files of one drawn picture of 5120x5120 px; a browser reads them as it would read others.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from flawmap.inspect.machine import versions
from flawmap.inspect.report.page import write_page
from flawmap.inspect.report.pictures import write_pictures
from flawmap.inspect.run.layout import OUTPUT_FOLDERS, OVERLAYS, ZOOM
from flawmap.inspect.run.record_files import write_record, write_run_info
from flawmap.inspect.run.records import ImageRecord, RegionRecord, RunInfo, SourceFile

SIDE = 5120
REVIEW, NG = 6.0, 9.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--images", type=int, default=500)
    options.add_argument("--regions", type=int, default=20)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder)
        write_run(run_dir, asked.images, asked.regions)
        start = time.perf_counter()
        page = write_page(run_dir)
        print(f"{asked.images} images, {asked.images * asked.regions} regions")
        print(f"written in {time.perf_counter() - start:.2f} s, index.html {page.stat().st_size / 1e6:.2f} MB")
        for name, seconds in opening_times(page).items():
            print(f"{name:40} {seconds:.2f} s")


def write_run(run_dir: Path, n_images: int, n_regions: int) -> None:
    """A run folder with records, and pictures that are links to those of the first image."""
    for name in OUTPUT_FOLDERS:
        (run_dir / name).mkdir(parents=True)
    rng = np.random.default_rng(1)
    image = rng.normal(128, 6, (SIDE, SIDE)).astype(np.uint8)
    heatmap = np.zeros((SIDE, SIDE), np.float32)
    spots = [_region(number, *rng.integers(0, SIDE - 60, 2)) for number in range(1, n_regions + 1)]
    for spot in spots:
        heatmap[spot.y_min : spot.y_max, spot.x_min : spot.x_max] = 12.0
    overview, strips = write_pictures(run_dir, "0000", image, heatmap, image, spots, review=REVIEW, ng=NG)
    assert overview is not None
    for number in range(n_images):
        name = f"{number:04}"
        if number:
            os.link(run_dir / overview, run_dir / OVERLAYS / f"{name}.jpg")
            shutil.copytree(run_dir / ZOOM / "0000", run_dir / ZOOM / name, copy_function=os.link)
        regions = []
        for spot, strip in zip(spots, strips, strict=True):
            picture = None if strip is None else strip.replace("0000", name)
            if number and picture is not None and strip is not None:
                os.link(run_dir / strip, run_dir / picture)
            moved = dict(zip(("x_min", "y_min"), (int(at) for at in rng.integers(0, SIDE - 60, 2)), strict=True))
            box = moved | {"x_max": moved["x_min"] + 20, "y_max": moved["y_min"] + 12}
            regions.append(spot.model_copy(update=box | {"picture": picture}))
        record = ImageRecord(
            image=f"lot 7/{name}.png", verdict="NG", severity=float(rng.uniform(1, 4)), width=SIDE, height=SIDE,
            milliseconds={"total": 900.0}, source=SourceFile(size_bytes=1, modified_ns=1), regions=regions,
            overlay=f"{OVERLAYS}/{name}.jpg",
        )  # fmt: skip
        write_record(run_dir, name, record)
    thresholds = {"grow": 4.0, "candidate": 5.0, "review": REVIEW, "ng": NG, "severity_review": 0.7, "severity_ng": 1.0}
    run = RunInfo(
        state="finished", started="2026-01-01T00:00:00+00:00", versions=versions(), bundle="b",
        bundle_sha256="0" * 64, product="benchmark", device="cpu", settings={"false_alarms": 0.1},
        thresholds=thresholds, counts={}, milliseconds_median={"total": 900.0},
    )  # fmt: skip
    write_run_info(run_dir, run)


def _region(number: int, y: int, x: int) -> RegionRecord:
    return RegionRecord(
        region=number, x_min=int(x), y_min=int(y), x_max=int(x) + 20, y_max=int(y) + 12, centroid_x=float(x),
        centroid_y=float(y), area_px=240, score_max=12.0, score_mean=9.0, severity=2.0, verdict="NG",
    )  # fmt: skip


def opening_times(page: Path) -> dict[str, float]:
    """Seconds, from asking for the page or the image to its being there."""
    from tests.browsers import chromium

    times = {}
    with chromium() as browser:
        browser.new_page().goto("about:blank")
        tab = browser.new_page(viewport={"width": 1280, "height": 800})
        start = time.perf_counter()
        tab.goto(page.as_uri(), wait_until="load")
        tab.locator("#shown").wait_for()
        times["opened, pictures in view loaded"] = time.perf_counter() - start
        start = time.perf_counter()
        tab.get_by_role("searchbox").fill(tab.locator("tr.image bdi").last.inner_text())
        tab.locator("#shown", has_text="1 of").wait_for()
        times["filtered"] = time.perf_counter() - start
        start = time.perf_counter()
        tab.locator("tbody:not([hidden]) tr.image").click()
        tab.locator("#boxes .box").first.wait_for(state="attached")
        tab.wait_for_load_state("networkidle")
        times["an image looked at, first tiles there"] = time.perf_counter() - start
    return times


if __name__ == "__main__":
    main()
