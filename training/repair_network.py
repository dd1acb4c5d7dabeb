"""The default model: a U-Net that learns to repair synthetic damage and to say where the damage was.

A bottleneck autoencoder meets one dilemma: wide, it reproduces the defect; narrow, it blurs the good. Here nothing is
squeezed: skips carry every detail, and the task itself (give back the undamaged tile) keeps defects out. Both tasks
come from Zavrtanik, Kristan and Skocaj, "DRAEM - A discriminatively trained reconstruction embedding for surface
anomaly detection", ICCV 2021, which gives each a U-Net of its own. Here one U-Net does both: it costs 2.4 times less,
takes as many more steps in the same minutes, and on cloth found 0.92 of the defects where two found 0.46
(docs/detection.md). The stem is a pixel unshuffle (Shi et al., CVPR 2016), which halves the size and loses nothing of a
5 px dot.
"""

import itertools

import torch
from torch import Tensor, nn

from flawmap.training.blocks import convolution, double_convolution

UNSHUFFLE = 2


class UNet(nn.Module):
    """U-Net on a pixel-unshuffled input.

    Skips are added, not concatenated, and each level has one convolution on the way up: half the work of the usual
    U-Net, because the way up at the finest level is what costs.

    Args:
        n_in, n_out: channels of the input and of the output.
        channels: channels a level, finest first; each further level halves the size once more.
    """

    def __init__(self, n_in: int, n_out: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        wide = [n_in * UNSHUFFLE**2, *channels]
        narrow = list(reversed(channels))
        self.unshuffle = nn.PixelUnshuffle(UNSHUFFLE)
        self.down = nn.ModuleList(double_convolution(a, b) for a, b in itertools.pairwise(wide))
        self.pool = nn.MaxPool2d(2)
        self.project = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in itertools.pairwise(narrow))
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.up = nn.ModuleList(convolution(n, n) for n in narrow[1:])
        self.last = nn.Conv2d(channels[0], n_out * UNSHUFFLE**2, 1)
        self.shuffle = nn.PixelShuffle(UNSHUFFLE)

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_in, H, W] -> [N, n_out, H, W]; H and W multiples of the stride."""
        x = self.unshuffle(x)  # [N, 4 n_in, H/2, W/2]
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for project, block in zip(self.project, self.up, strict=True):
            x = block(self.upsample(project(x)) + skips.pop())
        return self.shuffle(self.last(x))  # type: ignore[no-any-return]


class RepairNetwork(nn.Module):
    """Repairs a tile and says per pixel how likely it was damaged.

    Args:
        n_channels: channels of the image.
        channels: channels a level of the U-Net.
        n_context: further channels it is shown of what is normal at a tile's place: see `flawmap.tiling.context_map`.
    """

    stride: int  # px: tile sizes and starts are multiples of it
    receptive_field: int  # px

    def __init__(self, n_channels: int, channels: tuple[int, ...], n_context: int = 0) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.stride = UNSHUFFLE * 2 ** (len(channels) - 1)
        self.receptive_field = receptive_field(len(channels))
        self.unet = UNet(n_channels + n_context, n_channels + 1, channels)

    def forward(self, tiles: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalised tiles [N, C, H, W], context [N, n_context, H, W] -> repaired tiles, damage logit [N, 1, H, W]."""
        shown = tiles if context is None else torch.cat([tiles, context], dim=1)
        change, logit = self.unet(shown).split((self.n_channels, 1), dim=1)
        # The change, not the picture: an untouched tile is repaired perfectly by giving zero.
        return tiles + change, logit


def receptive_field(n_levels: int) -> int:
    """Width in px of what one output pixel can depend on, rounded up to its stride.

    A level at 1/s of the size has two 3x3 convolutions going down and, but for the last level, one going up, each
    reaching s px to both sides; pooling and the block that the pixel lies in add one stride at most to each side.
    """
    reach = 0
    for level in range(n_levels):
        reach += (UNSHUFFLE << level) * (2 if level == n_levels - 1 else 3)
    stride = UNSHUFFLE << (n_levels - 1)
    return 2 * (reach + stride + -(reach + stride) % stride)
