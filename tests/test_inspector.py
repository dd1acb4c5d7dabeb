"""The library: the answers of a run, from arrays, in three lines, from several threads."""

import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.inspector import Inspector, Result
from flawmap.inspect.run.record_files import read_record, record_path
from flawmap.tiling.errors import DeviceError, ImageError, UsageError
from flawmap.tiling.images import read_image, write_image
from tests.bundles import good_image, make_bundle

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def inspector(bundle: Path) -> Inspector:
    return Inspector(bundle)


def same(a: Result, b: Result) -> bool:
    return (
        (a.verdict, a.severity, a.regions) == (b.verdict, b.severity, b.regions)
        and np.array_equal(a.heatmap, b.heatmap)
        and np.array_equal(a.reconstruction, b.reconstruction)
    )


def test_the_answers_are_those_of_a_run(bundle: Path, inspector: Inspector, tmp_path: Path) -> None:
    paths = [tmp_path / "images" / f"part{number}.png" for number in range(4)]
    paths[0].parent.mkdir()
    for number, path in enumerate(paths):
        write_image(path, good_image(120 + 7 * number, 160, seed=number, defects=number))
    run = inspect_folder([tmp_path / "images"], bundle, tmp_path / "run")
    assert (run.bundle_sha256, run.device) == (inspector.bundle_digest, inspector.device)
    for path in paths:
        result = inspector.inspect(read_image(path))
        record = read_record(record_path(tmp_path / "run", path.name))
        assert record is not None
        assert (result.verdict, result.severity) == (record.verdict, record.severity)
        assert [region.model_copy(update={"picture": None}) for region in record.regions] == result.regions
        assert result.heatmap.shape == result.reconstruction.shape == (record.height, record.width)
        assert result.heatmap.dtype == np.float32 and result.reconstruction.dtype == np.uint8
        assert same(inspector.inspect_file(str(path)), result)


def test_a_file_too_large_to_be_held_is_inspected_in_bands(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = good_image(700, 90, seed=6, defects=4)
    image[20:680, 40:42] = 250
    write_image(tmp_path / "strip.tif", image)
    whole = inspector.inspect(image)
    monkeypatch.setattr("flawmap.tiling.strips.open_rows.STRIP_PIXELS", 20_000)
    monkeypatch.setattr("flawmap.inspect.strip_pipeline.BAND_PIXELS", 10_000)
    monkeypatch.delattr("flawmap.inspect.inspector.read_image")
    result = inspector.inspect_file(tmp_path / "strip.tif")
    assert same(result, whole) and result.regions[0].y_max - result.regions[0].y_min > 600
    result.heatmap[:] = result.reconstruction[:] = 0  # the caller's
    assert same(inspector.inspect_file(tmp_path / "strip.tif"), whole)


def test_a_bundle_that_sees_whole_pictures_refuses_too_large_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = Inspector(make_bundle(tmp_path / "shrinking", longest_side=100).folder)
    write_image(tmp_path / "strip.png", good_image(300, 90, seed=6))
    assert inspector.inspect_file(tmp_path / "strip.png").heatmap.shape == (300, 90)
    monkeypatch.setattr("flawmap.tiling.strips.open_rows.STRIP_PIXELS", 20_000)
    assert inspector.inspect_file(tmp_path / "strip.png").heatmap.shape == (300, 90)
    monkeypatch.setattr("flawmap.inspect.inspector.WHOLE_PIXELS", 20_000)
    with pytest.raises(ImageError, match=r"90x300 px is too large to be held as a whole, which `image\.longest_side`"):
        inspector.inspect_file(tmp_path / "strip.png")


def test_false_alarms_move_the_verdict(bundle: Path) -> None:
    image = good_image(120, 160, seed=1, defects=1)
    strict, loose = (Inspector(str(bundle), false_alarms=rate) for rate in (1e-4, 10.0))
    severity = strict.inspect(image).severity
    assert -1 < severity < 4
    assert (strict.inspect(image).verdict, loose.inspect(image).verdict) == ("OK", "NG")
    assert strict.notes == [strict.thresholds.calibration.few_images_note(1e-4)] and loose.notes == []


def test_threads_get_their_own_answers(inspector: Inspector) -> None:
    """Shapes and defects differ, so that a buffer used by two at once would show."""
    images = [good_image(90 + 11 * (seed % 3), 130, seed=seed, defects=seed % 4) for seed in range(24)]
    expected = [inspector.inspect(image) for image in images]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            for ours, alone in zip(pool.map(inspector.inspect, images), expected, strict=True):
                assert same(ours, alone)


def test_a_result_is_the_callers(inspector: Inspector) -> None:
    image = good_image(120, 160, seed=3, defects=2)
    before = image.copy()
    first = inspector.inspect(image)
    kept = first.heatmap.copy()
    inspector.inspect(good_image(120, 160, seed=4))
    assert np.array_equal(first.heatmap, kept) and np.array_equal(image, before)
    first.heatmap[:] = first.reconstruction[:] = 0
    assert np.array_equal(inspector.inspect(image).heatmap, kept)


def test_views_are_taken(inspector: Inspector) -> None:
    whole = good_image(200, 260, seed=5, defects=3)
    for view in (whole[10:150, 20:200], whole[::2, ::2], whole[::-1], whole.T, whole[..., None]):
        plain = np.ascontiguousarray(view).reshape(view.shape[:2])
        assert same(inspector.inspect(view), inspector.inspect(plain))
    whole.flags.writeable = False
    assert inspector.inspect(whole).verdict == "NG"


def test_the_other_byte_order_is_taken(tmp_path: Path) -> None:
    inspector = Inspector(make_bundle(tmp_path / "deep", channels=3, dtype="uint16").folder)
    image = good_image(100, 120, channels=3, dtype="uint16", defects=1)
    assert same(inspector.inspect(image.astype(image.dtype.newbyteorder())), inspector.inspect(image))


def nan_at_one_place() -> NDArray[np.float32]:
    image = good_image(40, 50, dtype="float32")
    image[3, 4] = np.nan
    return image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (good_image(40, 50, channels=3), "image: the image is RGB uint8, the bundle was trained on mono uint8"),
        (good_image(40, 50, dtype="uint16"), "the image is mono uint16, the bundle was trained on mono uint8"),
        (np.zeros((40, 50, 4), np.uint8), r"the image is 4-channel uint8, the bundle was trained on mono uint8"),
        (np.zeros((0, 50), np.uint8), r"an array of shape \(0, 50\) is not an image"),
        (np.zeros(50, np.uint8), r"an array of shape \(50,\) is not an image"),
        (nan_at_one_place(), "1 values are NaN or infinite"),
    ],
)  # fmt: skip
def test_what_is_no_image_of_this_bundle(inspector: Inspector, image: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        inspector.inspect(image)
    assert inspector.inspect(good_image(40, 50)).verdict == "OK"  # the next one is inspected


def test_what_cannot_be_opened(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`bundle` \(=nowhere\) is not there"):
        Inspector("nowhere")
    with pytest.raises(UsageError, match=r"`bundle` \(=.*plain\) is not calibrated: run `flawmap calibrate`"):
        Inspector(make_bundle(tmp_path / "plain", calibrated=False).folder)
    with pytest.raises(UsageError, match=r"`--false-alarms` \(=0\) must lie above 0"):
        Inspector(bundle, false_alarms=0)
    with pytest.raises(DeviceError, match=r"`--device` \(=tensorrt\) is not available here"):
        Inspector(bundle, device="tensorrt")


def test_the_example_reads_a_camera(tmp_path: Path, bundle: Path) -> None:
    """Numbered pictures stand for the camera: OpenCV opens them as it opens one."""
    for number in range(4):
        write_image(tmp_path / f"part-{number:03d}.png", good_image(100, 120, seed=number, defects=3 * (number == 2)))
    example = ROOT / "docs" / "examples" / "camera_loop.py"
    done = subprocess.run(
        [sys.executable, str(example), str(bundle), str(tmp_path / "part-%03d.png"), "--takt", "60"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("note: calibrated on 10 good images")
    assert [line.split(":")[0] for line in lines] == ["part 0", "part 1", "reject part 2", "part 3"]
    assert re.search(r"reject part 2: severity \d+\.\d at x \d+, y \d+", done.stdout)


def test_the_page_of_the_library_keeps_its_word(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python blocks of docs/library.md, one after the other, with a bundle and a picture of the names in them."""
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 3
    (tmp_path / "board.bundle").symlink_to(bundle)
    write_image(tmp_path / "part.png", good_image(100, 120, defects=2))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "docs/library.md", "exec"), names)
    assert capsys.readouterr().out.startswith("NG")


def test_users_get_the_types() -> None:
    """PEP 561: of a namespace package each folder right below it carries the mark, and the wheel must hold it."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "py.typed" in setuptools["package-data"]["*"]
    for folder in setuptools["package-dir"].values():
        if "/" not in folder:
            assert (ROOT / folder / "py.typed").is_file(), folder
