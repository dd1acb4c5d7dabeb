"""The detection limit: read off curves, said in a sentence, and measured with a real bundle from images to files."""

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from flawmap.inspect.cli import app
from flawmap.inspect.detection_limit.analysis import (
    Injection,
    Limit,
    curves_over_contrast,
    curves_over_size,
    rates_by_place,
)
from flawmap.inspect.detection_limit.injected_defects import Planned
from flawmap.inspect.detection_limit.injection import Design, Placed
from flawmap.inspect.detection_limit.judge import judge
from flawmap.inspect.detection_limit.measure import measure_detection_limit
from flawmap.inspect.detection_limit.sentence import headline, statement
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.inspect.true_defects import TrueDefect
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image, write_image
from tests.bundles import calibration, good_image, make_bundle

SIZES = (3, 5, 7, 11, 17, 27, 41, 64)
# The toy network is a local contrast: it finds thin things, however long, that are strong enough.
DESIGN = Design(sizes_px=(3, 9), contrasts=(2.0, 28.0), per_image=40, gap_px=12)
SIDE = 400


def injection(size: int, found: bool, *, kind: str = "spot", contrast: float | None = 5.0, levels: float = 12.0):
    return Injection(
        image="0.png", number=0, kind=kind, size_px=size, contrast=contrast, place="edge" if size == 3 else "anywhere",
        y_min=0, x_min=0, y_max=size, x_max=size, area_px=9, deviation_levels=2.4, change_levels=levels,
        change_deviations=5.0, found=found, severity=2.0 if found else None,
    )  # fmt: skip


def experiment(found: dict[int, int], tried: int = 10, **kind: object) -> list[Injection]:
    """`found[size]` of `tried`."""
    return [injection(size, i < hits, **kind) for size, hits in found.items() for i in range(tried)]  # type: ignore[arg-type]


STEP = {3: 0, 5: 1, 7: 5, 11: 9, 17: 10, 27: 10, 41: 10, 64: 10}


def test_the_limit_is_where_the_curve_reaches_nine_of_ten() -> None:
    (curve,) = curves_over_size(experiment(STEP))
    assert curve.curve is not None and curve.limit.value is not None and curve.limit_95.value is not None
    exact = np.exp((np.log(9) - curve.curve.intercept) / curve.curve.slope)
    assert exact <= curve.limit.value <= exact * 1.01
    assert 7 < curve.limit.value < curve.limit_95.value < 20
    low, _ = curve.curve.bounds(np.array([curve.limit_95.value / 1.01, curve.limit_95.value]))
    assert low[0] < 0.9 <= low[1] + 1e-4
    assert curve.tried == 80
    assert [rate.found for rate in curve.rates] == list(STEP.values())
    assert curve.exceptions == []


@settings(max_examples=25, deadline=None)
@given(hits=st.lists(st.integers(0, 10), min_size=8, max_size=8))
def test_a_limit_promises_no_more_than_the_curve(hits: list[int]) -> None:
    (curve,) = curves_over_size(experiment(dict(zip(SIZES, hits, strict=True))))
    assert curve.curve is not None
    if curve.limit.value is None:
        assert curve.curve.probability(np.array([64.0]))[0] < 0.9
        assert curve.limit_95.value is None
    else:
        grid = np.geomspace(curve.limit.value, 64, 50)
        assert (curve.curve.probability(grid) >= 0.9 - 1e-9).all()
    if curve.limit_95.value is not None:
        assert curve.limit.value is not None and curve.limit_95.value >= curve.limit.value


def test_all_found_is_a_limit_at_or_below_the_smallest() -> None:
    (curve,) = curves_over_size(experiment(dict.fromkeys(SIZES, 20), tried=20))
    assert curve.limit == Limit(3.0, smallest_tried=True)
    assert statement(curve) == (
        "Spots of 5 sigma (12 grey levels) are found 9 times out of 10 from 3 px, the smallest tried, up "
        "(95 % confidence: 3 px)"
    )


def test_not_reached_is_said() -> None:
    (curve,) = curves_over_size(experiment(dict.fromkeys(SIZES, 3)))
    assert curve.limit == curve.limit_95 == Limit(None)
    expected = "Spots of 5 sigma (12 grey levels) are not found 9 times out of 10 up to 64 px, the largest tried"
    assert statement(curve) == expected


def test_a_curve_that_does_not_fit_is_said() -> None:
    """Large soft ones are lost again: the logistic curve cannot fall, the counts can."""
    found = {**dict.fromkeys(SIZES, 40), 3: 4, 5: 36, 64: 32}
    (curve,) = curves_over_size(experiment(found, tried=40))
    assert curve.exceptions == [64]
    assert statement(curve).endswith(", but less often at 64 px")


def test_too_few_are_said() -> None:
    (curve,) = curves_over_size(experiment({3: 1, 5: 1}, tried=4))
    assert curve.curve is None
    assert statement(curve).endswith("were too few to say from which size they are found")


def test_the_sentence() -> None:
    rows = experiment(STEP) + experiment(STEP, contrast=8.0, levels=20.0) + experiment(STEP, kind="blur", contrast=None)
    curves = curves_over_size(rows)
    assert [(curve.kind, curve.contrast) for curve in curves] == [("spot", 5.0), ("spot", 8.0), ("blur", None)]
    assert headline(curves, 0.1, 240, 6) == (
        "Spots of 5 sigma (12 grey levels) are found 9 times out of 10 from 13 px up (95 % confidence: 17 px), "
        "at 0.1 false regions an image; from 80 of these among 240 defects injected into 6 good images."
    )
    assert statement(curves[2]).startswith("Blurred places are found 9 times out of 10 from 13 px up")
    assert headline(curves[2:], 0.1, 80, 1) == (
        "No spot found a place where it would have shown; from 80 defects injected into 1 good image."
    )


def test_contrast_at_five_px() -> None:
    rows = [row for contrast, hits in ((2.0, 1), (3.0, 5), (5.0, 10), (8.0, 10))
            for row in experiment({5: hits, 27: 10}, contrast=contrast)]  # fmt: skip
    (curve,) = curves_over_contrast(rows)
    assert (curve.size_px, curve.contrast, curve.tried) == (5, None, 40)
    assert curve.limit.value is not None and 3 < curve.limit.value < 5


def test_rates_by_place() -> None:
    rates = rates_by_place(experiment(STEP))
    assert {place: (rate.found, rate.tried) for place, rate in rates.items()} == {"edge": (0, 10), "anywhere": (55, 70)}


class Product:
    """A toy bundle, three good images and a run of them."""

    def __init__(self, folder: Path) -> None:
        self.data, self.bundle, self.run = folder / "data", folder / "toy.bundle", folder / "run"
        (self.data / "test" / "good").mkdir(parents=True)
        for i in range(3):
            write_image(self.data / "test" / "good" / f"{i}.png", good_image(SIDE, SIDE, seed=i))
        make_bundle(self.bundle)
        inspect_folder([self.data / "test"], self.bundle, self.run, false_alarms=5)

    def copy(self, folder: Path) -> "Product":
        """Another place for the results, the same bundle."""
        made = object.__new__(Product)
        made.data, made.bundle, made.run = folder / "data", self.bundle, folder / "run"
        shutil.copytree(self.data, made.data)
        made.run.mkdir()
        shutil.copy(self.run / "run.json", made.run)
        return made


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Product:
    return Product(tmp_path_factory.mktemp("product"))


@pytest.fixture
def product(untouched: Product, tmp_path: Path) -> Product:
    return untouched.copy(tmp_path)


def rows_of(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "evaluation" / "detection_limit.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_from_images_to_the_sentence(product: Product) -> None:
    result = measure_detection_limit(product.run, product.data, images=2, design=DESIGN)
    assert result == json.loads((product.run / "evaluation" / "detection_limit.json").read_text(encoding="utf-8"))
    assert read_image(product.run / "evaluation" / "detection_limit.png").shape[2] == 3
    rows = rows_of(product.run)
    assert len(rows) == result["defects"] == 80 - sum(result["defects_without_place"].values())
    assert set(result["defects_without_place"]) == {"missing", "blur"}  # noise is no texture
    assert result["images"] == ["good/0.png", "good/1.png"]
    assert {row["image"] for row in rows} == set(result["images"])
    assert result["false_alarms"] == 5
    assert result["sentence"].endswith(f"among {len(rows)} defects injected into 2 good images.")
    thin = [row for row in rows if row["kind"] == "hairline"]
    assert [row["found"] for row in thin] == ["1" if row["contrast"] == "28" else "0" for row in thin]
    assert {row["contrast"] for row in thin} == {"2", "28"}
    assert all((row["severity"] != "") == (row["found"] == "1") for row in rows)
    lines = {(curve["kind"], curve["contrast_sigma"]): curve for curve in result["over_size"]}
    found = [
        row["found"] for row in rows if row["kind"] == "spot" and row["contrast"] == "28" and row["size_px"] == "3"
    ]
    assert lines["spot", 28.0]["rates"][0]["found"] == found.count("1")
    assert lines["spot", 28.0]["rates"][0]["tried"] == len(found)
    assert measure_detection_limit(product.run, product.data, images=2, design=DESIGN) == result
    assert rows_of(product.run) == rows


def test_regions_that_were_there_count_nothing(product: Product) -> None:
    """Bright dots all over the images, and injected defects that nobody could see."""
    for i in range(3):
        write_image(product.data / "test" / "good" / f"{i}.png", good_image(SIDE, SIDE, seed=i, defects=12))
    design = replace(DESIGN, contrasts=(0.5, 0.8), gap_px=5)
    result = measure_detection_limit(product.run, product.data, images=3, design=design)
    assert result["false_regions_on_untouched_images"] > 10
    assert result["defects"] > 40
    assert [row for row in rows_of(product.run) if row["found"] == "1"] == []


def test_a_region_over_several_defects_finds_none(untouched: Product, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    thresholds = Thresholds.of(calibration(), 5.0)
    image = good_image(64, 64)
    image[30, 4:60] = 255  # one long region
    inspection = Pipeline(bundle, TileScorer(bundle, "cpu"), thresholds).inspect(image)

    def placed(x: int) -> Placed:
        defect = TrueDefect(29, x, 32, x + 3, 9, np.ones((3, 3), bool))
        return Placed(Planned(0, "spot", 3, 5.0, "anywhere", 0), defect, 4.0, 20.0, 5.0)

    assert [one.found for one in judge("a", [placed(10)], inspection)] == [True]
    assert [one.found for one in judge("a", [placed(10), placed(50)], inspection)] == [False, False]
    assert judge("a", [placed(10)], inspection)[0].severity == inspection.severities[0]


def test_images_of_another_kind_are_left_out(product: Product) -> None:
    write_image(product.data / "test" / "good" / "0.png", good_image(40, 40, channels=3))
    result = measure_detection_limit(product.run, product.data, images=2, design=replace(DESIGN, per_image=15))
    assert result["images"] == ["good/1.png"]
    assert "the bundle was trained on" in result["images_not_inspected"]["good/0.png"]
    with pytest.raises(
        UsageError, match=r"no image of .*good could be inspected: good/0\.png: the image is .*trained on"
    ):
        measure_detection_limit(product.run, product.data, images=1, design=DESIGN)


def test_an_interruption_leaves_what_was_there(product: Product) -> None:
    measure_detection_limit(product.run, product.data, images=1, design=replace(DESIGN, per_image=15))
    files = {path.name: path.read_bytes() for path in (product.run / "evaluation").iterdir()}
    assert set(files) == {"detection_limit.json", "detection_limit.csv", "detection_limit.png"}

    @contextmanager
    def interrupted(title: str, total: int) -> Iterator[object]:
        assert (title, total) == ("injecting defects", 80)

        def step(text: str) -> None:
            raise KeyboardInterrupt

        yield step

    with pytest.raises(KeyboardInterrupt):
        measure_detection_limit(product.run, product.data, images=2, design=DESIGN, progress=interrupted)  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in (product.run / "evaluation").iterdir()} == files


def test_a_fresh_run_forgets_it_another_evaluation_does_not(product: Product, tmp_path: Path) -> None:
    """It was measured on the bundle that a fresh run may replace; the results in the folder have no part in it."""
    inspect_folder([product.data / "test"], product.bundle, tmp_path / "new", false_alarms=5)
    measure_detection_limit(tmp_path / "new", product.data, images=1, design=replace(DESIGN, per_image=15))
    evaluate_run(tmp_path / "new", product.data)
    assert len(list((tmp_path / "new" / "evaluation").glob("detection_limit.*"))) == 4
    inspect_folder([product.data / "test"], product.bundle, tmp_path / "new", false_alarms=5, fresh=True)
    assert not (tmp_path / "new" / "evaluation").exists()


def test_every_defect_is_a_step(product: Product) -> None:
    steps: list[str] = []

    @contextmanager
    def counted(title: str, total: int) -> Iterator[object]:
        yield steps.append
        assert len(steps) == total

    measure_detection_limit(product.run, product.data, images=1, design=DESIGN, progress=counted)  # type: ignore[arg-type]
    assert any(text.endswith("px found") for text in steps) and any("no place for a missing" in text for text in steps)


def test_wrong_use(product: Product, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`--images` \(=0\) must be at least 1"):
        measure_detection_limit(product.run, product.data, images=0)
    with pytest.raises(UsageError, match=r"`RUN_DIR` \(=.*\) holds no run\.json"):
        measure_detection_limit(tmp_path, product.data)
    with pytest.raises(UsageError, match=r"`--truth` \(=.*\) must hold test/good, the images into which defects"):
        measure_detection_limit(product.run, tmp_path)


def test_the_bundle_must_be_the_runs(product: Product) -> None:
    text = (product.run / "run.json").read_text(encoding="utf-8")
    run = json.loads(text)
    (product.run / "run.json").write_text(json.dumps({**run, "bundle_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"the bundle of this run, .*, has changed since \(it was 000000000000, is "):
        measure_detection_limit(product.run, product.data)
    (product.run / "run.json").write_text(json.dumps({**run, "bundle": "/nowhere/at/all"}), encoding="utf-8")
    with pytest.raises(UsageError, match=r"the bundle of this run, /nowhere/at/all, is gone: inspect again"):
        measure_detection_limit(product.run, product.data)


def test_the_command(untouched: Product) -> None:
    arguments = ["evaluate", str(untouched.run), "--truth", str(untouched.data), "--probability-of-detection"]
    done = CliRunner().invoke(app, [*arguments, "--images", "1"])
    assert done.exit_code == 0, done.output
    assert "defects injected into 1 good image." in done.output
    assert "detection_limit.html" in done.output.replace("\n", "")
    assert rows_of(untouched.run) != []
