"""Marks for other programs and the next training, opened by what they are for; the commands without a server."""

import contextlib
import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from pycocotools.coco import COCO

from flawmap.export.bundle import read_bundle
from flawmap.inspect.after_review.calibrate import calibrate_on_review
from flawmap.inspect.after_review.export import export_review
from flawmap.inspect.after_review.reviewed_folder import one_reviewed_run
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.review.formats import ReviewFormat
from flawmap.inspect.review.mark_record import Box, LookEntry, Mark, MarkEntry
from flawmap.inspect.review.mark_store import MarkStore, open_marks
from flawmap.inspect.review.reviewed_run import ReviewedRun, box_of, source_of
from flawmap.inspect.run.heatmap_file import read_heatmap
from flawmap.inspect.run.recorded_run import read_recorded_run
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image, write_image
from tests.bundles import good_image, make_bundle
from tests.command_line import run as flawmap

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
DRAWN: Box = (400, 500, 410, 530)


def picture(seed: int, *squares: tuple[int, int]) -> Any:
    """A good surface of 600x700 px with dots at (y, x) that the toy network finds."""
    image = good_image(600, 700, seed=seed)
    for y, x in squares:
        image[y : y + 2, x : x + 2] = 255
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """images/ as inspected into runs/monday, with heatmaps; nothing is marked yet."""
    images = tmp_path / "images"
    (images / "lot 1").mkdir(parents=True)
    write_image(images / "bad.png", picture(1, (100, 200), (300, 50)))
    write_image(images / "lot 1" / "bad.png", picture(2, (50, 60)))
    write_image(images / "alarm.png", picture(3, (200, 300)))
    write_image(images / "good.png", picture(4))
    write_image(images / "missed.png", picture(5))
    write_image(images / "unseen.png", picture(6))
    inspect_folder(
        [images], make_bundle(tmp_path / "toy").folder, tmp_path / "runs" / "monday", heatmaps=True, zoom=False
    )
    return tmp_path


class Reviewer:
    """Marks what it is told to, by number of the region or by a box."""

    def __init__(self, folder: Path) -> None:
        self.run_dir = folder / "runs" / "monday"
        self.store: MarkStore = open_marks(folder / "runs")
        self.images = {image.record.image: image for image in read_recorded_run(self.run_dir).images}

    def mark(self, image: str, what: int | Box, says: Mark) -> None:
        one = self.images[image]
        drawn = isinstance(what, tuple)
        box = what if isinstance(what, tuple) else box_of(one.record.regions[what - 1])
        region = None if isinstance(what, tuple) else what
        self.store.add_mark(
            MarkEntry("monday", one.name, box, drawn, says, "=Ann", "", source_of(one.record), region, 1.0, "NG", "ab")
        )

    def look(self, *images: str) -> None:
        for image in images:
            one = self.images[image]
            self.store.add_look(LookEntry("monday", one.name, True, "Ann", source_of(one.record)))

    def result(self) -> ReviewedRun:
        return one_reviewed_run(self.run_dir, None)


@pytest.fixture
def reviewer(folder: Path) -> Iterator[Reviewer]:
    """Everything but `unseen.png` was looked at."""
    reviewer = Reviewer(folder)
    reviewer.mark("bad.png", 1, "defect")
    reviewer.mark("bad.png", 2, "false_alarm")
    reviewer.mark("lot 1/bad.png", 1, "defect")
    reviewer.mark("alarm.png", 1, "false_alarm")
    reviewer.mark("missed.png", DRAWN, "defect")
    reviewer.look("bad.png", "lot 1/bad.png", "alarm.png", "good.png", "missed.png")
    yield reviewer
    reviewer.store.close()


def pycoco(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_coco_holds_marked_defects_and_nothing_else(reviewer: Reviewer, tmp_path: Path) -> None:
    exported = export_review(reviewer.result(), ReviewFormat.COCO, tmp_path / "new" / "marks.json")
    assert "1 of 6 images were not reviewed completely: what is good there is not known" in exported.notes
    coco = pycoco(tmp_path / "new" / "marks.json")
    names = {image["id"]: image["file_name"] for image in coco.dataset["images"]}
    assert sorted(names.values()) == ["alarm.png", "bad.png", "good.png", "lot 1/bad.png", "missed.png"]
    assert all(image["reviewed_completely"] for image in coco.dataset["images"])
    found = {(names[one["image_id"]], tuple(one["bbox"])): one for one in coco.dataset["annotations"]}
    y0, x0, y1, x1 = DRAWN
    drawn = found.pop(("missed.png", (x0, y0, x1 - x0, y1 - y0)))
    assert coco.annToMask(drawn)[y0:y1, x0:x1].all() and drawn["region"] is None
    for image in ("bad.png", "lot 1/bad.png"):
        region = reviewer.images[image].record.regions[0]
        box = (region.x_min, region.y_min, region.x_max - region.x_min, region.y_max - region.y_min)
        assert found.pop((image, box))["region"] == 1
    assert found == {}


def test_images_that_nobody_saw_whole_are_no_negatives(folder: Path) -> None:
    reviewer = Reviewer(folder)
    reviewer.mark("bad.png", 1, "defect")
    export_review(reviewer.result(), ReviewFormat.COCO, folder / "marks.json")
    (image,) = pycoco(folder / "marks.json").dataset["images"]
    assert image["file_name"] == "bad.png" and not image["reviewed_completely"]
    for to in (ReviewFormat.MASKS, ReviewFormat.TILES):
        with pytest.raises(UsageError, match="no image was looked at as a whole and marked throughout"):
            export_review(reviewer.result(), to, folder / "out")
    reviewer.store.close()


def test_masks_are_a_dataset_that_evaluate_reads(reviewer: Reviewer, folder: Path) -> None:
    """The boxes of the marks go the whole way: export, inspection of the copies, evaluation."""
    out = folder / "truth"
    export_review(reviewer.result(), ReviewFormat.MASKS, out)
    inspect_folder([out / "test"], folder / "toy", folder / "again", zoom=False)
    metrics = evaluate_run(folder / "again", out)
    assert metrics["images"] == {"good": 2, "defective": 3}
    assert sum(row["defects"] for row in metrics["region_recall_by_size_px"].values()) == 3
    assert metrics["region_recall"] == pytest.approx(2 / 3)  # all but the drawn one
    assert metrics["false_regions_on_defective_images"] == 1 and metrics["false_regions_per_good_image"] == 0.5


def test_a_mask_is_the_regions_pixels(reviewer: Reviewer, folder: Path) -> None:
    export_review(reviewer.result(), ReviewFormat.MASKS, folder / "truth")
    (path,) = (p for p in (folder / "truth" / "ground_truth" / "defect").iterdir() if "missed" in p.name)
    expected = np.zeros((600, 700), np.uint8)
    expected[DRAWN[0] : DRAWN[2], DRAWN[1] : DRAWN[3]] = 255
    np.testing.assert_array_equal(read_image(path), expected)
    run = read_recorded_run(reviewer.run_dir)
    heat = read_heatmap(reviewer.run_dir / "overlays" / "bad.png-heatmap.tif", (600, 700))
    n, labels = cv2.connectedComponents((heat >= run.info.thresholds["grow"]).astype(np.uint8), connectivity=8)
    assert n >= 3  # the ground, and two dots at least
    region = reviewer.images["bad.png"].record.regions[0]
    own = labels[int(region.centroid_y), int(region.centroid_x)]
    masks = [
        read_image(p) for p in (folder / "truth" / "ground_truth" / "defect").iterdir() if p.name.startswith("bad")
    ]
    assert any(np.array_equal(mask > 0, labels == own) for mask in masks)
    copies = {p.read_bytes() for p in (folder / "truth" / "test").rglob("*.png")}
    assert (folder / "images" / "bad.png").read_bytes() in copies and len(copies) == 5


def test_tiles_are_good_and_defects_stay_out(reviewer: Reviewer, folder: Path) -> None:
    exported = export_review(reviewer.result(), ReviewFormat.TILES, folder / "more")
    assert sorted(p.name for p in (folder / "more" / "train" / "good").iterdir()) == ["alarm.png", "good.png"]
    with (folder / "more" / "tiles.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["region"]) for row in rows] == [("alarm.png", "1"), ("bad.png", "2")]
    assert {row["reviewer"] for row in rows} == {"'=Ann"}  # no formula
    tile = read_image(folder / "more" / "tiles" / rows[0]["tile"])
    source = read_image(folder / "images" / "alarm.png")
    at = [int(rows[0][name]) for name in ("y_min", "y_max", "x_min", "x_max")]
    y, x = (sum(at[:2]) - 256) // 2, (sum(at[2:]) - 256) // 2
    np.testing.assert_array_equal(tile, source[y : y + 256, x : x + 256])
    assert sorted(exported.paths) == sorted(p for p in (folder / "more").rglob("*") if p.is_file())


def test_a_tile_that_a_defect_reaches_into_stays_out(reviewer: Reviewer, folder: Path) -> None:
    region = reviewer.images["bad.png"].record.regions[1]
    reviewer.mark("bad.png", (region.y_min + 60, region.x_min + 20, region.y_min + 70, region.x_min + 30), "defect")
    export_review(reviewer.result(), ReviewFormat.TILES, folder / "more")
    assert [p.name for p in (folder / "more" / "tiles").iterdir()] == ["alarm.png-1.png"]


def test_pictures_that_are_gone_or_others_are_left_out(reviewer: Reviewer, folder: Path) -> None:
    (folder / "images" / "good.png").unlink()
    write_image(folder / "images" / "bad.png", picture(9))
    exported = export_review(reviewer.result(), ReviewFormat.MASKS, folder / "truth")
    assert "2 complete images are gone, or another by now: left out" in exported.notes
    assert len(list((folder / "truth" / "test").rglob("*.png"))) == 3


def test_pages_of_a_stack_have_masks_of_their_own(tmp_path: Path) -> None:
    """One page is defective, one good; the calibration of a copy takes the good one alone."""
    (tmp_path / "images").mkdir()
    pages = np.stack([picture(1, (100, 200)), picture(2)])
    tifffile.imwrite(tmp_path / "images" / "stack.tif", pages, photometric="minisblack")
    bundle = make_bundle(tmp_path / "toy", pages="pictures").folder
    inspect_folder([tmp_path / "images"], bundle, tmp_path / "runs" / "monday", zoom=False)
    reviewer = Reviewer(tmp_path)
    reviewer.mark("stack.tif#1", 1, "defect")
    reviewer.look("stack.tif#1", "stack.tif#2")
    run = reviewer.result()
    reviewer.store.close()
    export_review(run, ReviewFormat.MASKS, tmp_path / "truth")
    written = sorted(p.relative_to(tmp_path / "truth").as_posix() for p in (tmp_path / "truth").rglob("*.*"))
    assert written == ["ground_truth/defect/stack#1_mask.png", "test/defect/stack.tif"]
    inspect_folder([tmp_path / "truth" / "test"], bundle, tmp_path / "again", zoom=False)
    metrics = evaluate_run(tmp_path / "again", tmp_path / "truth")
    assert metrics["images"] == {"good": 1, "defective": 1} and metrics["region_recall"] == 1.0
    assert calibrate_on_review(run, bundle, tmp_path / "new").calibration.n_images == 1


def test_nothing_is_written_over(reviewer: Reviewer, folder: Path) -> None:
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"`-o` \(=.*full\) must be a new or an empty folder: `--to masks` writes one"):
        export_review(reviewer.result(), ReviewFormat.MASKS, folder / "full")
    with pytest.raises(UsageError, match=r"must be a file that ends in \.json"):
        export_review(reviewer.result(), ReviewFormat.COCO, folder / "full")
    with pytest.raises(UsageError, match="is there already: no bundle is written over"):
        calibrate_on_review(reviewer.result(), folder / "toy", folder / "toy")
    with pytest.raises(UsageError, match=r"`-o` \(=.*mine.txt/x\) cannot be written: Not a directory"):
        export_review(reviewer.result(), ReviewFormat.TILES, folder / "full" / "mine.txt" / "x")


def test_calibrated_on_what_was_found_good(reviewer: Reviewer, folder: Path) -> None:
    before = read_bundle(folder / "toy")
    done = calibrate_on_review(reviewer.result(), folder / "toy", folder / "new.bundle", false_alarms=0.5)
    again = read_bundle(folder / "new.bundle")
    assert again.info.calibration == done.calibration and done.calibration.n_images == 2  # alarm.png and good.png
    assert done.calibration.false_alarms == 0.5 and read_bundle(folder / "toy").digest == before.digest
    # By the very command that calibrates: the same images, the same numbers.
    shutil.copytree(folder / "toy", folder / "second")
    (folder / "two").mkdir()
    for name in ("alarm.png", "good.png"):
        shutil.copy(folder / "images" / name, folder / "two")
    assert flawmap("calibrate", folder / "second", folder / "two", "--false-alarms", "0.5").returncode == 0
    assert read_bundle(folder / "second").info.calibration == done.calibration
    assert not list(folder.glob(".new.bundle*"))


def test_a_calibration_on_quiet_images_alone_is_called_so(folder: Path) -> None:
    reviewer = Reviewer(folder)
    reviewer.look("good.png", "missed.png", "unseen.png")
    says = "{} images with a region are neither reviewed completely nor hold a marked defect: without the good ones"
    notes = calibrate_on_review(reviewer.result(), folder / "toy", folder / "first.bundle").notes
    assert [note for note in notes if note.startswith(says.format(3))]  # both bad.png and alarm.png
    reviewer.mark("bad.png", 1, "defect")
    reviewer.mark("alarm.png", 1, "false_alarm")
    reviewer.look("alarm.png")
    notes = calibrate_on_review(reviewer.result(), folder / "toy", folder / "second.bundle").notes
    assert [note for note in notes if note.startswith(says.format(1))]  # lot 1/bad.png
    reviewer.mark("lot 1/bad.png", 1, "defect")
    notes = calibrate_on_review(reviewer.result(), folder / "toy", folder / "third.bundle").notes
    assert not [note for note in notes if "neither reviewed" in note]
    reviewer.store.close()


def test_nothing_good_is_nothing_to_calibrate_on(folder: Path) -> None:
    reviewer = Reviewer(folder)
    reviewer.mark("bad.png", 1, "defect")
    reviewer.store.close()
    with pytest.raises(
        UsageError, match="no image of the run was looked at as a whole and found good: there is nothing"
    ):
        calibrate_on_review(reviewer.result(), folder / "toy", folder / "new.bundle")
    assert not (folder / "new.bundle").exists()


def test_the_commands(reviewer: Reviewer, folder: Path) -> None:
    for place in (folder / "runs", folder / "runs" / "monday"):
        said = flawmap("review", "figures", place)
        assert said.returncode == 0, said.stderr
        assert "recall, of images reviewed completely: 0.67 [0.21, 0.94] (2 of 3)" in said.stdout
        assert "false alarms a good image: 0.5 [0.0127, 2.79] (1 of 2)" in said.stdout
        assert "left no region and no candidate: no threshold finds them" in said.stdout
    said = flawmap("review", "export", folder / "runs" / "monday", "--to", "tiles", "-o", folder / "more")
    assert (said.returncode, said.stdout) == (0, f"{folder / 'more'}: 5 files\n")
    said = flawmap("review", "calibrate", folder / "runs" / "monday", "-m", folder / "toy", "-o", folder / "new")
    assert said.returncode == 0 and "of 2 reviewed good images" in said.stdout and "extrapolated" in said.stderr


def test_commands_say_what_is_missing(folder: Path) -> None:
    said = flawmap("review", "figures", folder / "runs")
    assert said.returncode == 2 and "nobody has reviewed these runs yet (`flawmap serve`)" in said.stderr
    assert not (folder / "runs" / "review.sqlite").exists()
    said = flawmap("review", "figures", folder / "rums")
    assert said.returncode == 2 and f"`RUNS_DIR` (={folder / 'rums'}) does not exist: give the folder" in said.stderr
    open_marks(folder / "runs").close()
    said = flawmap("review", "figures", folder / "runs")
    assert said.returncode == 2 and "holds no run that bears a mark" in said.stderr
    said = flawmap("review", "export", folder / "runs", "--to", "coco", "-o", folder / "x.json")
    assert said.returncode == 2 and "holds no run.json: give one run, such as" in said.stderr
