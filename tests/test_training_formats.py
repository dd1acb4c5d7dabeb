"""From files as cameras write them to a finished bundle and a run with it: real training, export and ONNX Runtime."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from flawmap.export.bundle import BundleInfo, read_bundle
from flawmap.export.bundle_writer import write_bundle
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.cli import app
from flawmap.inspect.folder import inspect_folder
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.pages import pictures_of
from flawmap.training.config import ImageSettings, SplitSettings, load_config
from flawmap.training.fit import train
from flawmap.training.read_split import as_read, read_split
from flawmap.training.split import split_images
from tests import turned_parts
from tests.products import draw_good, silent, tiny_config
from tests.raw_pages import PATTERNS, mosaic, raw_page
from tests.run_tables import rows
from tests.tiff_by_hand import Page, tiff_by_hand


def finished(folder: Path, paths: list[Path], **settings: Any) -> BundleInfo:
    """Trained, exported and calibrated: `folder`/a.bundle."""
    config = tiny_config(**{"learning": {"steps": 3}, **settings})
    checkpoint = train(pictures_of(paths, config.image.pages), config, folder / "work", device="cpu", report=silent)
    written = write_bundle(checkpoint, folder / "a.bundle")
    calibrate_bundle(folder / "a.bundle", written.held_out, 0.1)
    return read_bundle(folder / "a.bundle").info


def write_all(folder: Path, pages: list[list[Page]]) -> list[Path]:
    folder.mkdir()
    for number, stack in enumerate(pages):
        (folder / f"{number:02}.tif").write_bytes(tiff_by_hand(*stack))
    return sorted(folder.iterdir())


def test_a_photometric_stack(tmp_path: Path) -> None:
    lights, dtype = 4, "uint8"
    stacks = [[Page(draw_good(96, 96, dtype=dtype, seed=9 * n + k)) for k in range(lights)] for n in range(6)]
    paths = write_all(tmp_path / "good", stacks)
    info = finished(tmp_path, paths, image={"pages": "channels"})
    assert (info.image.channels, info.image.dtype, info.image.pages) == (lights, dtype, "channels")
    assert len(info.normalisation.mean) == lights
    card = (tmp_path / "a.bundle" / "MODEL_CARD.md").read_text()
    assert f"| images it takes | TIFF stacks of {lights} grey pages, {dtype} |" in card
    bright = stacks[0][1].pixels.copy()
    bright[40:52, 30:42] = np.iinfo(dtype).max
    other = write_all(
        tmp_path / "test", [stacks[1], [stacks[0][0], Page(bright), *stacks[0][2:]], [*stacks[1], stacks[1][0]]]
    )
    inspect_folder(other, tmp_path / "a.bundle", tmp_path / "run")
    found = rows(tmp_path / "run")
    assert (
        found["02.tif"]["error"] == f"a TIFF with {lights + 1} pages, {lights} are expected (`image.pages` is channels)"
    )
    assert float(found["01.tif"]["severity"]) > float(found["00.tif"]["severity"])  # seen in one light of several


def test_the_baselines_take_stacks_too(tmp_path: Path) -> None:
    stacks = [[Page(draw_good(160, 160, seed=9 * n + k)) for k in range(5)] for n in range(5)]
    paths = write_all(tmp_path / "good", stacks)
    for kind, network in {
        "median": {"kind": "median"},
        "autoencoder": {"kind": "autoencoder", "channels": [4, 8], "latent_size": None},
    }.items():
        (tmp_path / kind).mkdir()
        info = finished(tmp_path / kind, paths, image={"pages": "channels"}, network=network)
        assert info.image.channels == 5
        run = inspect_folder(paths[:1], tmp_path / kind / "a.bundle", tmp_path / kind / "run")
        assert run.counts["ERROR"] == 0


def test_an_aligned_product_in_five_lights(tmp_path: Path) -> None:
    stacks = [
        [Page((turned_parts.picture(number) * share).astype(np.uint8)) for share in (1.0, 0.9, 0.8, 0.7, 0.6)]
        for number in range(9)
    ]
    paths = write_all(tmp_path / "good", stacks)
    info = finished(tmp_path, paths, image={"pages": "channels"}, alignment=True)
    assert info.alignment is not None and info.image.channels == 5
    (tmp_path / "other.tif").write_bytes(tiff_by_hand(*[Page(turned_parts.picture(3, seed=7))] * 5))
    inspect_folder([paths[0], tmp_path / "other.tif"], tmp_path / "a.bundle", tmp_path / "run")
    found = rows(tmp_path / "run")
    assert found["00.tif"]["error"] == "" and found["other.tif"]["verdict"] == "ERROR"


@pytest.mark.parametrize(("bits", "said"), [(None, True), (12, False)])
def test_bits_that_nobody_says_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bits: int | None, said: bool
) -> None:
    good = [[Page(draw_good(96, 96, dtype="uint16", seed=n) >> 4)] for n in range(5)]
    split = split_images(write_all(tmp_path / "good", good), SplitSettings(), 0)
    config = tiny_config(image={"bits": bits})
    with caplog.at_level(logging.INFO, "flawmap"):
        images, held_out = read_split(split, config, multiple=4, border=16, report=silent)
    told = "full scale is taken to be 4095: no tag says how many bits count, and the largest value" in caplog.text
    assert told is said
    assert images.full_scale == held_out.full_scale == 4095
    assert as_read(config, images).image.bits == bits  # what was guessed is no rule for the line


def test_raw_pictures_of_12_bits_become_rgb(tmp_path: Path) -> None:
    """The setting says the pattern and the packing of the files says the bits; the bundle keeps both."""
    good = [mosaic(draw_good(96, 96, channels=3, dtype="uint16", seed=n) >> 4, "gbrg") for n in range(6)]
    paths = write_all(tmp_path / "good", [[Page(raw, bits=12)] for raw in good[:5]])
    info = finished(tmp_path, paths, image={"bayer": "GBRG"})
    assert (info.image.channels, info.image.bayer, info.image.bits, info.image.full_scale) == (3, "gbrg", 12, 4095)
    card = (tmp_path / "a.bundle" / "MODEL_CARD.md").read_text()
    assert "| RGB uint16, of which 12 bits count, from raw pictures behind a Bayer filter gbrg |" in card
    tagged = raw_page(mosaic(draw_good(96, 96, channels=3, dtype="uint16") >> 4, "rggb"), PATTERNS["rggb"], bits=12)
    other = write_all(
        tmp_path / "test", [[Page(good[5], bits=12)], [tagged], [Page(good[5] >> 2, bits=10)], [Page(good[5] << 4)]]
    )
    inspect_folder(other, tmp_path / "a.bundle", tmp_path / "run")
    assert [row["error"] for row in rows(tmp_path / "run").values()] == [
        "",
        "its Bayer pattern is rggb, `image.bayer` is gbrg",
        "pixels of 10 bits, 12 bits are expected",
        f"a value of {(good[5] << 4).max()}, 12 bits hold 4095 at most",
    ]


def test_stacks_need_the_setting(tmp_path: Path) -> None:
    stacks = [[Page(draw_good(96, 96, seed=9 * n + k)) for k in range(2)] for n in range(5)]
    paths = write_all(tmp_path / "good", stacks)
    with pytest.raises(ImageError, match=r"a TIFF with 2 pages; one is needed \(`image\.pages`: pictures or channels"):
        finished(tmp_path, paths)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("image.pages=layers", r"`image\.pages` \(=layers\): input should be 'one', 'pictures' or 'channels'"),
        ("image.bayer=rgbg", r"`image\.bayer` \(=rgbg\): input should be 'rggb', 'bggr', 'grbg' or 'gbrg'"),
        ("image.bits=7", r"`image\.bits` \(=7\): input should be greater than or equal to 8"),
        ("image.bits=17", r"`image\.bits` \(=17\): input should be less than or equal to 16"),
    ],
)
def test_settings_that_cannot_be(setting: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        load_config(None, [setting])
    with pytest.raises(
        UsageError, match=r"`image\.bayer` \(=rggb\) cannot go with `image\.pages` \(=channels\), whose"
    ):
        load_config(None, ["image.bayer=rggb", "image.pages=channels"])
    assert ImageSettings(bayer="GrBg").bayer == "grbg"  # type: ignore[arg-type]


def test_the_commands_take_stacks(tmp_path: Path) -> None:
    """train -> calibrate -> inspect, as a shell would call them; two files of three pages are six pictures."""
    paths = write_all(
        tmp_path / "good", [[Page(draw_good(96, 96, seed=9 * n + k)) for k in range(3)] for n in range(2)]
    )
    quick = ["learning.steps=3", "network.channels=[8, 12]", "tile.train_size=64", "tile.border=16", "alignment=false"]
    sets = [part for one in (*quick, "image.pages=pictures") for part in ("--set", one)]
    bundle, run_dir = str(tmp_path / "a.bundle"), tmp_path / "run"
    done = CliRunner().invoke(app, ["train", str(tmp_path / "good"), "-o", bundle, *sets])
    assert done.exit_code == 0, (done.output, done.exception)
    info = read_bundle(tmp_path / "a.bundle").info
    assert info.image.pages == "pictures" and info.calibration is not None
    assert all("#" in name for name in info.provenance["held_out_to_calibrate"])
    done = CliRunner().invoke(app, ["calibrate", bundle, str(tmp_path / "good")])
    assert done.exit_code == 0 and "6 good images" in done.output
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "good"), "-m", bundle, "-o", str(run_dir)])
    assert done.exit_code == 0, (done.output, done.exception)
    assert list(rows(run_dir)) == [f"{path.name}#{page}" for path in paths for page in (1, 2, 3)]
