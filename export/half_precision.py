"""The learnt part of a model in half precision (IEEE float16), for a GPU; scores stay float32.

Every convolution with learnt weights, and everything between two of them, computes in float16. What is before
(normalisation) and after (smoothing, standardisation, reconstruction) keeps float32, so that a score is read as finely
as before. Micikevicius et al., "Mixed precision training", ICLR 2018, draw the same line.
"""

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from flawmap.tiling.errors import UsageError

LEARNT = ("unet.", "network.")  # how weights of the network are named; those that only score have other names
HALF = "_half"
SCALES = {"Resize": (1, 2)}  # inputs that say by how much, and are float32 whatever is resized


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` whose network computes in float16; UsageError for a model without learnt convolutions."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    inside = network_nodes(graph)
    made = {name for node in graph.node if node.name in inside for name in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    read_outside = {name for node in graph.node if node.name not in inside for name in node.input}
    read_outside |= {output.name for output in graph.output}
    nodes: list[onnx.NodeProto] = []
    entered: set[str] = set()
    halved: set[str] = set()
    for node in graph.node:
        if node.name not in inside:
            nodes.append(node)
            continue
        for position, name in enumerate(node.input):
            if not name or position in SCALES.get(node.op_type, ()) or _is_integer(graph, name):
                continue
            if name in weights:
                halved.add(name)
            elif name not in made and name not in entered:
                entered.add(name)
                nodes.append(_cast(name, name + HALF, TensorProto.FLOAT16))
            node.input[position] = name + HALF
        nodes.append(node)
        for position, name in enumerate(node.output):
            node.output[position] = name + HALF
            if name in read_outside:
                nodes.append(_cast(name + HALF, name, TensorProto.FLOAT))
    kept = [tensor for tensor in graph.initializer if tensor.name not in halved or tensor.name in read_outside]
    new = [
        numpy_helper.from_array(numpy_helper.to_array(weights[name]).astype(np.float16), name + HALF)
        for name in sorted(halved)
    ]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*kept, *new])
    onnx.checker.check_model(model)
    return model


def network_nodes(graph: onnx.GraphProto) -> set[str]:
    """Names of the learnt convolutions of `graph` and of everything on a way from one to another; UsageError if none.

    Nodes stand in an order in which they can be computed, as ONNX demands.
    """
    convolutions = {node.name for node in graph.node if any(name.startswith(LEARNT) for name in node.input)}
    if not convolutions:
        raise UsageError("the model has no learnt convolutions that could be made faster")
    after = _reached(graph.node, convolutions, lambda node: (node.input, node.output))
    before = _reached(reversed(graph.node), convolutions, lambda node: (node.output, node.input))
    return after & before


def _reached(
    nodes: Iterable[onnx.NodeProto],
    starts: set[str],
    ends_of: Callable[[onnx.NodeProto], tuple[Iterable[str], Iterable[str]]],
) -> set[str]:
    """`starts` and the nodes that lie behind one of them, in the direction of `nodes`; names."""
    tensors: set[str] = set()
    found: set[str] = set()
    for node in nodes:
        near, far = ends_of(node)
        if node.name in starts or tensors & set(near):
            found.add(node.name)
            tensors |= set(far)
    return found


def _is_integer(graph: onnx.GraphProto, name: str) -> bool:
    return any(tensor.name == name and tensor.data_type != TensorProto.FLOAT for tensor in graph.initializer)


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)
