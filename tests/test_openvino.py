"""OpenVINO as a device: the real one, on real bundles, against the plain formula and against ONNX Runtime."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from flawmap.export.bundle import MODEL, read_bundle
from flawmap.export.bundle_seal import seal
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.device import available_devices
from flawmap.inspect.scoring.openvino_session import OpenVinoSession
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.tiling.errors import DeviceError, UsageError
from tests.bundles import good_image, make_bundle, toy_score

BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "openvino":
            raise ModuleNotFoundError("No module named 'openvino'")
sys.meta_path.insert(0, Absent())
from pathlib import Path
from flawmap.export.bundle import read_bundle
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.tiling.errors import DeviceError
try:
    TileScorer(read_bundle(Path(sys.argv[1])), "openvino")
except DeviceError as error:
    print(error.exit_code, error)
"""


def images(channels: int, dtype: str) -> NDArray:
    return np.stack([good_image(64, 64, channels=channels, dtype=dtype, seed=s, defects=2) for s in range(2)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_score_is_the_formulas(tmp_path: Path, channels: int, dtype: str) -> None:
    scorer = TileScorer(make_bundle(tmp_path / "bundle", channels=channels, dtype=dtype), "openvino", 2, threads=1)
    assert (scorer.device, scorer.device_note, scorer.batch_size) == ("openvino", "", 2)
    tiles = images(channels, dtype)
    score, reconstruction = scorer.score(tiles)
    assert score.dtype == np.float32 and reconstruction.dtype == dtype and reconstruction.shape == tiles.shape
    np.testing.assert_allclose(score, toy_score(tiles, dtype), rtol=1e-4, atol=1e-4)


def test_an_answer_is_the_callers_to_keep(tmp_path: Path) -> None:
    scorer = TileScorer(make_bundle(tmp_path / "bundle"), "openvino", 2, threads=1)
    tiles = images(1, "uint8")
    first, _ = scorer.score(tiles)
    kept = first.copy()
    scorer.score(255 - tiles)
    np.testing.assert_array_equal(first, kept)


def test_a_fixed_batch_decides(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", batch=3)
    assert TileScorer(bundle, "openvino", threads=1).batch_size == 3
    with pytest.raises(
        UsageError, match=r"`batch_size` \(=2\) must be 3: the model was exported with that fixed batch"
    ):
        TileScorer(bundle, "openvino", 2)


def test_a_heatmap_is_onnx_runtimes(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    image = good_image(150, 130, seed=4, defects=5)
    ours, theirs = (Pipeline(bundle, TileScorer(bundle, d, threads=1)).heatmap(image)[0] for d in ("openvino", "cpu"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_model_that_is_none(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle").folder
    (folder / MODEL).write_bytes(b"no model")
    seal(folder)
    with pytest.raises(UsageError, match=r"model\.onnx cannot be loaded: "):
        TileScorer(read_bundle(folder), "openvino")


def test_float32_is_asked_for(tmp_path: Path) -> None:
    """Server processors would take bf16, whose scores differ in the third digit."""
    bundle = make_bundle(tmp_path / "bundle")
    tiles = images(1, "uint8")
    expected = toy_score(tiles, "uint8")
    exact = OpenVinoSession(bundle.model_path).run(["score"], {"tiles": tiles})[0]
    assert np.abs(exact - expected).max() < 1e-4
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        coarse = OpenVinoSession(bundle.model_path, bf16=True).run(["score"], {"tiles": tiles})[0]
        assert 1e-4 < np.abs(coarse - expected).max() < 0.1
    else:
        with pytest.raises(DeviceError, match="this processor has no bf16; inspect with `--device cpu`"):
            OpenVinoSession(bundle.model_path, bf16=True)


def test_it_can_be_missing(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle").folder
    run = subprocess.run([sys.executable, "-c", BLOCKED, str(folder)], capture_output=True, text=True)
    assert run.stdout == (
        "4 `--device` (=openvino) is not available here: No module named 'openvino'; "
        "`pip install 'flawmap[openvino]'` brings it, or inspect with `--device cpu`\n"
    ), run.stderr


def test_it_is_seen() -> None:
    assert "openvino" in available_devices()
