"""Images side by side, in tiles as large as there is room for: the same answers in the same order."""

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.export.bundle import Bundle
from flawmap.inspect.folder import SideBySide, inspect_folder
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.progress import Step
from flawmap.inspect.scoring.lanes import open_lanes
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.scoring.tile_room import AGAIN, TileRoom
from flawmap.tiling.errors import UsageError
from flawmap.tiling.fewest_tiles import least_work_tile_size, tile_work
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle

SIZES = [(120, 160), (90, 90), (120, 160), (33, 200), (120, 160), (250, 70), (120, 160), (90, 90)]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "toy")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several sizes with none to three dots, one that is none and one of another kind."""
    folder = tmp_path_factory.mktemp("images")
    for number, size in enumerate(SIZES):
        write_image(folder / f"part{number}.png", good_image(*size, seed=number, defects=number % 4))
    (folder / "part3b.png").write_bytes(b"no picture")
    write_image(folder / "part5b.png", good_image(50, 50, channels=3))
    return folder


def results(run_dir: Path) -> dict[str, Any]:
    """Every record but for times, and every heatmap and table."""
    found: dict[str, Any] = {}
    for path in sorted((run_dir / "regions").glob("*.json")):
        record = json.loads(path.read_text())
        del record["milliseconds"], record["inspected"]
        found[path.name] = record
    for path in sorted((run_dir / "overlays").iterdir()):
        found[path.name] = path.read_bytes()
    found["regions.csv"] = (run_dir / "regions.csv").read_text()
    return found


# -- a folder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lanes", "workers"), [(2, None), (2, 1), (3, 5)])
def test_lanes_change_nothing(bundle: Bundle, images: Path, tmp_path: Path, lanes: int, workers: int | None) -> None:
    told: list[list[str]] = []

    @contextmanager
    def progress(what: str, total: int) -> Iterator[Step]:
        told.append([])
        yield told[-1].append

    one = inspect_folder([images], bundle.folder, tmp_path / "one", heatmaps=True, lanes=1, progress=progress)
    several = inspect_folder(
        [images], bundle.folder, tmp_path / "several", heatmaps=True, lanes=lanes, workers=workers, progress=progress
    )
    assert (one.settings["lanes"], several.settings["lanes"]) == (1, lanes)
    assert several.settings["workers"] == (workers or SideBySide.of(lanes, None).readers)
    assert one.counts == several.counts and one.counts["ERROR"] == 2 and one.counts["NG"] >= 4
    assert results(tmp_path / "one") == results(tmp_path / "several")
    assert told[0] == told[1] and len(told[0]) == len(SIZES) + 2  # told of in the order of the list, too
    assert several.tile_sizes == one.tile_sizes == {"64": len(SIZES)}


def test_a_gpu_has_readers_and_writers_beside_its_only_lane() -> None:
    assert SideBySide.of(1, None) == SideBySide(readers=1, lanes=1, writers=1)
    beside = SideBySide.of(1, None, on_gpu=True)
    assert beside.lanes == 1 and beside.readers > 1 and beside.writers > 1
    assert SideBySide.of(2, 3, on_gpu=True).readers == 3


def test_a_run_goes_on_with_another_number_of_lanes(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    inspect_folder([images], bundle.folder, tmp_path / "whole", heatmaps=True)
    inspect_folder([images], bundle.folder, tmp_path / "run", heatmaps=True, lanes=2)
    for number in (1, 4):
        (tmp_path / "run" / "regions" / f"part{number}.png.json").unlink()
    run = inspect_folder([images], bundle.folder, tmp_path / "run", heatmaps=True, lanes=3)
    assert run.state == "finished" and run.tile_sizes == {"64": len(SIZES)}
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_ctrl_c_between_lanes_keeps_what_is_done(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    @contextmanager
    def interrupting(what: str, total: int) -> Iterator[Step]:
        done: list[str] = []

        def step(text: str) -> None:
            done.append(text)
            if len(done) == 3:
                raise KeyboardInterrupt

        yield step

    with pytest.raises(KeyboardInterrupt):
        inspect_folder([images], bundle.folder, tmp_path / "run", heatmaps=True, lanes=2, progress=interrupting)
    before = results(tmp_path / "run")
    names = [name for name in before if name.endswith(".json")]
    assert names == sorted(names)[:3]  # the records of those before it, and no other
    inspect_folder([images], bundle.folder, tmp_path / "run", heatmaps=True, lanes=2)
    inspect_folder([images], bundle.folder, tmp_path / "whole", heatmaps=True)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_tiles_of_ones_own_size(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    run = inspect_folder([images], bundle.folder, tmp_path / "own", tile_size=140, lanes=2)
    inspect_folder([images], bundle.folder, tmp_path / "bundles")
    assert (run.settings["tile_size"], run.tile_sizes) == (140, {"140": len(SIZES)})
    own, bundles = (
        {name: record for name, record in results(tmp_path / run_dir).items() if name.endswith(".json")}
        for run_dir in ("own", "bundles")
    )
    for name, record in own.items():
        assert record["verdict"] == bundles[name]["verdict"]
        assert record["severity"] == pytest.approx(bundles[name]["severity"], abs=1e-4)
        boxes = [[r["x_min"], r["y_min"], r["x_max"], r["y_max"]] for r in record["regions"]]
        assert boxes == [[r["x_min"], r["y_min"], r["x_max"], r["y_max"]] for r in bundles[name]["regions"]]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"lanes": 0}, r"`--lanes` \(=0\) must be 1 to 8"),
        ({"lanes": 9}, r"`--lanes` \(=9\) must be 1 to 8"),
        ({"tile_size": 62}, r"`--tile-size` \(=62\): .*must be a multiple of `multiple` \(=4\), the stride"),
        ({"tile_size": 16}, r"`--tile-size` \(=16\): `overlap` \(=16\) must be smaller than `tile_size` \(=16\)"),
    ],
)
def test_settings_that_cannot_be(
    bundle: Bundle, images: Path, tmp_path: Path, setting: dict[str, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        inspect_folder([images], bundle.folder, tmp_path / "run", **setting)  # type: ignore[arg-type]


# -- tiles as large as there is room for ---------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 700), width=st.integers(1, 700), side=st.integers(1, 800))
def test_fitted_tiles_give_the_same_heatmap(bundle: Bundle, height: int, width: int, side: int) -> None:
    image = good_image(height, width, seed=height, defects=3)
    fitted = Pipeline(bundle, open_lanes(bundle, "cpu", 2, most_pixels=side**2))
    given_size = Pipeline(bundle, TileScorer(bundle, "cpu", threads=1))
    found, reconstruction = fitted.heatmap(image)
    expected, expected_reconstruction = given_size.heatmap(image)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(reconstruction.astype(int) - expected_reconstruction).max() <= 1
    if (max(height, width) + 2 * 8 + 3) ** 2 <= side**2:
        assert fitted.tile_size(fitted.prepare(image)) >= max(height, width) + 2 * 8  # the whole image in one tile


def test_threads_get_their_own_answers(bundle: Bundle) -> None:
    pipeline = Pipeline(bundle, open_lanes(bundle, "cpu", 2, most_pixels=200**2))
    pictures = [good_image(*size, seed=seed, defects=2) for seed, size in enumerate(SIZES * 3)]
    expected = [pipeline.heatmap(picture) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        for (heatmap, restored), (one, other) in zip(pool.map(pipeline.heatmap, pictures), expected, strict=True):
            np.testing.assert_array_equal(heatmap, one)
            np.testing.assert_array_equal(restored, other)


geometries = st.tuples(st.integers(1, 40), st.integers(0, 5), st.sampled_from([1, 4, 8, 16])).map(
    lambda g: {"overlap": g[0] * g[2], "border": g[1] * g[2], "stride": g[2]}
)


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 3000), width=st.integers(1, 3000), geometry=geometries, side=st.integers(300, 3000))
def test_no_other_tile_size_is_less_work(height: int, width: int, geometry: dict[str, int], side: int) -> None:
    size, work = least_work_tile_size(height, width, most_pixels=side**2, **geometry)
    assert size % geometry["stride"] == 0 and size > geometry["overlap"]
    assert work == tile_work(height, width, size, **geometry)
    smallest = max(256, 2 * geometry["overlap"])
    smallest += -smallest % geometry["stride"]
    for other in range(smallest, side + 1, geometry["stride"] * 7):
        assert work <= tile_work(height, width, other, **geometry) * (1 + 1e-12), other


def test_a_whole_image_is_one_tile_where_it_fits() -> None:
    geometry = {"overlap": 104, "stride": 8, "border": 48}
    assert least_work_tile_size(5120, 5120, most_pixels=5216**2, **geometry)[0] == 5216
    assert least_work_tile_size(5120, 5120, most_pixels=5215**2, **geometry)[0] == 2664  # four tiles of the least size
    assert len(TileGrid(5120, 5120, 2664, 104, multiple=8, border=48)) == 4
    assert len(TileGrid(5120, 5120, 2656, 104, multiple=8, border=48)) == 9


@settings(max_examples=50, deadline=None)
@given(most=st.integers(1, 10**7), tile_size=st.integers(1, 400), n_tiles=st.integers(1, 500))
def test_batches_fit_and_are_alike(bundle: Bundle, most: int, tile_size: int, n_tiles: int) -> None:
    room = TileRoom(bundle.info, most)
    batch = room.batch(tile_size, n_tiles)
    assert batch == 1 or batch * tile_size**2 <= most
    n_batches = -(-n_tiles // batch)
    assert n_batches * batch - n_tiles < n_batches  # in no batch more than one tile is scored for nothing
    assert TileRoom(bundle.info, most, batch=5).batch(tile_size, n_tiles) == 5
    # Of what is cut otherwise from image to image the batch is the same, however many tiles there are.
    alike = {room.batch(tile_size, n, whole=False) for n in (1, n_tiles, 1000)}
    alike |= {TileRoom(bundle.info, most, fitted=False).batch(tile_size, n) for n in (1, n_tiles, 1000)}
    assert len(alike) == 1 and 1 <= min(alike) <= max(1, most // tile_size**2)


def test_a_size_in_use_is_used_again(bundle: Bundle) -> None:
    room = TileRoom(bundle.info, 10**8)
    first = room.tile_size(1000, 1000)
    assert first == 1016
    assert room.tile_size(980, 900) == first  # one of its own would tune the kernels anew for a gain of little
    assert room.tile_size(4000, 4000) == 4016
    for side in range(300, 4000, 37):
        size = room.tile_size(side, side)
        _, least = least_work_tile_size(side, side, 16, 4, 8, 10**8)
        assert tile_work(side, side, size, 16, 4, 8) <= AGAIN * least
    assert len({room.tile_size(side, side) for side in range(300, 4000, 37)}) < 16


# -- memory that is not there --------------------------------------------------------------------------------

FULL = """
import resource, sys
import numpy as np
from pathlib import Path
from flawmap.export.bundle import read_bundle
from flawmap.inspect.scoring.lanes import open_lanes
from flawmap.inspect.pipeline import Pipeline
from flawmap.tiling.errors import ImageError
from tests.bundles import good_image

bundle = read_bundle(Path(sys.argv[1]))
pipeline = Pipeline(bundle, open_lanes(bundle, "cpu", 1, most_pixels=10**8))
image = good_image(3000, 3000, seed=1, defects=3)
expected = Pipeline(bundle, open_lanes(bundle, "cpu", 1)).heatmap(image)[0]
pipeline.heatmap(image[:300, :300])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20, -1))
found = pipeline.heatmap(image)[0]
assert np.abs(found - expected).max() < 1e-4
size = pipeline.tile_size(pipeline.prepare(image))
assert 256 <= size < 3016, size
print(size, pipeline.lanes.device_note)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process what memory it may have")
def test_without_memory_for_large_tiles_smaller_ones_do(bundle: Bundle) -> None:
    """ONNX Runtime is really refused the memory, in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", FULL, str(bundle.folder), "300"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert run.returncode == 0, run.stderr
    assert "the card had no memory left for 1 x " in run.stdout
    assert "inspected with fewer and smaller tiles, which takes longer" in run.stdout
