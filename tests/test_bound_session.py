"""Buffers that are allocated once: the same answers, in the same place, call after call."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from flawmap.inspect.scoring.bound_session import BoundSession
from flawmap.inspect.scoring.cuda_runtime import page_locked
from flawmap.inspect.scoring.device import available_devices, providers_for
from tests.bundles import good_image, make_bundle

SHAPE = (2, 64, 64)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_answers_are_those_of_run(tmp_path: Path, device: str) -> None:
    if device not in available_devices():
        pytest.skip(f"this onnxruntime has no {device}")
    bundle = make_bundle(tmp_path / "bundle")
    session = onnxruntime.InferenceSession(str(bundle.model_path), providers=providers_for(device))
    uint8, float32 = np.dtype(np.uint8), np.dtype(np.float32)
    outputs = {"score": (SHAPE, float32), "reconstruction": (SHAPE, uint8)}
    bound = BoundSession(session, {"tiles": (SHAPE, uint8)}, outputs, on_gpu=device != "cpu")
    places = {name: value.ctypes.data for name, value in (bound.inputs | bound.outputs).items()}
    for seed in range(3):
        tiles = np.stack([good_image(64, 64, seed=10 * seed + n, defects=2) for n in range(2)])
        bound.inputs["tiles"][:] = tiles
        bound.run()
        score, reconstruction = session.run(["score", "reconstruction"], {"tiles": tiles})
        np.testing.assert_array_equal(bound.outputs["score"], score)
        np.testing.assert_array_equal(bound.outputs["reconstruction"], reconstruction)
    assert places == {name: value.ctypes.data for name, value in (bound.inputs | bound.outputs).items()}


def test_memory_that_cannot_be_locked_is_memory_all_the_same() -> None:
    buffer = page_locked((3, 5), np.dtype(np.uint16), on_gpu=True)  # on a machine without CUDA, too
    assert buffer.shape == (3, 5) and buffer.dtype == np.uint16 and not buffer.any()
    assert page_locked((0, 5), np.dtype(np.uint8), on_gpu=True).size == 0
