"""The network in half precision: where it is float16, where it is not, and how near its scores stay."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, shape_inference

from flawmap.export.bundle_writer import write_bundle
from flawmap.export.half_precision import network_nodes, to_half
from flawmap.tiling.errors import UsageError
from tests.bundles import toy_model
from tests.products import draw_good, tiny_config, write_untrained

CONFIGS = {
    "for inference": tiny_config(network={"channels": [6, 10]}, tile={"border": 28}),
    "as trained": tiny_config(network={"channels": [6, 10]}),
    "autoencoder": tiny_config(network={"kind": "autoencoder", "latent_size": None}),
}


@pytest.fixture(scope="module", params=list(CONFIGS))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    folder = tmp_path_factory.mktemp("half")
    write_bundle(write_untrained(folder, CONFIGS[request.param], tile=128), folder / "bundle")
    return onnx.load(folder / "bundle" / "model.onnx")


def scores(model: onnx.ModelProto, tiles: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["score", "reconstruction"], {"tiles": tiles})


def test_scores_stay_near_and_float32(model: onnx.ModelProto) -> None:
    tiles = np.stack([draw_good(128, 96, seed=s) for s in (1, 2)])
    before = model.SerializeToString()
    expected, found = scores(model, tiles), scores(to_half(model), tiles)
    assert model.SerializeToString() == before
    assert found[0].dtype == np.float32 and found[1].dtype == np.uint8
    spread = float(expected[0].std())
    difference = float(np.abs(found[0] - expected[0]).max())
    assert 0 < difference < 0.02 * max(1.0, spread)  # more than nothing: it really is another precision
    assert np.abs(found[1].astype(int) - expected[1]).max() <= 1


def test_learnt_convolutions_are_float16_and_the_scoring_is_not(model: onnx.ModelProto) -> None:
    half = shape_inference.infer_shapes(to_half(model), data_prop=True)
    kinds = {value.name: value.type.tensor_type.elem_type for value in half.graph.value_info}
    weights = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    learnt = [node for node in half.graph.node if any(name.startswith(("unet.", "network.")) for name in node.input)]
    assert len(learnt) >= 4
    for node in learnt:
        types = {weights.get(name, kinds.get(name)) for name in (*node.input, *node.output) if name}
        assert types == {TensorProto.FLOAT16}, node
    scoring = [node for node in half.graph.node if node.op_type in ("Conv", "AveragePool") and node not in learnt]
    assert scoring
    for node in scoring:
        assert kinds[node.input[0]] == TensorProto.FLOAT, node
    assert not [name for name in weights if name.startswith(("unet.", "network.")) and not name.endswith("_half")]


def test_the_network_ends_at_its_last_convolution(model: onnx.ModelProto) -> None:
    inside = network_nodes(model.graph)
    by_name = {node.name: node for node in model.graph.node}
    assert len(by_name) == len(model.graph.node)  # names are what tells nodes apart
    made = {output: name for name, node in by_name.items() for output in node.output}
    assert made["score"] not in inside and made["reconstruction"] not in inside
    first = next(node for node in model.graph.node if node.name in inside)
    assert first.op_type in ("Conv", "ConvTranspose")


def test_a_model_without_learnt_convolutions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the model has no learnt convolutions that could be made faster"):
        to_half(toy_model(1, "uint8"))
