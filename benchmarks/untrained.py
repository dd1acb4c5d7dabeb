"""The default network with weights that nobody trained: it costs what a trained one costs, and is there everywhere."""

from pathlib import Path

import numpy as np
import torch

from flawmap.export.inference_form import InferenceForm
from flawmap.export.onnx_graph import write_onnx
from flawmap.training.checkpoint import Checkpoint
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import Normalisation
from flawmap.training.scoring import ScoringModel, build_network
from flawmap.training.split import Split
from flawmap.training.standardisation import Standardisation

MEAN, STD = 128.0, 20.0  # grey levels


def write_untrained_model(path: Path, *, for_inference: bool = True) -> None:
    """Writes the ONNX file of the default settings for mono images of 8 bits, in the form that bundles have or as it
    is trained; its scores vary as widely as a trained network's good ones.
    """
    torch.manual_seed(0)
    config = TrainConfig()
    network = build_network(config, 1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.05, 0.15)
    normalisation = Normalisation((MEAN,), (STD,))
    standardisation = Standardisation((0.5, 0.5), (0.05, 0.05), (0.8, 3.0), (-1.0, -1.0))
    model = ScoringModel(network, normalisation, standardisation, np.dtype("uint8")).eval()
    checkpoint = Checkpoint(
        model=model,
        config=config,
        split=Split([], [], []),
        proof_tiles=np.zeros((1, 256, 256), np.uint8),
        proof_context=None,
        reference=None,
        provenance={},
        n_channels=1,
        dtype=np.dtype("uint8"),
        folder=path.parent,
    )
    form = InferenceForm(model) if for_inference else None
    write_onnx(checkpoint, path, batch_size=None, metadata={"product": "untrained"}, form=form)
