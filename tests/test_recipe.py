"""A mixed folder by a recipe: what goes where, one verdict a part, and what is refused."""

import json
import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.inspect.detection_limit.measure import measure_detection_limit
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.recipe.recipe_file import read_recipe
from flawmap.inspect.report.page import write_page
from flawmap.inspect.run.record_files import read_run_info
from flawmap.inspect.run_plan import open_models, plan_run
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import good_image
from tests.command_line import run
from tests.html_page import Page, anchors_of
from tests.run_tables import everything, parts, table, tables, verdicts
from tests.stations import KINDS, RECIPE, add_image, write_recipe
from tests.written_runs import HOSTILE

PART_COLUMNS = "part,verdict,severity,n_images,worst_image,missing_cameras"


def errors(run_dir: Path) -> dict[str, str]:
    return {row["image"]: row["error"] for row in table(run_dir / "images.csv") if row["verdict"] == "ERROR"}


# -- the command ---------------------------------------------------------------------------------------------


def test_a_mixed_folder_is_inspected_in_one_run(station: Path, mixed: Path, tmp_path: Path) -> None:
    write_image(mixed / "A_top_preview.png", good_image(20, 20))
    recipe = write_recipe(station, ignore=["*_preview.png"])
    done = run("inspect", mixed, "-m", recipe, "-o", tmp_path / "run", "--fail-on-ng")
    assert done.returncode == 3, done.stderr  # D is ERROR, though none of its images is
    assert "4 parts: 1 OK, 0 REVIEW, 2 NG, 1 ERROR\n1 image ignored\n11 images on cpu: 9 OK" in done.stdout
    found = parts(tmp_path / "run")
    assert (tmp_path / "run" / "parts.csv").read_text().splitlines()[0] == PART_COLUMNS
    assert {part: row["verdict"] for part, row in found.items()} == {"A": "OK", "B": "NG", "C": "NG", "D": "ERROR"}
    assert [row["worst_image"] for row in found.values()][1:3] == ["B_top.png", "C_side2.png"]
    assert (found["D"]["missing_cameras"], found["D"]["n_images"], found["D"]["severity"]) == ("side2", "2", "")
    for name in ("images.csv", "regions.csv"):
        rows = table(tmp_path / "run" / name)
        assert list(rows[0])[-2:] == ["part", "camera"]
        assert all(row["image"] == f"{row['part']}_{row['camera']}.png" for row in rows)
    add_image(mixed, "D", "side2")  # the same command goes on
    assert run("inspect", mixed, "-m", recipe, "-o", tmp_path / "run", "--fail-on-ng").returncode == 1
    assert run("inspect", mixed, "-m", recipe, "-o", tmp_path / "run").returncode == 0
    assert verdicts(tmp_path / "run") == {"A": "OK", "B": "NG", "C": "NG", "D": "OK"}


def test_images_come_out_as_in_runs_of_single_bundles(station: Path, mixed: Path, tmp_path: Path) -> None:
    recipe = write_recipe(station)
    inspect_folder([mixed], recipe, tmp_path / "run", heatmaps=True)
    expected_images, expected_regions = [], []
    for name in KINDS:
        alone = [path for path in sorted(mixed.iterdir()) if f"_{name}" in path.name]
        inspect_folder(alone, station / f"{name}.bundle", tmp_path / name, heatmaps=True)
        images, regions = tables(tmp_path / name)
        assert "part" not in images[0] and "part" not in regions[0]
        assert not (tmp_path / name / "parts.csv").exists()
        expected_images += images
        expected_regions += regions
        for picture in (tmp_path / name / "overlays").iterdir():
            assert picture.read_bytes() == (tmp_path / "run" / "overlays" / picture.name).read_bytes()
    images, regions = tables(tmp_path / "run")
    for row in (*images, *regions):
        del row["part"], row["camera"]
    in_order = lambda rows: sorted(rows, key=lambda row: (row["image"], row.get("region", "")))  # noqa: E731
    assert in_order(images) == in_order(expected_images)
    assert in_order(regions) == in_order(expected_regions) and regions


def test_run_json_names_every_bundle(station: Path, mixed: Path, tmp_path: Path) -> None:
    info = inspect_folder([mixed], write_recipe(station), tmp_path / "run")
    assert info == read_run_info(tmp_path / "run")
    assert info.recipe is not None
    plan = plan_run([mixed], station / "board.yaml", tmp_path / "run", None)
    assert [m.bundle_sha256 for m in info.recipe.models] == [model.bundle.digest for model in plan.models]
    assert [m.bundle for m in info.recipe.models] == [str(station / f"{name}.bundle") for name in KINDS]
    assert (info.product, info.bundle, info.device) == ("board", str(station / "board.yaml"), "cpu")
    assert info.counts == {"images": 11, "regions": 2, "dropped": 0, "OK": 9, "REVIEW": 0, "NG": 2, "ERROR": 0}
    assert info.recipe.parts == {"parts": 4, "OK": 1, "REVIEW": 0, "NG": 2, "ERROR": 1, "images_without_part": 0}
    assert info.recipe.unfinished == []


@pytest.mark.parametrize(
    ("changes", "asked", "expected"),
    [
        ({}, None, [0.1, 0.1]),  # the bundles' own
        ({"models": [RECIPE["models"][0] | {"false_alarms": 0.03}, RECIPE["models"][1]]}, None, [0.03, 0.1]),
        ({"models": [RECIPE["models"][0] | {"false_alarms": 0.03}, RECIPE["models"][1]]}, 0.2, [0.2, 0.2]),
        ({"false_alarms_per_part": 0.06}, None, [0.02, 0.02]),
        ({"false_alarms_per_part": 0.06}, 0.2, [0.2, 0.2]),
    ],
)
def test_who_sets_the_false_alarms(
    station: Path, mixed: Path, tmp_path: Path, changes: dict[str, Any], asked: float | None, expected: list[float]
) -> None:
    plan = plan_run([mixed], write_recipe(station, **changes), tmp_path / "run", asked)
    assert [model.thresholds.false_alarms for model in plan.models] == pytest.approx(expected)
    assert [model.thresholds.severity_ng for model in plan.models] == pytest.approx([-math.log10(f) for f in expected])


def test_a_bundle_named_twice_is_opened_once(station: Path, mixed: Path, tmp_path: Path) -> None:
    models = [{"camera": name, "bundle": f"{folder}side.bundle"} for name, folder in (("side1", ""), ("side2", "./"))]
    recipe = write_recipe(station, models=[RECIPE["models"][0], *models])
    plan = plan_run([mixed], recipe, tmp_path / "run", None)
    first, second, third = open_models(plan, "cpu")
    assert second is third and first is not second


def test_a_folder_for_each_camera(station: Path, mixed: Path, tmp_path: Path) -> None:
    for path in list(mixed.iterdir()):
        part, camera = path.stem.split("_")
        (mixed / camera).mkdir(exist_ok=True)
        path.rename(mixed / camera / f"{part}.png")
    recipe = write_recipe(station, part="{camera}/{part}.png")
    inspect_folder([mixed], recipe, tmp_path / "run")
    assert verdicts(tmp_path / "run") == {"A": "OK", "B": "NG", "C": "NG", "D": "ERROR"}
    # Which folder was given does not matter: the camera is the folder that the image lies in.
    inspect_folder([mixed / "top", mixed / "side1", mixed / "side2"], recipe, tmp_path / "again")
    assert verdicts(tmp_path / "again") == verdicts(tmp_path / "run")


# -- images that no model may inspect ------------------------------------------------------------------------


def test_an_image_that_belongs_nowhere_is_an_error_with_its_reason(station: Path, mixed: Path, tmp_path: Path) -> None:
    shutil.copy(mixed / "A_top.png", mixed / "dark.png")
    shutil.copy(mixed / "A_top.png", mixed / "A_front.png")
    shutil.copy(mixed / "A_top.png", mixed / "x_y_front.png")
    shutil.copy(mixed / "A_side1.png", mixed / "x_side_side1.png")
    info = inspect_folder([mixed], write_recipe(station), tmp_path / "run")
    assert info.recipe is not None and info.recipe.parts["images_without_part"] == 3
    claimed = "(`models`: `top`, `side*`)"
    assert errors(tmp_path / "run") == {
        "dark.png": "its name does not fit `part` (={part}_{camera}.*) of the recipe",
        "A_front.png": f"no model of the recipe claims camera `front` {claimed}",
        "x_y_front.png": f"no model of the recipe claims its camera {claimed}",
        "x_side_side1.png": "its name can be read as part `x`, camera `side_side1`, and as part `x_side`, camera "
        "`side1`, by `part` (={part}_{camera}.*) of the recipe: name the cameras in `models` so that one reading is "
        "left",
    }
    assert verdicts(tmp_path / "run") == {"A": "ERROR", "B": "NG", "C": "NG", "D": "ERROR"}  # A's front was not seen
    assert parts(tmp_path / "run")["A"]["worst_image"] == "A_front.png"
    page = (tmp_path / "run" / "index.html").read_text("utf-8")
    assert "Images without a part" in page and "claims camera `front`" in page


def test_two_images_of_one_camera_are_an_error_until_one_is_gone(station: Path, mixed: Path, tmp_path: Path) -> None:
    recipe, run_dir = write_recipe(station), tmp_path / "run"
    inspect_folder([mixed], recipe, run_dir)
    before = everything(run_dir)
    (mixed / "old").mkdir()
    shutil.copy(mixed / "A_top.png", mixed / "old" / "A_top.png")
    inspect_folder([mixed], recipe, run_dir)
    assert verdicts(run_dir)["A"] == "ERROR"
    assert errors(run_dir) == {
        "A_top.png": "part `A` has another picture of camera `top`: `old/A_top.png`",
        "old/A_top.png": "part `A` has another picture of camera `top`: `A_top.png`",
    }
    assert not list((run_dir / "overlays").glob("A_top*"))
    shutil.rmtree(mixed / "old")
    inspect_folder([mixed], recipe, run_dir)
    assert everything(run_dir) == before


def test_an_image_that_cannot_be_read_makes_its_part_an_error(station: Path, mixed: Path, tmp_path: Path) -> None:
    (mixed / "A_side1.png").write_bytes(b"")
    (mixed / "B_side1.png").write_bytes(b"")
    inspect_folder([mixed], write_recipe(station), tmp_path / "run")
    found = parts(tmp_path / "run")
    assert (found["A"]["verdict"], found["A"]["worst_image"], found["A"]["missing_cameras"]) == (
        "ERROR",
        "A_side1.png",
        "",
    )
    assert found["B"]["verdict"] == "NG"  # whatever its side shows


# -- what is refused -----------------------------------------------------------------------------------------

ONE_MODEL = "part: '{part}_{camera}.png'\nmodels:\n- camera: top\n  bundle: top.bundle\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`part` is missing"),
        ("part: {part}_{camera}.png", "is not valid YAML: line 1: .*begins with `{`, `\\*` or `\\[` needs quotes"),
        ("part: '{part}_{camera}.png'\nmodels: []", "`models` .*: list should have at least 1 item"),
        (ONE_MODEL + "  bundel: x", "unknown setting `models.0.bundel`: did you mean `models.bundle`"),
        (ONE_MODEL + "expcted: [top]", "unknown setting `expcted`: did you mean `expected`"),
        (ONE_MODEL.replace("top\n", "007\n", 1), r"`models.0.camera` \(=7\): must be text: put it in quotes"),
        (ONE_MODEL.replace("top\n", "on\n", 1), r"`models.0.camera` \(=True\): must be text: put it in quotes"),
        (ONE_MODEL.replace("top\n", "a/b\n", 1), r"`models.0.camera` \(=a/b\): a camera's name holds no `/`"),
        (ONE_MODEL.replace("_{c", "{c"), r"`part` \(={part}{camera}.png\): `{part}` and `{camera}` must be apart"),
        (ONE_MODEL + "  false_alarms: 0", r"`models.0.false_alarms` \(=0\): input should be greater than 0"),
        (ONE_MODEL + "  false_alarms: .nan", r"`models.0.false_alarms` \(=nan\)"),
        (ONE_MODEL + "expected: [top, side]", "`expected` names camera `side`, and no model claims it \\(`top`\\)"),
        (ONE_MODEL + "expected: [top, top]", "`expected` names camera `top` twice"),
        (ONE_MODEL + "ignore: [/x/*]", r"`ignore.0` \(=/x/\*\): .*no whole path"),
        (ONE_MODEL + "- camera: 't*'\n  bundle: b", "two models claim the pictures of camera `top`: `top` and `t\\*`"),
        (ONE_MODEL + "- camera: 'top'\n  bundle: b", "two models claim the pictures of camera `top`: `top` and `top`"),
        (ONE_MODEL + "false_alarms_per_part: 0.1", r"`false_alarms_per_part` \(=0.1\) needs `expected`"),
        (
            ONE_MODEL + "  false_alarms: 0.1\nexpected: [top]\nfalse_alarms_per_part: 0.1",
            r"`false_alarms_per_part` \(=0.1\) and `false_alarms` of camera `top` set the same threshold",
        ),
    ],
)
def test_a_recipe_that_cannot_be_right(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"`--model` \(={path}\).*{message}"):
        read_recipe(path)


def test_what_only_the_folder_shows_is_refused_before_anything_is_written(
    station: Path, mixed: Path, tmp_path: Path
) -> None:
    two = [{"camera": "s*", "bundle": "side.bundle"}, {"camera": "*1", "bundle": "side.bundle"}]
    gone = [RECIPE["models"][0] | {"bundle": "gone.bundle"}]
    for recipe, message in [
        (
            write_recipe(station, "1.yaml", models=two, expected=None),
            "two models of the recipe claim `A_side1.png`, camera",
        ),
        (
            write_recipe(station, "2.yaml", models=gone, expected=None),
            "camera `top`: `bundle` .*gone.bundle. is not there",
        ),
        (
            write_recipe(station, "3.yaml", ignore=["*"]),
            "nothing to inspect: `ignore` of the recipe leaves out all 11 images",
        ),
        (station / "none.yaml", r"`--model` \(=.*none.yaml\) cannot be read: No such file"),
    ]:
        with pytest.raises(UsageError, match=message):
            inspect_folder([mixed], recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- names ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no Unicode")
def test_hostile_names_end_in_their_part(station: Path, tmp_path: Path) -> None:
    hostile = [
        *(name.removesuffix(".png").replace("/", "-") for name in HOSTILE if "\ud800" not in name),
        "a,b \"c\";'d'",
        "new\nline",
        os.fsdecode(b"latin-\xe9"),
        os.fsdecode(b"latin-\xe8"),
        "=1+1",
        "{part}",
        "*",
        "a_top_b",
        f"{'長' * 70}",
        f"{'長' * 70}1",
        " ",
    ]
    folder = tmp_path / "images"
    for number, part in enumerate(hostile):
        for camera in ("top", "side1"):
            add_image(folder, part, camera, defects=number % 2, side=40)
    info = inspect_folder([folder], write_recipe(station, expected=["top", "side1"]), tmp_path / "run")
    assert info.counts["ERROR"] == 0
    found = parts(tmp_path / "run")
    in_table = ["'=1+1" if part == "=1+1" else part for part in hostile]  # no formula in a spreadsheet
    assert sorted(found) == sorted(in_table)
    assert all(row["n_images"] == "2" for row in found.values())
    assert all((found[part]["verdict"] == "NG") == bool(number % 2) for number, part in enumerate(in_table))
    page = Page(tmp_path / "run" / "index.html")
    assert len(page.names) == 3 * len(hostile)  # a part, and its images below it
    assert sum(tag == "script" for tag, _ in page.elements) == 1


# -- the page and the evaluation -----------------------------------------------------------------------------


def test_the_page_shows_parts_first_with_their_images_below(station: Path, mixed: Path, tmp_path: Path) -> None:
    inspect_folder([mixed], write_recipe(station), tmp_path / "run")
    before = (tmp_path / "run" / "index.html").read_bytes()
    assert write_page(tmp_path / "run").read_bytes() == before  # from the records alone
    page = Page(tmp_path / "run" / "index.html")
    shown: dict[str, list[str]] = {}
    for name in page.names:
        shown.setdefault(name[0], []).append(name)
    assert "".join(shown) in ("DBCA", "DCBA")  # ERROR, NG, OK
    images = {path.name for path in mixed.iterdir()}
    for part, names in shown.items():
        assert names[0] == part and set(names[1:]) == {name for name in images if name[0] == part}
    assert (shown["B"][1], shown["C"][1]) == ("B_top.png", "C_side2.png")
    assert "<title>run: 2 NG of 4 parts" in page.text and "no image of camera side2" in page.text
    assert "0.3 false alarms a part" in page.text  # three images of 0.1
    rows = [attrs for tag, attrs in page.elements if tag == "tbody" or attrs.get("class") == "image"]
    assert len(rows) == 4 + 11 and len({attrs["data-key"] for attrs in rows if "data-key" in attrs}) == 11
    assert all("--to-ng:" in str(attrs["style"]) for attrs in rows)


def test_evaluation_goes_model_by_model(station: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for kind in ("good", "dot"):
        for part in "AB":
            for camera in ("top", "side1"):
                (data / "test").mkdir(parents=True, exist_ok=True)
                path = add_image(data / "test" / kind, f"{kind}{part}", camera)
                if kind == "dot":
                    image = good_image(90, 90, **KINDS["top" if camera == "top" else "side"])
                    image[40:42, 50:52] = np.iinfo(image.dtype).max if camera == "top" else image[40:42, 50:52]
                    write_image(path, image)
                    mask = np.zeros((90, 90), np.uint8)
                    mask[40:42, 50:52] = 255
                    truth = data / "ground_truth" / kind
                    truth.mkdir(parents=True, exist_ok=True)
                    write_image(truth / f"{path.stem}_mask.png", mask)
    recipe = write_recipe(station, expected=["top", "side1"])
    inspect_folder([data / "test"], recipe, tmp_path / "run")
    done = run("evaluate", tmp_path / "run", "--truth", data)
    assert done.returncode == 0, done.stderr
    top, side = json.loads((tmp_path / "run" / "metrics.json").read_text())["models"]
    assert (top["camera"], top["region_recall"], top["images"]) == ("top", 1.0, {"good": 2, "defective": 2})
    assert (side["camera"], side["region_recall"], side["false_alarms"]) == ("side*", 0.0, 0.1)  # theirs cannot be seen
    assert f"camera top, {station / 'top.bundle'}\n2 good and 2 defective images" in done.stdout
    for number in (1, 2):
        page = tmp_path / "run" / "evaluation" / f"model-{number}" / "index.html"
        assert str(page) in done.stdout and page.is_file()
        assert (page.parent / anchors_of(page)[0]).resolve() == tmp_path / "run" / "index.html"
    assert anchors_of(tmp_path / "run" / "index.html")[:2] == [f"./evaluation/model-{n}/index.html" for n in (1, 2)]
    assert 'Evaluation of camera <span dir="auto">side*</span>' in (tmp_path / "run" / "index.html").read_text("utf-8")
    with pytest.raises(UsageError, match="was made with a recipe, and a detection limit belongs to one bundle"):
        measure_detection_limit(tmp_path / "run", data)
    inspect_folder([data / "test"], recipe, tmp_path / "run", fresh=True)
    assert not (tmp_path / "run" / "evaluation").exists() and not (tmp_path / "run" / "metrics.json").exists()


def test_a_model_without_truth_is_left_out(station: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "test").mkdir(parents=True)
    add_image(data / "test" / "good", "A", "side1")
    inspect_folder([data / "test"], write_recipe(station, expected=None), tmp_path / "run")
    (side,) = evaluate_run(tmp_path / "run", data)["models"]
    assert side["camera"] == "side*"
    (data / "test" / "good" / "A_side1.png").rename(data / "test" / "good" / "B_side1.png")
    with pytest.raises(UsageError, match="is a test image of `--truth`"):
        evaluate_run(tmp_path / "run", data)
