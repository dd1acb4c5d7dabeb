"""Where to look through the commands: a training, another description, a calibration."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flawmap.export.bundle import WHERE_MAP, read_bundle
from flawmap.inspect.cli import app
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image
from tests.look_maps import box, write_labelme, write_part
from tests.products import SIDE, write_good

TINY = {
    "alignment": "false", "tile.train_size": "64", "tile.border": "16", "network.channels": "[8,12]",
    "learning.steps": "10", "learning.batch_size": "2", "learning.validate_every": "10",
}  # fmt: skip


def test_from_training_to_another_description(tmp_path: Path) -> None:
    write_good(tmp_path / "good", 6)
    write_labelme(tmp_path / "a.json", SIDE, SIDE, [("include", box(0, 0, 96, 60)), ("face", box(40, 10, 80, 50))])
    part = write_part(tmp_path / "part.yaml", polygons="a.json", zones=[{"name": "face", "false_alarms": 0.5}])
    bundle = tmp_path / "b.bundle"
    settings = [text for key, value in TINY.items() for text in ("--set", f"{key}={value}")]

    def flawmap(*arguments: object) -> str:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    flawmap("train", tmp_path / "good", "-o", bundle, "--part", part, "--device", "cpu", *settings)
    info = read_bundle(bundle).info
    assert info.calibration is not None and info.where is not None
    assert info.product == "b"  # as the bundle is called: nothing else was said
    assert info.calibration.counted == info.counted != "" and set(info.calibration.zones) == {"face"}
    assert info.calibration.megapixels_per_image == pytest.approx((96 * 60 - 40 * 40) / 1e6)
    assert sorted(set(read_image(bundle / WHERE_MAP).ravel().tolist())) == [0, 1, 2]

    nothing = write_part(tmp_path / "nothing.yaml")
    assert "`flawmap calibrate` on good images puts that right" in flawmap("configure", bundle, nothing)
    flawmap("calibrate", bundle, tmp_path / "good", "--device", "cpu")
    assert read_bundle(bundle).info.counted_note == ""

    # A checkpoint is exported with the description that goes with it.
    checkpoint = tmp_path / "b.bundle.work" / "model.ckpt"
    flawmap("export", checkpoint, "-o", tmp_path / "copy.bundle", "--part", part)
    copy = read_bundle(tmp_path / "copy.bundle").info
    assert copy.where == info.where and copy.product == "b"

    sealed = read_bundle(bundle).digest
    with pytest.raises(UsageError, match=r"gone\.json cannot be read: No such file"):
        flawmap("configure", bundle, write_part(tmp_path / "bad.yaml", polygons="gone.json"))
    assert read_bundle(bundle).digest == sealed
