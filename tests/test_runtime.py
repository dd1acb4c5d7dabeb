import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from flawmap.export.bundle import GOLDEN_SCORE, GOLDEN_TILES, MODEL, read_bundle
from flawmap.export.bundle_seal import seal
from flawmap.inspect.scoring.device import available_devices, check_device, providers_for
from flawmap.inspect.scoring.runtime import TileScorer, physical_cores
from flawmap.tiling.errors import DeviceError, UsageError
from tests.bundles import good_image, make_bundle, toy_score

needs_no_cuda = pytest.mark.skipif("cuda" in available_devices(), reason="this onnxruntime has CUDA")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_scores_are_the_networks(tmp_path: Path, channels: int, dtype: str, batch_size: int) -> None:
    bundle = make_bundle(tmp_path / "bundle", channels=channels, dtype=dtype)
    scorer = TileScorer(bundle, "cpu", batch_size)
    tiles = np.stack([good_image(64, 64, channels=channels, dtype=dtype, seed=s, defects=2) for s in range(batch_size)])
    score, reconstruction = scorer.score(tiles)
    assert (scorer.device, scorer.device_note, scorer.batch_size) == ("cpu", "", batch_size)
    assert score.dtype == np.float32 and score.shape == tiles.shape[:3]
    np.testing.assert_allclose(score, toy_score(tiles, dtype), atol=1e-4)
    assert reconstruction.dtype == tiles.dtype and reconstruction.shape == tiles.shape


def test_one_batch_shape_and_no_other(tmp_path: Path) -> None:
    scorer = TileScorer(make_bundle(tmp_path / "bundle"), "cpu", 2)
    with pytest.raises(ValueError, match=r"`tiles` \(=uint8 \[1, 64, 64\]\) must be uint8 \[2, 64, 64\]"):
        scorer.score(np.zeros((1, 64, 64), np.uint8))
    with pytest.raises(ValueError, match=r"`tiles` \(=float32 \[2, 64, 64\]\) must be uint8 \[2, 64, 64\]"):
        scorer.score(np.zeros((2, 64, 64), np.float32))


def test_a_fixed_batch_decides(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", batch=4)
    scorer = TileScorer(bundle, "cpu")
    assert scorer.batch_size == 4
    assert scorer.score(np.zeros((4, 64, 64), np.uint8))[0].shape == (4, 64, 64)
    with pytest.raises(
        UsageError, match=r"`batch_size` \(=2\) must be 4: the model was exported with that fixed batch"
    ):
        TileScorer(bundle, "cpu", 2)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("threads", 0)])
def test_numbers_that_make_no_sense(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(UsageError, match=rf"`{name}` \(=0\) must be at least 1"):
        TileScorer(make_bundle(tmp_path / "bundle"), "cpu", **{name: value})


def test_working_memory_may_be_given_back(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    tiles = good_image(64, 64)[None]
    kept, returned = (TileScorer(bundle, "cpu", arena=arena).score(tiles)[0] for arena in (True, False))
    np.testing.assert_array_equal(kept, returned)


def test_auto_takes_what_is_there(tmp_path: Path) -> None:
    scorer = TileScorer(make_bundle(tmp_path / "bundle"))
    assert scorer.device in ("cpu", "cuda")
    if scorer.device == "cuda":
        assert scorer.batch_size == 8
    else:
        assert scorer.batch_size == 1


@needs_no_cuda
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there(tmp_path: Path, device: str) -> None:
    if device in available_devices():
        pytest.skip(f"{device} is there")
    bundle = make_bundle(tmp_path / "bundle")
    with pytest.raises(
        DeviceError, match=rf"`--device` \(={device}\) is not available here: the installed onnxruntime"
    ) as e:
        TileScorer(bundle, device)
    assert e.value.exit_code == 4
    assert "ExecutionProvider" in str(e.value) and "pip install" in str(e.value) and "--device cpu" in str(e.value)


def test_a_session_that_fell_back_is_found_out(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    session = onnxruntime.InferenceSession(str(bundle.model_path), providers=["CPUExecutionProvider"])
    check_device(session, "cpu")
    with pytest.raises(
        DeviceError, match=r"`--device` \(=cuda\) .*: onnxruntime fell back to CPUExecutionProvider, because"
    ):
        check_device(session, "cuda")


def test_a_device_nobody_knows() -> None:
    with pytest.raises(UsageError, match=r"`--device` \(=gpu\) must be one of auto, cpu, cuda, openvino, tensorrt"):
        providers_for("gpu")


@pytest.mark.parametrize("wrong", [0.1, np.nan])
def test_another_answer_than_the_golden_one_is_refused(tmp_path: Path, wrong: float) -> None:
    folder = make_bundle(tmp_path / "bundle").folder
    score = np.load(folder / GOLDEN_SCORE)
    score[1, 5, 7] += wrong
    np.save(folder / GOLDEN_SCORE, score)
    seal(folder)
    with pytest.raises(
        UsageError, match=r"fails its self-test on cpu: a golden score differs by (0\.1|nan), allowed is 0\.003"
    ):
        TileScorer(read_bundle(folder), "cpu")


def test_a_difference_of_rounding_is_no_difference(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle").folder
    np.save(folder / GOLDEN_SCORE, np.load(folder / GOLDEN_SCORE) + np.float32(5e-4))
    seal(folder)
    TileScorer(read_bundle(folder), "cpu")


def test_golden_tiles_that_do_not_fit(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle").folder
    np.save(folder / GOLDEN_SCORE, np.zeros((1, 2, 3), np.float32))
    seal(folder)
    with pytest.raises(UsageError, match=r"golden tiles \(3, 32, 32\) and score \(1, 2, 3\) do not fit"):
        TileScorer(read_bundle(folder), "cpu")
    np.save(folder / GOLDEN_TILES, np.zeros((1, 2, 3), np.float32))
    seal(folder)
    with pytest.raises(UsageError, match="cannot score its own golden tiles"):
        TileScorer(read_bundle(folder), "cpu")
    (folder / GOLDEN_TILES).write_bytes(b"no array")
    seal(folder)
    with pytest.raises(UsageError, match="its golden tiles cannot be read"):
        TileScorer(read_bundle(folder), "cpu")


def test_a_model_that_is_none(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle").folder
    (folder / MODEL).write_bytes(b"no model")
    seal(folder)
    with pytest.raises(UsageError, match=r"model\.onnx cannot be loaded: "):
        TileScorer(read_bundle(folder), "cpu")


def test_the_console_stays_the_operators(tmp_path: Path) -> None:
    """onnxruntime writes to the file descriptors themselves, so only another process can tell."""
    folder = make_bundle(tmp_path / "bundle").folder
    code = f"""
from pathlib import Path
import numpy as np
from flawmap.export.bundle import read_bundle
from flawmap.export.bundle_seal import seal
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.tiling.errors import FlawmapError
folder = Path({str(folder)!r})
TileScorer(read_bundle(folder)).score(np.zeros((1, 64, 64), np.uint8))
for device in ("cuda", "tensorrt", "openvino"):
    try:
        TileScorer(read_bundle(folder), device)
    except FlawmapError:
        pass
(folder / "model.onnx").write_bytes(b"no model")
seal(folder)
try:
    TileScorer(read_bundle(folder))
except FlawmapError:
    pass
else:
    raise SystemExit("a broken model was loaded")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_cores_are_counted() -> None:
    assert 1 <= physical_cores() <= 4096
