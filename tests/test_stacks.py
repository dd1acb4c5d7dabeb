"""Files of several pages from folder to report: names, records, resume, calibration, parts, truth; toy network."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flawmap.export.bundle import read_bundle
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.inspector import Inspector
from flawmap.inspect.line.arrivals import Patience
from flawmap.inspect.line.part_result import PartResult
from flawmap.inspect.line.stop import Stop
from flawmap.inspect.progress import Step
from flawmap.inspect.run.record_files import read_record, read_run_info
from flawmap.inspect.takt import measure
from flawmap.inspect.watch.folder import watch_folder
from flawmap.inspect.watch.loop import WatchSettings
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.pages import page_path
from flawmap.tiling.reading import Reading
from tests.bundles import good_image, make_bundle
from tests.run_tables import rows, table, tree
from tests.tiff_by_hand import Page, tiff_by_hand


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that takes pages for pictures."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "pictures", pages="pictures").folder


@pytest.fixture(scope="module")
def of_lights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that takes four pages for the channels of one picture."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "lights", channels=4, pages="channels").folder


def write_stack(path: Path, *defects: int, seed: int = 0) -> NDArray[Any]:
    """A page for each number of defects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pages = [good_image(120, 160, seed=seed + number, defects=n) for number, n in enumerate(defects)]
    path.write_bytes(tiff_by_hand(*map(Page, pages)))
    return np.dstack(pages)


# Pages as pictures


def test_every_page_has_its_row_record_and_pictures(tmp_path: Path, of_pictures: Path) -> None:
    write_stack(tmp_path / "in" / "lot" / "stack.tif", 0, 2, 0)
    write_stack(tmp_path / "in" / "single.tif", 1, seed=9)
    write_image(tmp_path / "in" / "plain.png", good_image(120, 160, seed=5))
    run_dir = tmp_path / "run"
    run = inspect_folder([tmp_path / "in"], of_pictures, run_dir)
    assert {name: row["verdict"] for name, row in rows(run_dir).items()} == {
        "lot/stack.tif#1": "OK", "lot/stack.tif#2": "NG", "lot/stack.tif#3": "OK",
        "plain.png": "OK", "single.tif": "NG",
    }  # fmt: skip
    assert {row["image"] for row in table(run_dir / "regions.csv")} == {"lot/stack.tif#2", "single.tif"}
    assert run.counts["images"] == 5 and run.images["pages"] == "pictures"
    records = [read_record(path) for path in (run_dir / "regions").glob("*.json")]
    drawn = [record for record in records if record is not None and record.image.startswith("lot/")]
    assert len(drawn) == 3
    page = (run_dir / "index.html").read_text(encoding="utf-8")
    for record in drawn:
        assert record.overlay is not None and (run_dir / record.overlay).is_file()
        assert record.overlay.replace("#", "%23") in page  # or the browser would take it for a place in a page
        assert record.image in page


def test_a_run_over_pages_goes_on_where_it_was(tmp_path: Path, of_pictures: Path) -> None:
    stack, run_dir = tmp_path / "in" / "stack.tif", tmp_path / "run"
    write_stack(stack, 0, 2, 0, 1)
    inspect_folder([stack.parent], of_pictures, run_dir)
    before = tree(run_dir / "regions") | tree(run_dir / "overlays")
    inspect_folder([stack.parent], of_pictures, run_dir)
    assert tree(run_dir / "regions") | tree(run_dir / "overlays") == before
    write_stack(stack, 1, 0)  # another file of that name, with fewer pages
    inspect_folder([stack.parent], of_pictures, run_dir)
    assert {name: row["verdict"] for name, row in rows(run_dir).items()} == {"stack.tif#1": "NG", "stack.tif#2": "OK"}
    assert not list(run_dir.glob("*/stack.tif#[34]*"))


def test_a_broken_stack_is_one_error(tmp_path: Path, of_pictures: Path) -> None:
    stack = tmp_path / "in" / "stack.tif"
    write_stack(stack, 0, 0)
    stack.write_bytes(stack.read_bytes()[:-3])
    write_stack(tmp_path / "in" / "whole.tif", 0, 0)
    inspect_folder([stack.parent], of_pictures, tmp_path / "run")
    found = rows(tmp_path / "run")
    assert {name: row["verdict"] for name, row in found.items()} == {
        "stack.tif": "ERROR", "whole.tif#1": "OK", "whole.tif#2": "OK",
    }  # fmt: skip
    assert found["stack.tif"]["error"].startswith("the file is cut off")


def test_a_bundle_that_takes_one_page_says_what_else_there_is(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle").folder
    write_stack(tmp_path / "in" / "stack.tif", 0, 0)
    inspect_folder([tmp_path / "in"], bundle, tmp_path / "run")
    assert rows(tmp_path / "run")["stack.tif"]["error"].startswith(
        "a TIFF with 2 pages; one is needed (`image.pages`: pict"
    )


def test_calibration_counts_pages(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", pages="pictures", calibrated=False).folder
    for number in range(2):
        write_stack(tmp_path / f"{number}.tif", 0, 0, 0, seed=10 * number)
    said: list[str] = []

    @contextmanager
    def progress(title: str, total: int) -> Iterator[Step]:
        yield said.append
        assert len(said) == total

    calibration = calibrate_bundle(bundle, sorted(tmp_path.glob("*.tif")), 0.1, progress=progress)
    assert calibration.n_images == 6
    assert said == ["0.tif#1", "0.tif#2", "0.tif#3", "1.tif#1", "1.tif#2", "1.tif#3"]


def test_truth_of_pages(tmp_path: Path, of_pictures: Path) -> None:
    data = tmp_path / "data"
    write_stack(data / "test" / "good" / "a.tif", 0, 0)
    stack = write_stack(data / "test" / "dots" / "b.tif", 0, 1, 0, seed=20)
    write_stack(data / "test" / "dots" / "c.tif", 1, seed=30)
    masks = data / "ground_truth" / "dots"
    masks.mkdir(parents=True)
    clean = good_image(120, 160, seed=21)
    write_image(masks / "b#2_mask.png", ((stack[..., 1] != clean) * 255).astype(np.uint8))
    with pytest.raises(UsageError, match=r"c\.tif is defective by its folder, but .*c_mask\.png is missing$"):
        inspect_and_evaluate(data, of_pictures, tmp_path / "run")
    write_image(masks / "c_mask.png", ((read_image(data / "test/dots/c.tif") > 200) * 255).astype(np.uint8))
    metrics = inspect_and_evaluate(data, of_pictures, tmp_path / "run")
    assert metrics["images"] == {"good": 4, "defective": 2}  # the other pages of b.tif have no mask
    assert metrics["region_recall"] == 1.0 and metrics["images_without_truth"] == 0
    (masks / "b#2_mask.png").unlink()
    with pytest.raises(
        UsageError, match=r"b\.tif is def.* but .*b#1_mask\.png is missing, as are those of its other 2 p"
    ):
        inspect_and_evaluate(data, of_pictures, tmp_path / "run")


def inspect_and_evaluate(data: Path, bundle: Path, run_dir: Path) -> dict[str, Any]:
    inspect_folder([data / "test"], bundle, run_dir, heatmaps=True)
    return evaluate_run(run_dir, data)


def test_what_was_missed_on_a_page_is_drawn(tmp_path: Path, of_pictures: Path) -> None:
    data = tmp_path / "data"
    write_stack(data / "test" / "good" / "a.tif", 0)
    write_stack(data / "test" / "dots" / "b.tif", 0, 0)
    mask = np.zeros((120, 160), np.uint8)
    mask[50:60, 70:90] = 255  # where nothing is to be seen
    (data / "ground_truth" / "dots").mkdir(parents=True)
    write_image(data / "ground_truth" / "dots" / "b#2_mask.png", mask)
    metrics = inspect_and_evaluate(data, of_pictures, tmp_path / "run")
    assert [one["image"] for one in metrics["missed"]] == ["dots/b.tif#2"]
    assert (tmp_path / "run" / "evaluation" / "missed-01.png").is_file()


def test_the_pages_of_one_camera_are_one_part(tmp_path: Path, of_pictures: Path, of_lights: Path) -> None:
    write_stack(tmp_path / "in" / "p1-top.tif", 0, 0, 2)
    write_stack(tmp_path / "in" / "p1-side.tif", 0, 0, 0, 0, seed=40)
    write_stack(tmp_path / "in" / "p2-top.tif", 0, 0, seed=50)
    write_stack(tmp_path / "in" / "p2-side.tif", 0, 0, 0, 0, seed=60)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f'part: "{{part}}-{{camera}}.*"\nmodels:\n  - {{camera: top, bundle: "{of_pictures}"}}\n'
        f'  - {{camera: side, bundle: "{of_lights}"}}\n'
    )
    run = inspect_folder([tmp_path / "in"], recipe, tmp_path / "run")
    parts = {row["part"]: row for row in table(tmp_path / "run" / "parts.csv")}
    assert (parts["p1"]["verdict"], parts["p1"]["n_images"], parts["p1"]["worst_image"]) == ("NG", "4", "p1-top.tif#3")
    assert (parts["p2"]["verdict"], parts["p2"]["n_images"]) == ("OK", "3")
    assert run.recipe is not None
    assert [model.images["pages"] for model in run.recipe.models] == ["pictures", "channels"]


# Pages as channels


def test_a_stack_of_lights_is_one_picture(tmp_path: Path, of_lights: Path) -> None:
    write_stack(tmp_path / "in" / "good.tif", 0, 0, 0, 0)
    write_stack(tmp_path / "in" / "dot.tif", 0, 0, 1, 0)
    write_stack(tmp_path / "in" / "three.tif", 0, 0, 0)
    write_stack(tmp_path / "in" / "one.tif", 0)
    write_image(tmp_path / "in" / "plain.png", good_image(120, 160))
    deep = tiff_by_hand(*(Page(good_image(120, 160, dtype="uint16")) for _ in range(4)))
    (tmp_path / "in" / "deep.tif").write_bytes(deep)
    inspect_folder([tmp_path / "in"], of_lights, tmp_path / "run", heatmaps=True)
    found = rows(tmp_path / "run")
    assert {name: row["verdict"] for name, row in found.items()} == {
        "good.tif": "OK", "dot.tif": "NG", "three.tif": "ERROR", "one.tif": "ERROR", "plain.png": "ERROR",
        "deep.tif": "ERROR",
    }  # fmt: skip
    assert found["three.tif"]["error"] == "a TIFF with 3 pages, 4 are expected (`image.pages` is channels)"
    assert found["one.tif"]["error"] == "a TIFF with 1 page, 4 are expected (`image.pages` is channels)"
    assert found["plain.png"]["error"] == "not a TIFF: `image.pages` (=channels) needs TIFF files of 2 pages or more"
    assert found["deep.tif"]["error"] == "the image is 4-channel uint16, the bundle was trained on 4-channel uint8"
    assert (found["good.tif"]["width"], found["good.tif"]["height"]) == ("160", "120")


def test_a_region_is_shown_in_the_light_that_shows_it(tmp_path: Path, of_lights: Path) -> None:
    stack = write_stack(tmp_path / "dot.tif", 0, 0, 1, 0)
    inspect_folder([tmp_path / "dot.tif"], of_lights, tmp_path / "run")
    record = read_record(next((tmp_path / "run" / "regions").glob("*.json")))
    assert record is not None and record.regions[0].picture is not None
    region, strip = record.regions[0], read_image(tmp_path / "run" / record.regions[0].picture)
    dot = stack[region.y_min : region.y_max, region.x_min : region.x_max, 2]
    assert dot.max() == strip[8:-8, 8 : 8 + (strip.shape[1] - 32) // 3].max() > stack[..., [0, 1, 3]].max()


@pytest.mark.parametrize("channels", [2, 4, 5, 8])
@pytest.mark.parametrize("longest_side", [None, 100])
def test_any_number_of_lights(tmp_path: Path, channels: int, longest_side: int | None) -> None:
    bundle = make_bundle(tmp_path / "bundle", channels=channels, pages="channels", longest_side=longest_side)
    inspector = Inspector(bundle.folder)
    stack = write_stack(tmp_path / "a.tif", *[0] * (channels - 1), 6)
    result, from_file = inspector.inspect(stack), inspector.inspect_file(tmp_path / "a.tif")
    assert result.reconstruction.shape == stack.shape and result.verdict == from_file.verdict
    np.testing.assert_array_equal(result.heatmap, from_file.heatmap)
    if longest_side is None:
        assert result.verdict == "NG"
    with pytest.raises(
        ImageError, match=rf"the image is mono uint8, the bundle was trained on {channels}-channel uint8"
    ):
        inspector.inspect(stack[..., 0])
    run = inspect_folder([tmp_path / "a.tif"], bundle.folder, tmp_path / "run")
    assert run.counts["ERROR"] == 0


def test_an_inspector_takes_a_page_by_its_name(tmp_path: Path, of_pictures: Path) -> None:
    stack = write_stack(tmp_path / "a.tif", 0, 3)
    inspector = Inspector(of_pictures)
    assert inspector.inspect_file(page_path(tmp_path / "a.tif", 2)).verdict == "NG"
    np.testing.assert_array_equal(
        inspector.inspect_file(tmp_path / "a.tif#1").heatmap, inspector.inspect(stack[..., 0]).heatmap
    )


# What a bundle says


def test_a_bundle_says_how_files_are_read(tmp_path: Path) -> None:
    plain = make_bundle(tmp_path / "plain").info.image
    assert plain.reading == Reading() and plain.full_scale == 255.0
    deep = make_bundle(tmp_path / "deep", dtype="uint16", bits=12).info.image
    assert deep.reading == Reading(bits=12) and deep.full_scale == 4095.0
    raw = make_bundle(tmp_path / "raw", channels=3, bayer="grbg", dtype="uint16").info.image
    assert raw.reading == Reading(bayer="grbg") and raw.full_scale is None
    stack = make_bundle(tmp_path / "stack", channels=5, pages="channels").info.image
    assert stack.reading == Reading(pages="channels", n_pages=5)
    assert read_bundle(tmp_path / "stack").info.image == stack


def test_12_bits_are_held_against_the_bundle(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", dtype="uint16", bits=12).folder
    good = good_image(120, 160, dtype="uint16")
    for name, page in {
        "same": Page(good >> 4, bits=12),
        "untold": Page(good >> 4),
        "ten": Page(good >> 6, bits=10),
        "sixteen": Page(good),
        "eight": Page(good_image(120, 160)),
    }.items():
        (tmp_path / f"{name}.tif").write_bytes(tiff_by_hand(page))
    inspect_folder(sorted(tmp_path.glob("*.tif")), bundle, tmp_path / "run")
    found = rows(tmp_path / "run")
    assert found["same.tif"]["error"] == found["untold.tif"]["error"] == ""
    assert found["ten.tif"]["error"] == "pixels of 10 bits, 12 bits are expected"
    assert found["sixteen.tif"]["error"] == f"a value of {good.max()}, 12 bits hold 4095 at most"
    assert found["eight.tif"]["error"] == "pixels of 8 bits, 12 bits are expected"
    run = read_run_info(tmp_path / "run")
    assert run is not None and run.images["bits"] == 12


# Pictures read row by row


@pytest.mark.parametrize("what", ["pages", "channels", "bits"])
def test_bands_of_rows_say_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of_pictures: Path, of_lights: Path, what: str
) -> None:
    deep = make_bundle(tmp_path / "deep", dtype="uint16", bits=12).folder
    bundle = {"pages": of_pictures, "channels": of_lights, "bits": deep}[what]
    (tmp_path / "in").mkdir()
    if what == "bits":
        for name, value in (("a", 4095), ("b", 4096)):
            page = good_image(400, 120, dtype="uint16") >> 4
            page[390, 7] = value
            (tmp_path / "in" / f"{name}.tif").write_bytes(tiff_by_hand(Page(page, rows=7)))
    else:
        for name, order in (("a", range(4)), ("b", range(3, -1, -1))):
            pages = [good_image(400, 120, seed=n, defects=2 * (n == 2)) for n in order]
            (tmp_path / "in" / f"{name}.tif").write_bytes(tiff_by_hand(*(Page(page, rows=7) for page in pages)))
    inspect_folder([tmp_path / "in"], bundle, tmp_path / "whole")
    monkeypatch.setattr("flawmap.tiling.strips.open_rows.STRIP_PIXELS", 20_000)
    monkeypatch.setattr("flawmap.inspect.strip_pipeline.BAND_PIXELS", 10_000)
    inspect_folder([tmp_path / "in"], bundle, tmp_path / "bands")
    whole, bands = (rows(tmp_path / name) for name in ("whole", "bands"))
    assert whole.keys() == bands.keys() and len(whole) == {"pages": 8, "channels": 2, "bits": 2}[what]
    for name, row in whole.items():
        for column in ("verdict", "severity", "n_regions", "error"):
            assert bands[name][column] == row[column], (name, column)
    assert {"pages": "NG", "channels": "NG", "bits": "ERROR"}[what] in {row["verdict"] for row in whole.values()}


# Other commands


def test_a_takt_is_measured_on_a_stack(tmp_path: Path, of_lights: Path) -> None:
    write_stack(tmp_path / "mine.tif", 0, 0, 0, 0)
    takt = measure(of_lights, str(tmp_path / "mine.tif"))
    assert (takt.shape, takt.shown) == ((120, 160), "mine.tif")
    with pytest.raises(UsageError, match=r"`--image` \(=64x64\) must be a file for a bundle that takes TIFF stacks$"):
        measure(of_lights, "64x64")
    raw = make_bundle(tmp_path / "raw", channels=3, bayer="rggb").folder
    with pytest.raises(UsageError, match=r"`--image` \(=64x64\) must be a file for a bundle that takes raw pictures$"):
        measure(raw, "64x64")


def test_the_watcher_takes_stacks_of_lights(tmp_path: Path, of_lights: Path) -> None:
    folder = tmp_path / "in"
    for name, pages in {"good.tif": (0, 0, 0, 0), "dot.tif": (0, 0, 2, 0), "three.tif": (0, 0, 0)}.items():
        write_stack(folder / name, *pages)
    bell: SimpleQueue[str] = SimpleQueue()
    stop = Stop(bell)
    told: list[PartResult] = []

    def tell(result: PartResult) -> None:
        told.append(result)
        if len(told) == 3:
            stop.ask()

    settings = WatchSettings(Patience(settle=0.05, give_up=0.2), poll=0.05)
    run = watch_folder(folder, of_lights, tmp_path / "run", stop, bell, settings=settings, tell=tell)
    assert run.state == "finished"
    assert {name: row["verdict"] for name, row in rows(tmp_path / "run").items()} == {
        "good.tif": "OK", "dot.tif": "NG", "three.tif": "ERROR",
    }  # fmt: skip
