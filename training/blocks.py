"""Building blocks that both networks share.

Nothing here looks at the whole tile (no instance or group norm, no global pooling), so what a pixel gets depends on its
neighbourhood alone: a tile's inner part equals the whole image's.
"""

from collections import OrderedDict

from torch import nn


def convolution(n_in: int, n_out: int, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch norm, SiLU; the size stays. Reflection, not zeros: a dark frame would be a defect itself."""
    conv = nn.Conv2d(n_in, n_out, kernel, padding=kernel // 2, padding_mode="reflect", bias=False)
    return nn.Sequential(OrderedDict(convolution=conv, norm=nn.BatchNorm2d(n_out), activation=nn.SiLU()))


def double_convolution(n_in: int, n_out: int) -> nn.Sequential:
    """Two convolutions, the unit of every level."""
    return nn.Sequential(convolution(n_in, n_out), convolution(n_out, n_out))
