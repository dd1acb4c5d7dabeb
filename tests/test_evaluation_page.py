"""`flawmap evaluate` as a whole: a real bundle inspects a small data set, and what is written is read back."""

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from typer.testing import CliRunner

from flawmap.export.bundle import Bundle
from flawmap.inspect.cli import app
from flawmap.inspect.evaluate_run import evaluate_run, page_of
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.report.display import Picture
from flawmap.inspect.report.gallery import MARK_COLOUR, PANEL_WIDTH_PX, Exhibit, draw_exhibits, enlarged, outlined
from flawmap.inspect.report.heat_scale import HeatScale
from flawmap.inspect.report.pictures import MARGIN_PX, write_heatmap
from flawmap.inspect.run.layout import heatmap_path
from flawmap.inspect.run.record_files import read_record
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image, write_image
from tests.bundles import calibration, good_image, make_bundle
from tests.html_page import anchors_of

HOSTILE = "<img src=x onerror=alert(1)> & 'quoted' \\ {{ 7*7 }}#%41é"
SHAPE = (160, 200)
UNMARKED = np.s_[130:132, 180:182]
PLOTS = {"roc.png", "froc.png", "score_histogram.png"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "toy")


def write_defective(dataset: Path, kind: str, name: str, seed: int, lift: float, unmarked: float = 0.0) -> None:
    """A 2x2 px dot, `lift` grey levels above a good surface, and its mask; far from it one that the mask lacks."""
    image, mask = good_image(*SHAPE, seed=seed).astype(np.float32), np.zeros(SHAPE, np.uint8)
    y, x = 20 + 7 * seed % 100, 30 + 11 * seed % 120
    image[y : y + 2, x : x + 2] += lift
    image[UNMARKED] += unmarked
    mask[y : y + 2, x : x + 2] = 255
    for folder, picture, suffix in ((dataset / "test", image, ""), (dataset / "ground_truth", mask, "_mask")):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_image(folder / kind / f"{name}{suffix}.png", np.clip(picture, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three good images, one of them with a dot that is none; two dots that are found, beside one that nobody marked;
    two that are not found.
    """
    folder = tmp_path_factory.mktemp("data")
    (folder / "test" / "good").mkdir(parents=True)
    for seed in range(3):
        write_image(folder / "test" / "good" / f"{seed}.png", good_image(*SHAPE, seed=seed, defects=int(seed == 2)))
    for seed, lift, unmarked in ((3, 105.0, 105.0), (4, 105.0, 120.0), (5, 65.0, 0.0)):
        write_defective(folder, "dot", str(seed), seed, lift, unmarked)
    write_defective(folder, HOSTILE.replace("/", ""), HOSTILE, 6, 30.0)
    return folder


@pytest.fixture(scope="module")
def evaluated(dataset: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    run_dir = tmp_path_factory.mktemp("run") / "run"
    inspect_folder([dataset / "test"], bundle.folder, run_dir, device="cpu", heatmaps=True)
    return run_dir, evaluate_run(run_dir, dataset)


@pytest.fixture
def run_dir(evaluated: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(evaluated[0], tmp_path / "run"))


def test_metrics_are_strict_json_and_whole(evaluated: tuple[Path, dict[str, Any]]) -> None:
    run_dir, metrics = evaluated
    assert json.loads((run_dir / "metrics.json").read_text("utf-8"), parse_constant=pytest.fail) == metrics
    assert metrics["images"] == {"good": 3, "defective": 4}
    assert metrics["region_recall"] == metrics["image_recall"] == 0.5
    assert metrics["false_regions_per_good_image"] == 1 / 3
    assert metrics["false_regions_on_defective_images"] == 2
    assert metrics["region_recall_by_size_px"]["<=8"]["found"] == 2
    assert metrics["froc"]["points"][-1]["region_recall"] >= 0.5
    own = metrics["promises"][0]
    assert (own["allowed"], own["false_regions"], own["good_images"]) == (0.1, 1, 3)
    for name, interval in metrics["intervals_95"].items():
        assert interval[0] <= metrics[name] <= interval[1], name


def test_pixel_figures_from_files_are_those_of_the_pixels(
    evaluated: tuple[Path, dict[str, Any]], dataset: Path, bundle: Bundle
) -> None:
    """Second formula: the pipeline's own heatmaps, all pixels at once, to the 12 bits that are kept."""
    pipeline = Pipeline(bundle, TileScorer(bundle, "cpu"), Thresholds.of(calibration(), 0.1))
    scores, truth = [], []
    for path in sorted((dataset / "test").rglob("*.png")):
        scores.append(pipeline.inspect(read_image(path)).heatmap.ravel())
        mask = dataset / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
        truth.append(read_image(mask).ravel() > 0 if mask.exists() else np.zeros(scores[-1].size, bool))
    mantissa, exponent = np.frexp(np.concatenate(scores).astype(np.float64))
    everything, hits = np.ldexp(np.floor(mantissa * 4096 + 0.5), exponent), np.concatenate(truth)
    expected = np.mean([hits[everything >= score].mean() for score in everything[hits]])
    metrics = evaluated[1]
    assert metrics["pixel_ap"] == pytest.approx(expected, rel=1e-9)
    assert 0.5 < metrics["au_pro_0.05"] <= 1
    assert 0 < metrics["aupimo"] <= 1
    assert "the good images hold 96000 px" in metrics["pixel_metrics_note"]


def without_icon(page: str) -> str:
    """The icon is an address that holds its own picture."""
    return re.sub(r'<link rel="icon" href="data:image/svg[^"]*">', "", page)


def test_the_page_shows_what_was_missed_and_what_was_raised(evaluated: tuple[Path, dict[str, Any]]) -> None:
    run_dir, _ = evaluated
    folder = run_dir / "evaluation"
    names = {path.name for path in folder.iterdir()}
    pictures = {"missed-01.png", "missed-02.png", "false-01.png", "elsewhere-01.png", "elsewhere-02.png"}
    assert names == {"index.html", *PLOTS, *pictures}
    page = without_icon(page_of(run_dir).read_text("utf-8"))
    assert "Missed: 2 defects" in page and "Raised on good images: 1 region<" in page
    linked = {unquote(link) for link in re.findall(r'(?:src|href)="([^"]*)"', page)}
    assert linked == {"../index.html", *(f"./{name}" for name in names - {"index.html"})}
    assert (folder / "../index.html").is_file()
    side = 3 * 128
    assert read_image(folder / "missed-01.png").shape == (side + 2 * MARGIN_PX, 3 * side + 4 * MARGIN_PX, 3)
    assert all(read_image(folder / name).shape[1] <= 1280 for name in PLOTS)


def test_the_page_says_whether_calibration_kept_its_word(evaluated: tuple[Path, dict[str, Any]]) -> None:
    """The rows as they read, tags left out, against what metrics.json says."""
    run_dir, metrics = evaluated
    page = page_of(run_dir).read_text("utf-8")
    card = page[page.index("Did calibration keep its word?") : page.index("Defects found, by size")]
    rows = [re.sub(r"<[^>]*>", "|", row) for row in re.findall(r"<tr><td>(.*?)</td></tr>", card)]
    shown = [[cell for cell in row.split("|") if cell] for row in rows]
    assert [row[0] for row in shown] == ["0.1 allowed, as in this run", "1 allowed", "0.5 allowed"]
    for row, promise in zip(shown, metrics["promises"], strict=True):
        low, high = promise["interval_95"]
        counted = f"{promise['false_regions_per_good_image']:.3f}"
        assert row[1:] == [str(promise["false_regions"]), counted, f"{low:.3f} to {high:.3f}", promise["word"]]


def test_report_and_evaluation_lead_to_each_other(run_dir: Path, dataset: Path, bundle: Bundle) -> None:
    assert anchors_of(run_dir / "index.html")[0] == "./evaluation/index.html"
    back = page_of(run_dir).parent / anchors_of(page_of(run_dir))[0]
    assert back.resolve() == (run_dir / "index.html").resolve()
    assert "<title>Evaluation of run: toy – flawmap</title>" in page_of(run_dir).read_text("utf-8")
    inspect_folder([dataset / "test"], bundle.folder, run_dir, device="cpu", heatmaps=True, fresh=True)
    assert "evaluation" not in "".join(anchors_of(run_dir / "index.html"))  # it went with the results it was about


def test_a_run_without_a_page_is_evaluated_and_gets_none(run_dir: Path, dataset: Path) -> None:
    (run_dir / "index.html").unlink()
    evaluate_run(run_dir, dataset)
    assert not (run_dir / "index.html").exists()


def test_hostile_names_stay_text(evaluated: tuple[Path, dict[str, Any]]) -> None:
    page = without_icon(page_of(evaluated[0]).read_text("utf-8"))
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; &#39;quoted&#39;" in page
    assert "<img src=x" not in page and "{{ 7*7 }}" in page and "<script" not in page
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "default-src 'none'" in page


def test_marks_are_drawn_around_the_truth(evaluated: tuple[Path, dict[str, Any]]) -> None:
    strip = read_image(evaluated[0] / "evaluation" / "missed-01.png")
    left = 2 * MARGIN_PX + 384
    panel, plain = (
        strip[MARGIN_PX:-MARGIN_PX, left : left + 384],
        strip[MARGIN_PX:-MARGIN_PX, MARGIN_PX : left - MARGIN_PX],
    )
    ys, xs = np.nonzero((panel == MARK_COLOUR).all(axis=2))
    assert (ys.max() - ys.min() + 1, xs.max() - xs.min() + 1) == (6 + 2 * 3, 6 + 2 * 3)  # 2 px thrice enlarged
    np.testing.assert_array_equal(np.delete(panel, np.unique(ys), axis=0), np.delete(plain, np.unique(ys), axis=0))


def test_what_nobody_marked_is_shown_on_defective_images(
    run_dir: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The more severe one first, its own box outlined and not the truth; the list ends where the others do."""
    page = page_of(run_dir).read_text("utf-8")
    assert "False on defective images, or defects that nobody marked: 2 regions<" in page
    section = page[page.index("nobody marked") :]
    assert re.findall(r"<bdi>(.*?)</bdi>", section) == ["dot/4.png", "dot/3.png"]
    record = read_record(next((run_dir / "regions").glob("dot_4.png*.json")))
    assert record is not None
    (found,) = [r for r in record.regions if r.x_min <= UNMARKED[1].start < r.x_max and r.y_min <= UNMARKED[0].start]
    assert (
        f"{found.x_max - found.x_min} × {found.y_max - found.y_min} px at x {found.x_min}, y {found.y_min}" in section
    )
    strip = read_image(run_dir / "evaluation" / "elsewhere-01.png")
    ys, xs = np.nonzero((strip[:, : 2 * (384 + MARGIN_PX)] == MARK_COLOUR).all(axis=2))
    outlined_px = ys.max() - ys.min() + 1, xs.max() - xs.min() + 1  # thrice enlarged, the line 3 px around it
    assert outlined_px == (3 * (found.y_max - found.y_min) + 6, 3 * (found.x_max - found.x_min) + 6)

    monkeypatch.setattr("flawmap.inspect.evaluate_run.EXHIBITS_MAX", 1)
    evaluate_run(run_dir, dataset)
    section = page_of(run_dir).read_text("utf-8").partition("nobody marked: 2 regions")[2]
    assert "The worst 1 of 2." in section and re.findall(r"<bdi>(.*?)</bdi>", section) == ["dot/4.png"]
    assert not (run_dir / "evaluation" / "elsewhere-02.png").exists()


@settings(max_examples=50, deadline=None)
@given(mark=hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))), factor=st.integers(1, 4))
def test_a_line_never_covers_what_it_marks(mark: NDArray[np.bool_], factor: int) -> None:
    picture: Picture = np.full((mark.shape[0] * factor, mark.shape[1] * factor, 3), 77, np.uint8)
    drawn = outlined(picture, mark)
    large = np.kron(mark, np.ones((factor, factor), bool))
    assert (drawn[large] == 77).all()
    changed = (drawn != 77).any(axis=2)
    distance = (
        cv2.distanceTransform((~large).astype(np.uint8), cv2.DIST_C, 3) if mark.any() else np.full(large.shape, 99)
    )
    np.testing.assert_array_equal(changed, (distance > 1) & (distance <= 3))


@given(height=st.integers(1, 600), width=st.integers(1, 600))
def test_small_crops_are_enlarged_by_whole_pixels(height: int, width: int) -> None:
    large = enlarged(np.zeros((height, width, 3), np.uint8))
    assert large.shape[0] % height == large.shape[1] % width == 0
    assert large.shape[0] // height == large.shape[1] // width
    assert max(large.shape[:2]) <= max(PANEL_WIDTH_PX, height, width)


def test_an_image_that_has_gone_leaves_a_word(run_dir: Path, dataset: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(dataset, tmp_path / "data"))
    (data / "test" / "dot" / "5.png").write_bytes(b"no picture")
    evaluate_run(run_dir, data)
    page = page_of(run_dir).read_text("utf-8")
    assert page.count("No picture: the image, its mask or its heatmap is not what it was.") == 1
    assert "Missed: 2 defects" in page


def test_pictures_of_an_earlier_evaluation_go_and_others_stay(run_dir: Path, dataset: Path, bundle: Bundle) -> None:
    folder = run_dir / "evaluation"
    (folder / "false-59.png").write_bytes(b"old")
    (folder / "my notes.png").write_bytes(b"mine")
    evaluate_run(run_dir, dataset)
    assert not (folder / "false-59.png").exists() and (folder / "my notes.png").exists()
    # Other results: the evaluation is no longer about them.
    inspect_folder([dataset / "test"], bundle.folder, run_dir, device="cpu", heatmaps=True, fresh=True)
    assert [path.name for path in folder.iterdir()] == ["my notes.png"]
    assert not (run_dir / "metrics.json").exists()


def test_its_pictures_are_not_inspected(run_dir: Path, dataset: Path, bundle: Bundle, tmp_path: Path) -> None:
    shutil.copy(dataset / "test" / "good" / "0.png", run_dir / "mine.png")
    run = inspect_folder([run_dir], bundle.folder, tmp_path / "other", device="cpu")
    assert run.counts["images"] == 1


def test_heatmaps_that_are_missing_or_broken(run_dir: Path, dataset: Path) -> None:
    heatmaps = sorted((run_dir / "overlays").glob("*-heatmap.tif"))
    victim = next(path for path in heatmaps if "good" in path.name)
    whole = victim.read_bytes()
    for broken, message in (
        (b"no TIFF", r"is not the heatmap that flawmap wrote \(.*\): inspect again"),
        (heatmaps[0].read_bytes()[: len(whole) // 2], "is not the heatmap that flawmap wrote"),
    ):
        victim.write_bytes(broken)
        with pytest.raises(UsageError, match=message):
            evaluate_run(run_dir, dataset)
    victim.unlink()
    metrics = evaluate_run(run_dir, dataset)
    assert metrics["pixel_ap"] is metrics["au_pro_0.05"] is metrics["aupimo"] is None
    note = metrics["pixel_metrics_note"]
    assert note.startswith("1 heatmaps are missing from the run, the first that of good/")
    assert note.endswith("`flawmap inspect --heatmaps` writes what they are drawn from")


def test_a_run_folder_that_cannot_be_written(run_dir: Path, dataset: Path) -> None:
    shutil.rmtree(run_dir / "evaluation")
    (run_dir / "evaluation").write_text("in the way")
    with pytest.raises(UsageError, match=r"`RUN_DIR` \(=.*\) cannot be written: File exists \(.*evaluation\)"):
        evaluate_run(run_dir, dataset)


def test_good_images_alone(dataset: Path, bundle: Bundle, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(dataset / "test" / "good", data / "test" / "good")
    inspect_folder([data / "test"], bundle.folder, tmp_path / "run", device="cpu")
    metrics = evaluate_run(tmp_path / "run", data)
    assert metrics["region_recall"] is metrics["image_auroc"] is metrics["pixel_ap"] is None
    page = page_of(tmp_path / "run").read_text("utf-8")
    assert "nobody marked" not in page
    assert "No defect was missed." in page and "froc.png" not in page and "score_histogram.png" in page


def test_the_command_says_what_it_found_and_where(run_dir: Path, dataset: Path) -> None:
    result = CliRunner().invoke(app, ["evaluate", str(run_dir), "--truth", str(dataset)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == "3 good and 4 defective images, 0.1 false regions allowed"
    assert lines[-2:] == [str(run_dir / "metrics.json"), str(run_dir / "evaluation" / "index.html")]
    assert "comparing 7/7" in result.stderr


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint16", 1), ("float32", 1)])
def test_exhibits_of_any_image(tmp_path: Path, dtype: str, channels: int) -> None:
    """A stain too large for a panel and a dot in the corner, with masks; one image, read once."""
    image = good_image(900, 1100, dtype=dtype, channels=channels)
    mask = np.zeros((900, 1100), np.uint8)
    mask[100:700, 200:1000] = mask[0, 0] = 255
    write_image(tmp_path / "a.tif", image)
    write_image(tmp_path / "mask.png", mask)
    write_heatmap(tmp_path, "a", mask.astype(np.float32))
    boxes = [(100, 200, 700, 1000), (0, 0, 1, 1)]
    heatmap = tmp_path / heatmap_path("a")
    exhibits = [Exhibit("a", tmp_path / "a.tif", tmp_path / "mask.png", heatmap, box, []) for box in boxes]
    steps: list[str] = []
    draw_exhibits(tmp_path, "missed", exhibits, HeatScale(1.0, 2.0), steps.append)
    assert [e.picture for e in exhibits] == ["missed-01.png", "missed-02.png"] and steps == ["a"]
    stain, dot = (read_image(tmp_path / f"missed-{n:02}.png") for n in (1, 2))
    assert stain.shape == (round(648 * 512 / 848) + 2 * MARGIN_PX, 3 * 512 + 4 * MARGIN_PX, 3)
    assert dot.shape == (384 + 2 * MARGIN_PX, 3 * 384 + 4 * MARGIN_PX, 3)
    for strip, width in ((stain, 512), (dot, 384)):
        assert (strip[:, MARGIN_PX + width :][:, :width] == MARK_COLOUR).all(axis=2).any()
        assert not (strip[:, :width] == MARK_COLOUR).all(axis=2).any()


@pytest.mark.parametrize("wrong", ["mask", "heatmap", "image"])
def test_files_of_another_size_give_no_picture(tmp_path: Path, wrong: str) -> None:
    shapes = dict.fromkeys(("mask", "heatmap", "image"), (200, 200)) | {wrong: (150, 150)}
    write_image(tmp_path / "a.png", np.zeros(shapes["image"], np.uint8))
    write_image(tmp_path / "mask.png", np.zeros(shapes["mask"], np.uint8))
    write_heatmap(tmp_path, "a", np.zeros(shapes["heatmap"], np.float32))
    heatmap = tmp_path / heatmap_path("a")
    exhibit = Exhibit("a", tmp_path / "a.png", tmp_path / "mask.png", heatmap, (180, 180, 190, 190), [])
    draw_exhibits(tmp_path, "missed", [exhibit], HeatScale(1.0, 2.0), lambda _: None)
    assert exhibit.picture is None and not (tmp_path / "missed-01.png").exists()


def test_candidates_are_on_record_and_the_gallery_names_them(evaluated: tuple[Path, dict[str, Any]]) -> None:
    """One missed dot came near a region, the other nowhere near."""
    run_dir, metrics = evaluated
    records = {r.image: r for r in map(read_record, sorted((run_dir / "regions").glob("*.json"))) if r is not None}
    (candidate,) = records["dot/5.png"].candidates
    thresholds = Thresholds.of(calibration(), 0.1)
    assert thresholds.candidate <= candidate.score_max < thresholds.review and records["dot/5.png"].regions == []
    assert candidate.severity == calibration().severity(candidate.score_max)
    seen = [row["score"] for row in metrics["missed"] if row["image"] == "dot/5.png"]
    assert seen == [candidate.score_max]
    page = page_of(run_dir).read_text("utf-8")
    shown = f"{candidate.severity:.2f}".replace("-", "−")
    score = f"{candidate.score_max:.4g}".replace("-", "−")
    assert f"severity {shown}, score {score}" in page
    assert "nothing in this image came near a region" in page
