"""The GPU benchmark's folder rows, on the processor and small images: they run what they say, and nothing is timed."""

from pathlib import Path

import pytest

from benchmarks.gpu_folder import Way, folder_rows, same_as_on_cpu, with_tf32, write_images
from benchmarks.gpu_session import Bench
from flawmap.export.bundle import MODEL, Bundle, read_bundle
from flawmap.inspect.folder import SideBySide
from flawmap.tiling.images import read_image
from tests.bundles import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture(scope="module")
def bench(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    paths = write_images(tmp_path_factory.mktemp("images"), 150, 8)
    assert [read_image(path).shape for path in paths] == [(150, 150)] * 8
    return Bench(bundle.folder / MODEL, "cpu", 150, paths, 0.01)


def test_rows_of_a_folder(bench: Bench, bundle: Bundle) -> None:
    ways = (Way(1), Way(2, zoom=True, heatmaps=True), Way(99))
    images = bench.paths[0].parent
    folder_rows(bench, images, {"fp32": bundle.folder}, {"fp32": 1.0}, ways)
    one, two, failed = bench.rows[-3:]
    assert one.setting == "fp32, 1 lane, records and overviews"
    assert two.setting == "fp32, 2 lanes, all pictures and heatmaps"
    assert one.milliseconds is not None and two.milliseconds is not None
    assert f"{1 / two.milliseconds:.0%} of the session alone" in two.note
    assert (
        f"2 lanes, {SideBySide.of(2, None).readers} workers, tiles {{'64': 8}}" in two.note
        and "0 errors" in two.note
        and "write " in two.note
    )
    assert failed.milliseconds is None and "`--lanes` (=99) must be 1 to 8" in failed.note


def test_answers_are_compared(bench: Bench, bundle: Bundle) -> None:
    same_as_on_cpu(bench, bench.paths, {"fp32": bundle.folder})
    note = bench.rows[-1].note
    assert note.startswith("4 images: verdicts alike 4, largest difference of a severity 0; regions ")
    n_regions = note.split("regions ")[1].split(" ")[0]
    assert int(n_regions) > 0 and note.endswith(f"{n_regions} here, {n_regions} in the same box")


def test_a_bundle_for_tf32(bundle: Bundle, tmp_path: Path) -> None:
    running = read_bundle(with_tf32(bundle.folder, tmp_path)).on("cuda").running
    assert running is not None and running.precision == "tf32"
