"""`flawmap plan`: what it measures is what a folder takes, and it says what that means for a takt."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.export.bundle import GOLDEN_TILES, read_bundle
from flawmap.inspect import takt as takt_module
from flawmap.inspect.takt import IMAGES, Takt, in_words, measure, takt_seconds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_image, write_image
from tests.bundles import good_image, make_bundle
from tests.command_line import run


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint16"), (1, "float32")])
def test_an_image_of_a_size_is_inspected_and_timed(tmp_path: Path, channels: int, dtype: str) -> None:
    toy = make_bundle(tmp_path / "toy", channels=channels, dtype=dtype).folder
    takt = measure(toy, "150x100")
    assert takt.shape == (100, 150)
    assert takt.grid == TileGrid(100, 150, 64, 16, multiple=4, border=8)
    assert set(takt.milliseconds) == {"decode", "cut", "score", "stitch", "regions", "write"}
    assert all(milliseconds > 0 for milliseconds in takt.milliseconds.values())
    assert 0 < takt.seconds < 60
    assert takt.alone_seconds == pytest.approx(sum(takt.milliseconds.values()) / 1e3)
    assert takt.device == "cpu" and takt.peak_memory_mib is not None and takt.peak_memory_mib > 50
    assert takt.shown == f"a golden tile of the bundle, mirrored, saved as {'TIF' if dtype == 'float32' else 'PNG'}"


def test_a_strip_is_never_held_as_a_whole(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn is the picture that a smaller limit would have drawn as a whole; both are inspected in bands."""
    golden = np.load(bundle / GOLDEN_TILES)[0]
    drawn = []
    for limit in (1 << 26, 20_000):
        monkeypatch.setattr("flawmap.inspect.takt.STRIP_PIXELS", limit)
        path, _ = takt_module._draw_product(read_bundle(bundle), 300, 90, tmp_path / str(limit))
        drawn.append(read_image(path))
    assert path.suffix == ".tif"
    np.testing.assert_array_equal(drawn[0], drawn[1])
    beyond = [(0, 300 - golden.shape[0]), (0, 90 - golden.shape[1])]
    np.testing.assert_array_equal(drawn[0], np.pad(golden, beyond, mode="symmetric"))
    monkeypatch.setattr("flawmap.tiling.strips.open_rows.STRIP_PIXELS", 20_000)

    def refuse(*_: object) -> None:
        raise AssertionError("the strip was read as a whole")

    monkeypatch.setattr("flawmap.inspect.takt.read_image", refuse)
    takt = measure(bundle, "90x300")
    assert (takt.shape, takt.shown) == ((300, 90), "a golden tile of the bundle, mirrored, saved as TIF")
    assert measure(bundle, str(path)).shape == (300, 90)


def test_a_picture_of_ones_own(bundle: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "mine.bmp", good_image(90, 70))
    takt = measure(bundle, str(tmp_path / "mine.bmp"))
    assert (takt.shape, takt.shown) == ((90, 70), "mine.bmp")
    write_image(tmp_path / "colour.png", good_image(90, 70, channels=3))
    with pytest.raises(ImageError, match="the image is RGB uint8, the bundle was trained on mono uint8"):
        measure(bundle, str(tmp_path / "colour.png"))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("5120", r"`--image` \(=5120\) must be WIDTHxHEIGHT in px, such as 5120x5120, or an image file"),
        ("nowhere.png", r"`--image` \(=nowhere.png\) must be WIDTHxHEIGHT"),
        ("0x100", r"`--image` \(=0x100\) must have sides of 1 to 100000 px"),
        ("100x100001", "must have sides of 1 to 100000 px"),
        ("90000x90000", r"`--image` \(=90000x90000\): 90000x90000 px is too large: an image may have at most"),
    ],
)
def test_what_is_no_image(bundle: Path, image: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure(bundle, image)


@given(st.floats(1e-3, 1e5))
def test_takts(seconds: float) -> None:
    assert takt_seconds(f"{seconds:.4f}s") == takt_seconds(f" {seconds:.4f} ") == pytest.approx(seconds, abs=1e-4)
    assert takt_seconds(f"{seconds * 1e3:.4f} ms") == pytest.approx(seconds, abs=1e-6)
    assert takt_seconds(f"{seconds:.4f}min") == pytest.approx(60 * seconds, abs=6e-3)


@pytest.mark.parametrize("text", ["", "0", "0ms", "-1s", "fast", "2 h", "1e3", "nan"])
def test_what_is_no_takt(text: str) -> None:
    with pytest.raises(UsageError, match=rf"`--takt` \(={re.escape(text)}\) must be a time above 0 such as 2s"):
        takt_seconds(text)


def test_the_plan_in_words() -> None:
    takt = Takt(
        (5120, 5120), TileGrid(5120, 5120, 1128, 104, multiple=8, border=48), "cpu", "",
        {"decode": 300.0, "score": 1300.0, "write": 60.0}, 1.5, 1.66, 700.4, "part.png",
    )  # fmt: skip
    text = in_words(takt, None)
    assert text.splitlines()[0] == (
        "5120x5120 px in 5x5 tiles of 1128 px, overlap 104 px, on cpu; 700 MiB of memory at most"
    )
    assert f"measured on part.png, {IMAGES} in a row" in text and "score         1300.0 ms" in text
    assert text.splitlines()[-1] == "An image every 1.5 s; one alone takes 1.66 s from its file to its record."
    assert in_words(takt, 2.0).endswith("\nThe takt of 2 s is met: 25% to spare.")
    assert in_words(takt, 1.6).endswith("6% to spare, each verdict later than the next image.")
    assert "The takt of 0.5 s is missed: an image takes 3 times as long, most of it `score`" in in_words(takt, 0.5)
    card = in_words(replace(takt, device="cuda", lanes=2), None).splitlines()[0]
    assert card.endswith(", on cuda, 2 images side by side; 700 MiB of memory at most")
    small = replace(takt, grid=TileGrid(2048, 2048, 1128, 104, multiple=8, border=48))
    assert in_words(small, None).startswith("5120x5120 px, shrunk to 2048x2048 px in ")


def test_the_command(bundle: Path) -> None:
    done = run("plan", "-m", bundle, "--image", "100x80", "--takt", "60s")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("100x80 px in 3x2 tiles of 64 px") and "The takt of 60 s is met" in done.stdout
    wrong = run("plan", "-m", bundle, "--image", "100x80", "--takt", "soon")
    assert wrong.returncode == 2 and "`--takt` (=soon)" in wrong.stderr
