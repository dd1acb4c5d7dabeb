"""A threshold at a quantile of good images' worst scores is a rate of false alarms: by calculation, and for a shell."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.export.bundle import read_bundle
from flawmap.export.calibration_record import false_alarms_of
from flawmap.inspect.calibration.calibrate import calibrate
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import write_image
from tests.bundles import good_image, make_bundle
from tests.command_line import run


@given(st.floats(0.01, 0.999))
def test_a_share_of_poisson_images_shows_none(quantile: float) -> None:
    false_alarms = false_alarms_of(None, quantile)
    assert false_alarms is not None
    assert math.exp(-false_alarms) == pytest.approx(quantile)


def test_the_share_is_kept_on_fresh_images() -> None:
    """Independent pixels of noise: the worst score of 95 % of fresh good images stays below the threshold."""

    def heatmap(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).exponential(size=(120, 120)).astype(np.float32)

    false_alarms = false_alarms_of(None, 0.9)
    assert false_alarms is not None
    ng = Thresholds.of(calibrate((heatmap(s) for s in range(100)), false_alarms), false_alarms).ng
    share = np.mean([heatmap(1000 + s).max() < ng for s in range(300)])
    assert 0.83 < share < 0.96


def test_neither_is_neither() -> None:
    assert false_alarms_of(None, None) is None
    assert false_alarms_of(0.3, None) == 0.3


def test_both_are_refused() -> None:
    message = r"^`--quantile` \(=0\.95\) and `--false-alarms` \(=0\.1\) set the same threshold: give one of them$"
    with pytest.raises(UsageError, match=message):
        false_alarms_of(0.1, 0.95)


@pytest.mark.parametrize("quantile", [0.0, 1.0, -0.1, 95.0, math.nan])
def test_a_quantile_that_is_none(quantile: float) -> None:
    with pytest.raises(UsageError, match=rf"^`--quantile` \(={quantile:g}\) must lie between 0 and 1, both excluded$"):
        false_alarms_of(None, quantile)


def test_calibrate_and_inspect_take_one(tmp_path: Path) -> None:
    bundle, parts = make_bundle(tmp_path / "b").folder, tmp_path / "parts"
    parts.mkdir()
    for i in range(3):
        write_image(parts / f"{i}.png", good_image(100, 120, seed=i))
    assert run("calibrate", bundle, parts, "--quantile", "0.95").returncode == 0
    calibration = read_bundle(bundle).info.calibration
    assert calibration is not None
    assert calibration.false_alarms == pytest.approx(-math.log(0.95))
    assert run("inspect", parts, "-m", bundle, "-o", tmp_path / "run", "--quantile", "0.5").returncode == 0
    settings = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["settings"]
    assert settings["false_alarms"] == pytest.approx(math.log(2))
    both = run("inspect", parts, "-m", bundle, "-o", tmp_path / "x", "--quantile", "0.5", "--false-alarms", "0.1")
    assert both.returncode == 2
    assert both.stderr.startswith("flawmap: `--quantile` (=0.5) and `--false-alarms` (=0.1) set the same threshold")
