"""The bundle's network in fewer bits, as a second ONNX file: half precision for a GPU, 8 bits for a processor.

8 bits: weights symmetric, one scale a channel, of 7 bits, because processors without VNNI add two products in 16 bits;
activations unsigned, by the smallest and largest value that calibration tiles show (Jacob et al., "Quantization and
training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018; ONNX Runtime's static
quantization writes it, as QuantizeLinear and DequantizeLinear nodes that OpenVINO reads). The first convolution, which
sees the image, and the last ones, which give change and logit, keep float32, and so does everything that scores.
"""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from flawmap.export.half_precision import LEARNT, network_nodes, to_half
from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_whole

Inputs = dict[str, NDArray[Any]]  # of the model, by name: one tile, and of an aligned product its context


def write_faster_model(source: Path, out: Path, precision: str, inputs: Sequence[Inputs]) -> None:
    """Writes `source` (ONNX) in `precision` to `out`: fp16 and int8 change the file, bf16 and tf32 how it is run.

    `inputs`: tiles as the line scores them, by which activations are given their range; int8 needs at least one.
    UsageError for a model without learnt convolutions.
    """
    model = onnx.load(source)
    if precision == "fp16":
        model = to_half(model)
    elif precision.startswith("int8"):
        model = to_int8(model, inputs)
    with write_whole(out) as temporary:
        temporary.write_bytes(model.SerializeToString())


def to_int8(model: onnx.ModelProto, inputs: Sequence[Inputs]) -> onnx.ModelProto:
    """A copy of `model` whose inner convolutions and poolings compute in 8 bits."""
    if not inputs:
        raise UsageError("8 bits need at least one good image to measure activations on")
    names = inner_nodes(model.graph)
    if not names:
        raise UsageError("the model has no convolution between its first and its last that could compute in 8 bits")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, out = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            out,
            _Reader(inputs),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "MaxPool"],
            nodes_to_quantize=names,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            # A convolution's answer stays float32 up to the next one's input: activations are computed on it.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"], "QuantizeBias": False},
        )
        return onnx.load(out)


def inner_nodes(graph: onnx.GraphProto) -> list[str]:
    """Names of the convolutions of the network but its first and last ones, and of the poolings between."""
    inside = network_nodes(graph)
    nodes = [node for node in graph.node if node.name in inside and node.op_type in ("Conv", "MaxPool")]
    read_inside = {name for node in graph.node if node.name in inside for name in node.input}
    learnt = [node for node in nodes if any(name.startswith(LEARNT) for name in node.input)]
    ends = {node.name for node in learnt if not set(node.output) & read_inside} | {learnt[0].name}
    return [node.name for node in nodes if node.name not in ends]


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """What ONNX Runtime's quantization asks for its tiles."""

    def __init__(self, inputs: Sequence[Inputs]) -> None:
        self._left: Iterator[Inputs] = iter(inputs)

    def get_next(self) -> Inputs | None:
        one = next(self._left, None)
        return None if one is None else {name: np.ascontiguousarray(values) for name, values in one.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's quantization recommends its other tools on the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
