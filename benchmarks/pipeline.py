"""A folder of images against the session alone and the decoder alone; and how long a start takes.

    python -m benchmarks.pipeline [--bundle BUNDLE] [--device auto] [--quick] [--out benchmarks/results]

What a folder takes per image is the time from the end of one image to the end of the next, everything included:
decoding, pictures and records. It should be what the session alone takes for the same tiles, or the decoder, whichever
is slower. Without `--bundle` the network of the default settings with untrained weights is used: it costs what a
trained one costs.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Goal, Timing, circumstances, goals_markdown, interleaved, markdown, write_results
from flawmap.export.bundle import read_bundle
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.looking import grid_of
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.scoring.scorers import open_scorer
from flawmap.sample_data.dataset import Product
from flawmap.tiling.images import read_image, write_image

FLAWMAP = Path(sys.executable).with_name("flawmap")
PACKAGES = ["flawmap", "numpy", "numba", "onnxruntime", "opencv-python-headless", "imagecodecs"]
IMAGES = 6  # of a folder, one picture under several names
STARTS = 5


def time_folder(bundle_dir: Path, picture: Path, device: str, rounds: int) -> tuple[list[Timing], dict[str, float]]:
    """(timings an image of session, decoder and folder, taken in turns; median milliseconds by stage in the folder)."""
    bundle = read_bundle(bundle_dir)
    scorer = open_scorer(bundle, device)
    image = read_image(picture)
    grid = grid_of(bundle.info, *image.shape[:2])
    batch = scorer.batch_shape[0]
    batches = []
    for first in range(0, len(grid), batch):
        batches.append(np.zeros(scorer.batch_shape, scorer.dtype))
        grid.cut(image, first, batches[-1])
    stages: dict[str, list[float]] = {}
    takts: list[float] = []

    def session() -> None:
        for tiles in batches:
            scorer.score(tiles)

    def folder() -> None:
        with tempfile.TemporaryDirectory() as temporary:
            images, run_dir = Path(temporary) / "images", Path(temporary) / "run"
            images.mkdir()
            for number in range(IMAGES):
                (images / f"{number}{picture.suffix}").symlink_to(picture.resolve())
            inspect_folder([images], bundle_dir, run_dir, device=device)
            paths = [run_dir / "regions" / f"{number}{picture.suffix}.json" for number in range(IMAGES)]
            for record in [read_record(path) for path in paths][
                1:-1
            ]:  # the first and the last have nothing beside them
                assert record is not None and record.verdict != "ERROR"
                takts.append(record.milliseconds["total"])
                for stage, milliseconds in record.milliseconds.items():
                    stages.setdefault(stage, []).append(milliseconds)

    step = f"one image of {image.shape[1]}x{image.shape[0]} px, {len(grid)} tiles of {grid.tile_size} px"
    contenders = {"session alone": session, "decoder alone": lambda: read_image(picture), "whole folders": folder}
    *alone, whole = interleaved(step, contenders, rounds)
    takts = takts[2 * (IMAGES - 2) :]  # the two runs before the rounds were to warm up
    per_image = Timing(
        step, "an image of a folder", statistics.median(takts), min(takts), max(takts), len(takts), whole.memory_mib
    )
    return [*alone, per_image], {stage: statistics.median(values) for stage, values in stages.items()}


def time_starts(bundle_dir: Path, pictures: dict[str, Path], device: str, starts: int) -> list[Timing]:
    """`flawmap --help`, and from the start of a process to the record of its first image, kernels compiled before."""

    def until_scored(picture: Path) -> float:
        with tempfile.TemporaryDirectory() as run_dir:
            record = Path(run_dir) / "regions" / f"{picture.name}.json"
            command = [str(FLAWMAP), "inspect", str(picture), "-m", str(bundle_dir), "-o", run_dir, "--device", device]
            start = time.perf_counter()
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                while not record.exists() and process.poll() is None:
                    time.sleep(0.002)
                seconds = time.perf_counter() - start
                _, errors = process.communicate()
            assert process.returncode == 0, errors.decode()
            return seconds * 1e3

    def help_page(_: Path) -> float:
        start = time.perf_counter()
        subprocess.run([str(FLAWMAP), "--help"], check=True, stdout=subprocess.DEVNULL)
        return (time.perf_counter() - start) * 1e3

    measured = {"flawmap --help": (help_page, Path())}
    measured |= {f"to the record of a first image, {name}": (until_scored, path) for name, path in pictures.items()}
    milliseconds: dict[str, list[float]] = {name: [] for name in measured}
    for turn in range(starts + 1):
        for name, (measure, path) in measured.items():
            value = measure(path)
            if turn:  # the first reads the disk
                milliseconds[name].append(value)
    return [
        Timing("start", name, statistics.median(ms), min(ms), max(ms), len(ms), None)
        for name, ms in milliseconds.items()
    ]


def run(*, quick: bool, bundle: Path | None, device: str) -> tuple[str, dict[str, Any], list[Goal]]:
    """Everything: (markdown, what the JSON holds, the goals)."""
    size, rounds, starts = (1024, 1, 1) if quick else (5120, 5, STARTS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pictures = {}
        for side in (1024, size):
            pictures[f"{side}x{side} px"] = folder / f"{side}.png"
            write_image(folder / f"{side}.png", Product("metal", (side, side)).good(0))
        if bundle is None:
            from benchmarks.untrained_bundle import write_untrained_bundle  # needs torch

            bundle = folder / "untrained.bundle"
            write_untrained_bundle(bundle, size)
            calibrate_bundle(bundle, [folder / f"{size}.png"], 0.1, device=device)
        timings, stages = time_folder(bundle, folder / f"{size}.png", device, rounds)
        timings += time_starts(bundle, pictures, device, starts)
    by_name = {timing.contender: timing.median_ms for timing in timings}
    slower = max(by_name["session alone"], by_name["decoder alone"])
    goals = [
        Goal("an image of a folder / session or decoder alone", by_name["an image of a folder"] / slower, 1.10, False),
        Goal("flawmap --help, s", by_name["flawmap --help"] / 1e3, 0.3, False),
        *(
            Goal(f"start to {name.removeprefix('to ')}, s", milliseconds / 1e3, 3.0, False)
            for name, milliseconds in by_name.items()
            if name.startswith("to the record")
        ),
    ]
    facts = circumstances(PACKAGES)
    settings = {"device": device, "images_of_a_folder": IMAGES, "rounds": rounds, "starts": starts}
    text = markdown("Pipeline", settings, facts, timings)
    text += "\nStages of an image in the folder (they overlap), ms: "
    text += ", ".join(f"{stage} {milliseconds:.1f}" for stage, milliseconds in stages.items())
    text += f".\n\n{goals_markdown(goals)}"
    record = {
        "settings": settings,
        **facts,
        "timings": [asdict(timing) for timing in timings],
        "stages_ms": stages,
        "goals": [asdict(goal) | {"met": goal.met} for goal in goals],
    }
    return text, record, goals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a calibrated bundle for mono images of 8 bits")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, openvino or tensorrt")
    parser.add_argument("--quick", action="store_true", help="1024x1024 px, one round: does it run at all?")
    parser.add_argument("--out", type=Path, help="folder to write pipeline.md and pipeline.json to")
    arguments = parser.parse_args()
    text, record, _ = run(quick=arguments.quick, bundle=arguments.bundle, device=arguments.device)
    print(text)
    if arguments.out:
        write_results(arguments.out, "pipeline", text, record)


if __name__ == "__main__":
    main()
