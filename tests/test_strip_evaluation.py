"""`flawmap evaluate` on pictures too large to be held as wholes: the figures and the gallery of the whole pictures."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.evaluation import truth as truth_module
from flawmap.inspect.evaluation.truth import TrueImage, defects_of, defects_of_strip
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.true_defects import TrueDefect
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle

SHAPE = (700, 90)
STRIP_PIXELS = (  # by who asks; the first is `strip_size`'s
    "flawmap.tiling.strips.open_rows.STRIP_PIXELS",
    "flawmap.inspect.evaluation.pixel_figures.STRIP_PIXELS",
)


def as_set(defects: list[TrueDefect]) -> set[tuple[Any, ...]]:
    found = {(d.y0, d.x0, d.y1, d.x1, d.area_px, d.pixels.tobytes()) for d in defects}
    assert len(found) == len(defects)
    return found


@settings(max_examples=80)
@given(
    arrays(np.bool_, st.tuples(st.integers(1, 60), st.integers(1, 12)), elements=st.booleans(), fill=st.just(False)),
    st.integers(0, 4),
    st.integers(1, 9),
    st.booleans(),
)
def test_a_mask_in_spans_holds_the_defects_of_the_whole(
    mask: NDArray[np.bool_], join: int, rows: int, colour: bool
) -> None:
    picture = (mask * 255).astype(np.uint8)
    picture = picture[..., None] * np.array([0, 1, 0], np.uint8) if colour else picture
    with TemporaryDirectory() as folder, mock.patch.object(truth_module, "ROWS_AT_ONCE", rows):
        path = Path(folder) / "mask.png"
        write_image(path, picture)
        assert as_set(defects_of_strip(path, join)) == as_set(defects_of(picture, join))


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A run with heatmaps over two good strips and two defective ones, the dataset, and the figures of the wholes."""
    folder = tmp_path_factory.mktemp("strips")
    data = folder / "data"
    for kind in ("test/good", "test/line", "ground_truth/line"):
        (data / kind).mkdir(parents=True)
    for seed in range(2):
        write_image(data / "test" / "good" / f"{seed}.png", good_image(*SHAPE, seed=seed, defects=seed))
    for seed in (2, 3):
        image, mask = good_image(*SHAPE, seed=seed), np.zeros(SHAPE, np.uint8)
        for box in (np.s_[30:600, 40:42], np.s_[650:653, 70:73], np.s_[655:657, 10:12]):
            image[box] = 250 if seed == 2 else image[box] // 4 * 4
            mask[box] = 255
        write_image(data / "test" / "line" / f"{seed}.tif", image)
        write_image(data / "ground_truth" / "line" / f"{seed}_mask.png", mask)
    bundle = make_bundle(folder / "toy").folder
    inspect_folder([data / "test"], bundle, folder / "run", heatmaps=True, zoom=False)
    return folder / "run", data, evaluate_run(folder / "run", data)


def test_the_figures_and_the_gallery_are_those_of_the_wholes(
    evaluated: tuple[Path, Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, data, whole = evaluated
    pictures = {path.name: path.read_bytes() for path in (run_dir / "evaluation").glob("*-*.png")}
    assert len(whole["missed"]) == 4 and whole["pixel_ap"] is not None and len(pictures) >= 4
    for name in STRIP_PIXELS:
        monkeypatch.setattr(name, 20_000)

    def refuse(*_: object) -> None:
        raise AssertionError("a strip was read as a whole")

    for name in ("inspect.evaluation.truth.read_image", "inspect.report.gallery.read_image"):
        monkeypatch.setattr(f"flawmap.{name}", refuse)
    assert evaluate_run(run_dir, data) == whole
    assert {path.name: path.read_bytes() for path in (run_dir / "evaluation").glob("*-*.png")} == pictures


def test_a_mask_of_another_size_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "0_mask.png", np.zeros(SHAPE, np.uint8))
    image = TrueImage(tmp_path / "0.png", "line", tmp_path / "0_mask.png")
    for limit in (1 << 26, 20_000):
        monkeypatch.setattr(STRIP_PIXELS[0], limit)
        with pytest.raises(UsageError, match=r"0_mask\.png is 90x700 px, its image .*0\.png 90x800 px"):
            image.defects(3, (800, 90))
