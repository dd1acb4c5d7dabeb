"""Raw tiles in, score map out: the whole way that goes into the ONNX graph.

    tile -> normalised -> network -> evidence maps -> each standardised on good images -> largest of them

Evidence is the head's damage logit, lightly smoothed, and the signed residual averaged over boxes of several sizes: a
dot shows at the smallest, a stain at the largest. Neither the head nor the residual alone will do (DESIGN section 5),
so each is measured against what it shows on good images and the most surprising one speaks. Never an average over maps:
that erases a dot.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from numpy.typing import NDArray
from torch import Tensor, nn

from flawmap.training.autoencoder import BottleneckAutoencoder
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import Normalisation
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.standardisation import Standardisation

BOXES = (1, 3, 5, 9, 17)  # px
LOGIT_SIGMA = 1.25  # px
LOGIT_REACH = 4  # px


def build_network(config: TrainConfig, n_channels: int) -> RepairNetwork | BottleneckAutoencoder:
    """The network that `config` asks for."""
    if config.network.kind == "repair":
        return RepairNetwork(n_channels, config.network.channels)
    return BottleneckAutoencoder(
        n_channels, config.network.channels, config.network.latent_size, config.tile.train_size
    )


class ScoringModel(nn.Module):
    """Scores raw tiles.

    Args:
        network: gives the reconstruction, and the repair network a damage logit too.
        normalisation: what the network was trained with.
        standardisation: one location and scale an evidence map.
        dtype: of the image (uint8, uint16 or float32); the reconstruction has it too.
    """

    mean: Tensor
    std: Tensor
    location: Tensor
    scale: Tensor
    taps: Tensor

    def __init__(
        self,
        network: RepairNetwork | BottleneckAutoencoder,
        normalisation: Normalisation,
        standardisation: Standardisation | None,
        dtype: np.dtype[np.generic],
    ) -> None:
        super().__init__()
        self.network = network
        self.has_head = isinstance(network, RepairNetwork)
        standardisation = standardisation or Standardisation.identity(len(BOXES) + self.has_head)
        self.dtype = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}[dtype.name]
        self.full_scale = float(np.iinfo(dtype.name).max) if dtype.kind == "u" else None
        for name, values in (
            ("mean", normalisation.mean),
            ("std", normalisation.std),
            ("location", standardisation.location),
            ("scale", standardisation.scale),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))
        taps = torch.arange(-LOGIT_REACH, LOGIT_REACH + 1, dtype=torch.float32)
        weights = torch.exp(-(taps**2) / (2 * LOGIT_SIGMA**2))
        self.register_buffer("taps", weights / weights.sum())

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Raw tiles [N, H, W] or [N, H, W, C] -> score float32 [N, H, W], reconstruction like the tiles."""
        x = self.normalise(tiles)
        reconstruction, evidence = self.explain(x)
        score = self.standardise(evidence)
        restored = reconstruction * self.std + self.mean
        if self.full_scale is not None:
            restored = restored.round().clamp(0.0, self.full_scale)
        restored = restored.to(self.dtype)
        return score, restored.squeeze(1) if tiles.dim() == 3 else restored.permute(0, 2, 3, 1)

    def standardise(self, evidence: Tensor) -> Tensor:
        """Evidence maps [N, K, H, W] -> score [N, H, W]: the rarest of them."""
        return ((evidence - self.location) / self.scale).amax(dim=1)

    def normalise(self, tiles: Tensor) -> Tensor:
        """Raw tiles -> normalised float32 [N, C, H, W]."""
        x = tiles.to(torch.float32)
        x = x.unsqueeze(1) if tiles.dim() == 3 else x.permute(0, 3, 1, 2)
        return (x - self.mean) / self.std

    def explain(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised tiles -> reconstruction [N, C, H, W] and evidence maps [N, K, H, W], not standardised yet."""
        if self.has_head:
            reconstruction, logit = self.network(x)
            return reconstruction, torch.cat([self._smooth(logit), residual_scales(x - reconstruction)], dim=1)
        reconstruction = self.network(x)
        return reconstruction, residual_scales(x - reconstruction)

    def _smooth(self, logit: Tensor) -> Tensor:
        padded = F.pad(logit, (LOGIT_REACH,) * 4, mode="reflect")
        return F.conv2d(F.conv2d(padded, self.taps.view(1, 1, 1, -1)), self.taps.view(1, 1, -1, 1))


def residual_scales(residual: Tensor) -> Tensor:
    """Signed residual [N, C, H, W] -> largest channel's absolute box mean at each size of `BOXES`, [N, K, H, W]."""
    maps = []
    for box in BOXES:
        mean = residual
        if box > 1:  # one axis at a time: 2 x 17 taps instead of 17 x 17
            mean = F.avg_pool2d(mean, (box, 1), stride=1, padding=(box // 2, 0), count_include_pad=False)
            mean = F.avg_pool2d(mean, (1, box), stride=1, padding=(0, box // 2), count_include_pad=False)
        # A mono image has nothing to choose from, and ONNX Runtime takes its time for a maximum over one channel.
        maps.append(mean.abs() if mean.shape[1] == 1 else mean.abs().amax(dim=1, keepdim=True))
    return torch.cat(maps, dim=1)


@torch.no_grad()
def evidence_of_tiles(model: ScoringModel, tiles: Iterator[NDArray[np.generic]], margin: int) -> NDArray[np.float32]:
    """Evidence of every pixel at least `margin` px inside its tile, float32 [K, n]; tiles [H, W] or [H, W, C]."""
    device = next(model.parameters()).device
    pieces = []
    for tile in tiles:
        x = model.normalise(torch.from_numpy(tile[None].astype(np.float32)).to(device))
        evidence = model.explain(x)[1][0].cpu().numpy()
        inner = evidence[:, margin : evidence.shape[1] - margin, margin : evidence.shape[2] - margin]
        pieces.append(inner.reshape(inner.shape[0], -1))
    return np.concatenate(pieces, axis=1)
