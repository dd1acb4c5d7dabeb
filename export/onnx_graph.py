"""The scoring model as one ONNX file: raw tiles in, score map and reconstruction out, metadata inside.

Of an aligned product the graph takes a second input, `context`: what the reference shows at each tile's place.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from flawmap.tiling.whole_file import write_whole
from flawmap.training.autoencoder import BottleneckAutoencoder
from flawmap.training.checkpoint import Checkpoint

OPSET = 18
EXAMPLE_STRIDES = 12  # side of the tile that the exporter traces, in network strides; any other size follows from it


def write_onnx(
    checkpoint: Checkpoint,
    path: Path,
    *,
    batch_size: int | None,
    metadata: dict[str, Any],
    form: nn.Module | None = None,
) -> None:
    """Writes `path`, one file with the weights inside.

    Args:
        form: what is written instead of the model of `checkpoint`: see `flawmap.export.inference_form`.
        batch_size: the only batch the graph takes, or None for any.
        metadata: JSON values, stored as strings in the model's metadata.
    """
    network = checkpoint.model.network
    any_size = not isinstance(network, BottleneckAutoencoder)
    side = EXAMPLE_STRIDES * network.stride if any_size else checkpoint.config.tile.train_size
    channels = () if checkpoint.n_channels == 1 else (checkpoint.n_channels,)
    shape = (batch_size or 2, side, side)
    examples = [torch.from_numpy(np.zeros((*shape, *channels), checkpoint.dtype))]
    if checkpoint.reference is not None:
        examples.append(torch.from_numpy(np.zeros((*shape, checkpoint.n_channels + 1), checkpoint.dtype)))
    dynamic: dict[int, Any] = {}
    if batch_size is None:
        dynamic[0] = torch.export.Dim("batch")
    if any_size:
        dynamic[1] = network.stride * torch.export.Dim("tile_rows")
        dynamic[2] = network.stride * torch.export.Dim("tile_columns")
    # The exporter talks at length about torchvision, which is not needed, and about its own deprecations.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            (form or checkpoint.model).to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            tuple(examples),
            dynamo=True,
            opset_version=OPSET,
            input_names=["tiles", "context"][: len(examples)],
            output_names=["score", "reconstruction"],
            dynamic_shapes=(dynamic or None,) * len(examples),
            verbose=False,
        )
    assert program is not None  # as it is with `dynamo`
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    onnx.helper.set_model_props(
        model, {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    )
    with write_whole(path) as temporary:
        temporary.write_bytes(model.SerializeToString())
