"""Raw tiles in, score map out: the whole way that goes into the ONNX graph.

    tile -> normalised -> network -> evidence maps -> each standardised on good images -> score

The repair network gives two kinds of evidence: the damage logit, lightly smoothed, and the residual, averaged over
3x3 px. Neither alone will do. On cloth the logit finds nearly everything and the residual little; on faint cracks and
blowholes, which look like nothing that training showed it, the residual finds more. Both are turned into how rare they
are on good images, and added; the largest of the two, tried first, let the worse one's false alarms through
(docs/detection.md). Never an average over a neighbourhood: that erases a dot. Of an aligned product there is a third:
how far the tile leaves the golden template's band.

An autoencoder has the residual only: the rarest of its box means of several sizes speaks.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from numpy.typing import NDArray
from torch import Tensor, nn

from flawmap.tiling.context_map import SPREAD_STEPS
from flawmap.tiling.look_map import INSIDE, OUTSIDE, Look
from flawmap.training.autoencoder import BottleneckAutoencoder, ConvolutionalAutoencoder
from flawmap.training.config import Comparison, TrainConfig
from flawmap.training.good_images import GoodImages, Normalisation
from flawmap.training.losses import ssim_map
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.standardisation import Standardisation
from flawmap.training.template_band import TemplateBand

BOXES = (1, 3, 5, 9, 17)  # px, of an autoencoder's residual: a dot shows at the smallest, a stain at the largest
REPAIR_BOXES = (3,)  # px, of the repair network's
LOGIT_SIGMA = 1.25  # px
LOGIT_REACH = 4  # px
LOGIT_FLOOR = -5.0  # standardised: a residual beyond all bounds is heard whatever the head says
TEMPLATE_FLOOR = -5.0  # standardised: what the band hides is left to the other two
HEAVY = (False, True, True)  # logit, residual, template: see `flawmap.training.standardisation`


Network = RepairNetwork | BottleneckAutoencoder | ConvolutionalAutoencoder


def build_network(config: TrainConfig, n_channels: int, *, aligned: bool = False) -> Network:
    """The network that `config` asks for; of an `aligned` product it is shown the reference and its spread too."""
    settings = config.network
    if settings.kind == "repair":
        return RepairNetwork(n_channels, settings.channels, n_channels + 1 if aligned else 0)
    if settings.latent_size is None:
        return ConvolutionalAutoencoder(n_channels, settings.channels)
    return BottleneckAutoencoder(n_channels, settings.channels, settings.latent_size, config.tile.train_size)


class ScoringModel(nn.Module):
    """Scores raw tiles.

    Args:
        network: gives the reconstruction, and the repair network a damage logit too.
        normalisation: what the network was trained with.
        standardisation: of one line an evidence map.
        dtype: of the image (uint8, uint16 or float32); the reconstruction has it too.
        compare: by what an autoencoder's input and reconstruction are told apart: the residual at several scales, or
            1 - SSIM (Bergmann et al., "Improving unsupervised defect segmentation by applying structural similarity to
            autoencoders", VISAPP 2019).
        template: the repair network's third evidence, which a tile's context is needed for; None for two.
    """

    mean: Tensor
    std: Tensor
    location: Tensor
    scale: Tensor
    below: Tensor
    height: Tensor
    taps: Tensor

    def __init__(
        self,
        network: Network,
        normalisation: Normalisation,
        standardisation: Standardisation | None,
        dtype: np.dtype[np.generic],
        compare: Comparison = "residual",
        template: TemplateBand | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.has_head = isinstance(network, RepairNetwork)
        self.compare = compare
        self.template = template
        n_residuals = len(REPAIR_BOXES) if self.has_head else 1 if compare == "ssim" else len(BOXES)
        n_maps = self.has_head + n_residuals + (template is not None)
        standardisation = standardisation or Standardisation.identity(n_maps)
        self.dtype = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}[dtype.name]
        self.full_scale = float(np.iinfo(dtype.name).max) if dtype.kind == "u" else None
        for name, values in (
            ("mean", normalisation.mean),
            ("std", normalisation.std),
            ("location", standardisation.location),
            ("scale", standardisation.scale),
            ("below", standardisation.below),
            ("height", standardisation.height),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1))
        self.spread_unit = float(np.mean(normalisation.std))
        taps = torch.arange(-LOGIT_REACH, LOGIT_REACH + 1, dtype=torch.float32)
        weights = torch.exp(-(taps**2) / (2 * LOGIT_SIGMA**2))
        self.register_buffer("taps", weights / weights.sum())

    def forward(self, tiles: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Raw tiles [N, H, W] or [N, H, W, C] -> score float32 [N, H, W], reconstruction like the tiles.

        `context`, of an aligned product: raw, [N, H, W, C + 1], see `flawmap.tiling.context_map`.
        """
        x = self.normalise(tiles)
        reconstruction, evidence = self.explain(x, None if context is None else self.normalise_context(context))
        score = self.standardise(evidence)
        restored = reconstruction * self.std + self.mean
        if self.full_scale is not None:
            restored = restored.round().clamp(0.0, self.full_scale)
        restored = restored.to(self.dtype)
        return score, restored.squeeze(1) if tiles.dim() == 3 else restored.permute(0, 2, 3, 1)

    def standardise(self, evidence: Tensor) -> Tensor:
        """Evidence maps [N, K, H, W] -> score [N, H, W]."""
        standard = (evidence - self.location) / self.scale
        standard = self.height + torch.where(standard > 0, standard, self.below * standard)
        if not self.has_head:
            return standard.amax(dim=1)  # the rarest of them
        score = standard[:, 0].clamp(min=LOGIT_FLOOR) + standard[:, 1]
        return score if self.template is None else score + standard[:, 2].clamp(min=TEMPLATE_FLOOR)

    def normalise(self, tiles: Tensor) -> Tensor:
        """Raw tiles -> normalised float32 [N, C, H, W]."""
        x = tiles.to(torch.float32)
        x = x.unsqueeze(1) if tiles.dim() == 3 else x.permute(0, 3, 1, 2)
        return (x - self.mean) / self.std

    def normalise_context(self, context: Tensor) -> Tensor:
        """Raw context [N, H, W, C + 1] -> float32 [N, C + 1, H, W], in the units of a normalised image."""
        x = context.to(torch.float32).permute(0, 3, 1, 2)
        steps = 1.0 if self.full_scale is None else SPREAD_STEPS
        return torch.cat([(x[:, :-1] - self.mean) / self.std, x[:, -1:] / (steps * self.spread_unit)], dim=1)

    def explain(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalised tiles -> reconstruction [N, C, H, W] and evidence maps [N, K, H, W], not standardised yet."""
        if self.has_head:
            reconstruction, logit = self.network(x, context)
            evidence = [self._smooth(logit), residual_scales(x - reconstruction, REPAIR_BOXES)]
            if self.template is not None:
                assert context is not None
                beyond = self.template.beyond(x, context[:, :-1], context[:, -1:])
                evidence.append(residual_scales(beyond, REPAIR_BOXES))
            return reconstruction, torch.cat(evidence, dim=1)
        reconstruction = self.network(x)
        if self.compare == "ssim":
            return reconstruction, (1 - ssim_map(x, reconstruction)).amax(dim=1, keepdim=True)
        return reconstruction, residual_scales(x - reconstruction, BOXES)

    def _smooth(self, logit: Tensor) -> Tensor:
        padded = F.pad(logit, (LOGIT_REACH,) * 4, mode="reflect")
        return F.conv2d(F.conv2d(padded, self.taps.view(1, 1, 1, -1)), self.taps.view(1, 1, -1, 1))


def residual_scales(residual: Tensor, boxes: tuple[int, ...]) -> Tensor:
    """Signed residual [N, C, H, W] -> largest channel's absolute mean over each of `boxes` (px), [N, K, H, W]."""
    maps = []
    for box in boxes:
        mean = residual
        if box > 1:  # one axis at a time: 2 x 17 taps instead of 17 x 17
            mean = F.avg_pool2d(mean, (box, 1), stride=1, padding=(box // 2, 0), count_include_pad=False)
            mean = F.avg_pool2d(mean, (1, box), stride=1, padding=(0, box // 2), count_include_pad=False)
        # A mono image has nothing to choose from, and ONNX Runtime takes its time for a maximum over one channel.
        maps.append(mean.abs() if mean.shape[1] == 1 else mean.abs().amax(dim=1, keepdim=True))
    return torch.cat(maps, dim=1)


class RawTile(NamedTuple):
    """A tile as it was cut from a picture, [H, W] or [H, W, C], and what the reference shows there, [H, W, C + 1].

    `look`, uint8 [H, W], is 0 where nothing counts, beyond the picture's border too; None where everything does.
    """

    pixels: NDArray[np.generic]
    context: NDArray[np.generic] | None = None
    look: Look | None = None


def raw_tile(images: GoodImages, index: int, y: int, x: int, height: int, width: int) -> RawTile:
    """`height` x `width` px from (`y`, `x`) on of padded image `index`, with what goes with them."""
    look = None if images.counted is None else images.counted.look(index, y, x, height, width)
    y0, x0, y1, x1 = images.picture_box(index)
    if y < y0 or x < x0 or y + height > y1 or x + width > x1:
        inside = np.s_[max(0, y0 - y) : max(0, y1 - y), max(0, x0 - x) : max(0, x1 - x)]
        in_picture = np.full((height, width), OUTSIDE, np.uint8)
        in_picture[inside] = INSIDE if look is None else look[inside]
        look = in_picture
    pixels = images.padded[index][y : y + height, x : x + width]
    return RawTile(pixels, images.context(index, y, x, height, width), look)


@torch.no_grad()
def explain_raw(model: ScoringModel, tile: RawTile) -> Tensor:
    """Evidence maps [1, K, H, W] of one raw tile, on the model's device."""
    device = next(model.parameters()).device
    x = model.normalise(torch.from_numpy(tile.pixels[None].astype(np.float32)).to(device))
    context = None
    if tile.context is not None:
        context = model.normalise_context(torch.from_numpy(tile.context[None].astype(np.float32)).to(device))
    return model.explain(x, context)[1]


def evidence_of_tiles(model: ScoringModel, tiles: Iterable[RawTile], margin: int) -> Iterator[NDArray[np.float32]]:
    """Evidence of tiles without their `margin` px, float32 [K, H - 2 margin, W - 2 margin] each.

    It is -inf where nothing counts.
    """
    for tile in tiles:
        evidence = explain_raw(model, tile)[0].cpu().numpy()
        if tile.look is not None:
            evidence = np.where(tile.look > 0, evidence, np.float32(-np.inf))
        yield evidence[:, margin : evidence.shape[1] - margin, margin : evidence.shape[2] - margin]
