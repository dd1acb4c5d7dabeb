"""The trained repair network written again for speed: the same score, fewer passes over the pixels.

A line pays for more than the convolutions. Reflecting the border of every layer copies every layer, and normalisation,
pixel shuffle, smoothing and standardisation each read and write a float map as large as the tile. Here

- borders are zeros, which a convolution pads by itself. What is padded reaches `edge_reach` px into a tile, and no
  score of the heatmap is read from there: tiles overlap by more, and at the image's edge the reflected border is wider.
- batch norm is folded into the convolution before it (Jacob et al., "Quantization and training of neural networks for
  efficient integer-arithmetic-only inference", CVPR 2018, section 3.2).
- location and scale of the evidence maps are folded into the last weights. Normalising the image is not: the
  network would see grey levels, which half precision and 8 bits do not hold.
- the logit is smoothed, and what else is evidence averaged, before the pixel shuffle: on four maps of half the size,
  which fill a processor's vectors where one map does not.
"""

from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from flawmap.export.bundle import TileInfo
from flawmap.tiling.context_map import SPREAD_STEPS
from flawmap.training.repair_network import UNSHUFFLE, RepairNetwork, UNet
from flawmap.training.scoring import LOGIT_FLOOR, LOGIT_REACH, REPAIR_BOXES, TEMPLATE_FLOOR, ScoringModel

PROVEN = 64  # px of a proof tile at least that the parity gate must see unaffected by the tile's edge
PHASES = UNSHUFFLE**2


def edge_reach(network: RepairNetwork) -> int:
    """How many px into a tile what is padded at its edge is felt, at most.

    Counted from the edge, in pixels of each level: two convolutions a level going down and one going up reach 2 and 1
    far; pooling halves the distance and upsampling doubles it.
    """
    n_levels = len(network.unet.down)
    down = [2]
    for _ in range(n_levels - 1):
        down.append(-(-down[-1] // 2) + 2)
    felt = down[-1]
    for distance in reversed(down[:-1]):
        felt = max(2 * felt, distance) + 1
    return UNSHUFFLE * felt + max(LOGIT_REACH, REPAIR_BOXES[-1] // 2)


def keeps_its_score(model: ScoringModel, tile: TileInfo, proof_size: int) -> bool:
    """Whether `InferenceForm` of `model` gives the heatmap that `model` gives, and proof tiles can show it."""
    if not isinstance(model.network, RepairNetwork):
        return False
    reach = edge_reach(model.network)
    return tile.border >= reach and tile.overlap >= 2 * reach and proof_size >= 2 * reach + PROVEN


class InferenceForm(nn.Module):
    """Raw tiles in, score and reconstruction out, as `ScoringModel` of a repair network, but for `edge_reach` px."""

    mean: Tensor
    std: Tensor
    spread: Tensor
    smooth_y: Tensor
    smooth_x: Tensor
    shift: Tensor
    box_y: Tensor
    box_x: Tensor
    template_box_x: Tensor

    def __init__(self, model: ScoringModel) -> None:
        super().__init__()
        assert isinstance(model.network, RepairNetwork) and REPAIR_BOXES == (3,)
        self.n_channels = n = model.network.n_channels
        self.dtype, self.full_scale = model.dtype, model.full_scale
        lines = (model.location, model.scale, model.below, model.height)
        location, scale, self.below, height = (values.flatten().tolist() for values in lines)
        self.unet = _FoldedUNet(model.network.unet, n, scale[0])
        # score = max(h0 + bent((logit - l0) / s0), floor) + h1 + bent((residual - l1) / s1), and with a template
        # + max(h2 + bent((beyond - l2) / s2), floor): all heights go in last
        self.height = height[0] + height[1]
        self.floor = LOGIT_FLOOR - height[0]
        self.bend = location[1] / scale[1]
        self.template = model.template
        if model.template is not None:
            self.height += height[2]
            self.template_floor = TEMPLATE_FLOOR - height[2]
            self.template_bend = location[2] / scale[2]
        box = torch.full((REPAIR_BOXES[0],), 1 / REPAIR_BOXES[0])
        buffers = {
            "mean": model.mean,
            "std": model.std,
            "spread": torch.tensor((1.0 if model.full_scale is None else SPREAD_STEPS) * model.spread_unit),
            "smooth_y": phase_filter(model.taps, axis=0),
            "smooth_x": phase_filter(model.taps, axis=1),
            "shift": torch.full((PHASES,), -location[0] / scale[0]),
            "box_y": _for_channels(phase_filter(box, axis=0), n),
            "box_x": _for_channels(phase_filter(box, axis=1) / scale[1], n),
        }
        if model.template is not None:
            buffers["template_box_x"] = _for_channels(phase_filter(box, axis=1) / scale[2], n)
        for name, value in buffers.items():
            self.register_buffer(name, value.detach().clone())
        self.eval()

    def forward(self, tiles: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `ScoringModel.forward`."""
        mono = tiles.dim() == 3
        raw = tiles.to(torch.float32)
        # Of a mono image everything at full size has no channel axis: one of length 1 costs a processor its vectors.
        mean, std = (self.mean.flatten(), self.std.flatten()) if mono else (self.mean, self.std)
        x = (raw - mean).div(std).unsqueeze(1) if mono else (raw.permute(0, 3, 1, 2) - mean) / std
        beyond = None
        if context is not None:  # the reference, and how far good images stray from it
            shown = context.to(torch.float32).permute(0, 3, 1, 2)
            reference, spread = (shown[:, :-1] - self.mean) / self.std, shown[:, -1:] / self.spread
            beyond = None if self.template is None else self.template.beyond(x, reference, spread)
            x = torch.cat([x, reference, spread], dim=1)
        change, logit = self.unet(x)  # [N, 4 C, H/2, W/2], [N, 4, H/2, W/2]
        logit = F.conv2d(logit, self.smooth_y, padding=_padding(self.smooth_y))
        logit = F.conv2d(logit, self.smooth_x, self.shift, padding=_padding(self.smooth_x))
        logit = F.leaky_relu(logit, self.below[0]).clamp(min=self.floor)
        residual = F.leaky_relu(self._averaged(change, self.box_x) - self.bend, self.below[1])
        score = logit + residual + self.height
        if beyond is not None:
            beyond = self._averaged(F.pixel_unshuffle(beyond, UNSHUFFLE), self.template_box_x)
            score = score + F.leaky_relu(beyond - self.template_bend, self.below[2]).clamp(min=self.template_floor)
        score = F.pixel_shuffle(score, UNSHUFFLE).squeeze(1)
        change = F.pixel_shuffle(change, UNSHUFFLE)
        restored = raw + (change.squeeze(1) * std if mono else (change * std).permute(0, 2, 3, 1))
        if self.full_scale is not None:
            restored = restored.round().clamp(0.0, self.full_scale)
        return score, restored.to(self.dtype)

    def _averaged(self, phases: Tensor, box_x: Tensor) -> Tensor:
        """Box mean of a signed map of each channel, in what `box_x` scales it to; the largest channel's absolute value.

        [N, 4 C, H/2, W/2] -> [N, 4, H/2, W/2].
        """
        mean = F.conv2d(phases, self.box_y, padding=_padding(self.box_y))
        mean = F.conv2d(mean, box_x, padding=_padding(box_x)).abs()
        if self.n_channels > 1:
            mean = mean.view(-1, self.n_channels, PHASES, *mean.shape[2:]).amax(dim=1)
        return mean


class _FoldedUNet(nn.Module):
    """`UNet` without batch norm, its change and its logit apart, the logit in `logit_scale`s."""

    def __init__(self, unet: UNet, n_channels: int, logit_scale: float) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Sequential(*map(_folded, cast(nn.Sequential, block))) for block in unet.down)
        self.up = nn.ModuleList(map(_folded, unet.up))
        self.project = nn.ModuleList(_convolution(layer.weight, layer.bias) for layer in map(_conv, unet.project))
        weight, bias, n = unet.last.weight, cast(Tensor, unet.last.bias), PHASES * n_channels
        self.change = _convolution(weight[:n], bias[:n])
        self.logit = _convolution(weight[n:] / logit_scale, bias[n:] / logit_scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised [N, C, H, W] -> [N, 4 C, H/2, W/2], [N, 4, H/2, W/2]: before their pixel shuffle."""
        x = F.pixel_unshuffle(x, UNSHUFFLE)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        skips.pop()
        for project, block in zip(self.project, self.up, strict=True):
            x = block(F.interpolate(project(x), scale_factor=2.0, mode="nearest") + skips.pop())
        return self.change(x), self.logit(x)


def _folded(layer: nn.Module) -> nn.Sequential:
    """Convolution, batch norm, activation -> convolution padded with zeros, activation."""
    fused = fuse_conv_bn_eval(_conv(layer.convolution), cast(nn.BatchNorm2d, layer.norm))
    return nn.Sequential(_convolution(fused.weight, fused.bias), nn.SiLU())


def _conv(layer: object) -> nn.Conv2d:
    assert isinstance(layer, nn.Conv2d)
    return layer


def _convolution(weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """One with these weights [n_out, n_in, k, k], padded with zeros to the same size."""
    assert bias is not None
    n_out, n_in, kernel = weight.shape[:3]
    layer = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2)
    layer.load_state_dict({"weight": weight.detach(), "bias": bias.detach()})
    return layer


def phase_filter(taps: Tensor, axis: int) -> Tensor:
    """A symmetric 1-D filter of the whole image as a convolution of its four phases.

    `taps` float32 [2 r + 1] along `axis` (0: y, 1: x) -> weights [4, 4, k, 1] or [4, 4, 1, k], for phases in the order
    of `torch.pixel_unshuffle`.
    """
    reach = len(taps) // 2
    blocks = -(-reach // UNSHUFFLE)
    line = torch.zeros(UNSHUFFLE, UNSHUFFLE, 2 * blocks + 1)  # [phase out, phase in, block]
    for phase in range(UNSHUFFLE):
        for offset, tap in enumerate(taps, start=phase - reach):
            line[phase, offset % UNSHUFFLE, offset // UNSHUFFLE + blocks] += tap
    same = torch.eye(UNSHUFFLE)  # the phase of the other axis stays
    if axis == 0:
        return torch.einsum("oik,pq->opiqk", line, same).reshape(PHASES, PHASES, -1, 1)
    return torch.einsum("oik,pq->poqik", line, same).reshape(PHASES, PHASES, 1, -1)


def _for_channels(weight: Tensor, n_channels: int) -> Tensor:
    """`weight` of `phase_filter` for every channel by itself: [4 C, 4 C, ky, kx]."""
    blocks = torch.einsum("cd,oikl->codikl", torch.eye(n_channels), weight)
    n = PHASES * n_channels
    return blocks.reshape(n, n, *weight.shape[2:])


def _padding(weight: Tensor) -> tuple[int, int]:
    return weight.shape[2] // 2, weight.shape[3] // 2
