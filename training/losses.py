"""What a wrong reconstruction costs: `pixel_loss` and `ssim_map` per pixel, means taken outside; others a scalar."""

import math
from typing import assert_never

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

from flawmap.training.config import LossName

CHARBONNIER_EPSILON = 1e-2
SSIM_WINDOW = 11  # px, as Wang, Bovik, Sheikh and Simoncelli (IEEE TIP 13, 2004)


def pixel_loss(name: LossName, reconstruction: Tensor, target: Tensor) -> Tensor:
    """Cost per pixel, averaged over channels: [N, C, H, W] twice -> [N, 1, H, W]."""
    difference = reconstruction - target
    match name:
        case "mse":
            cost = difference.square()
        case "l1":
            cost = difference.abs()
        case "charbonnier":  # L1 that is smooth at zero (Charbonnier et al., ICIP 1994)
            cost = (difference.square() + CHARBONNIER_EPSILON**2).sqrt() - CHARBONNIER_EPSILON
        case "bce":
            cost = F.binary_cross_entropy(reconstruction, target.clamp(0, 1), reduction="none")
        case "ssim":
            cost = (1 - ssim_map(reconstruction, target)) / 2
        case _:
            assert_never(name)
    return cost.mean(dim=1, keepdim=True)


def gradient_loss(reconstruction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference of the horizontal and vertical steps: keeps edges where they are. Scalar."""
    difference = reconstruction - target
    return (difference.diff(dim=2).abs().mean() + difference.diff(dim=3).abs().mean()) / 2


def activity_loss(code: Tensor) -> Tensor:
    """Sum of a code's absolute values, mean over the batch, as Keras' `activity_regularizer` counts it. Scalar."""
    return code.abs().sum() / len(code)


def balanced_mean(cost: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Means of `cost` over damaged and over clean pixels, [N, 1, H, W] each: a 5x5 dot is 0.15 % of a tile."""
    damaged = (cost * mask).sum() / mask.sum().clamp(min=1)
    clean = (cost * (1 - mask)).sum() / (1 - mask).sum().clamp(min=1)
    return damaged, clean


def damage_loss(logit: Tensor, mask: Tensor) -> Tensor:
    """Cross-entropy of the damage logit [N, 1, H, W] with `mask`. Scalar, mean over pixels.

    No focal loss: it stops at logits of about 0.6, where real specks and the worst good pixels lie side by side. With
    plain cross-entropy the logit goes on as log odds, whose tail on good pixels falls off as an exponential at least.
    """
    return F.binary_cross_entropy_with_logits(logit, mask)


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of values in 0..1, per pixel and channel: [N, C, H, W] in -1..1, reflected at the edge."""
    n_channels = a.shape[1]
    kernel = _gaussian(SSIM_WINDOW, 1.5).to(a)
    half = SSIM_WINDOW // 2

    def blur(x: Tensor) -> Tensor:
        x = F.pad(x, (half, half, half, half), mode="reflect")
        x = F.conv2d(x, kernel.view(1, 1, 1, -1).expand(n_channels, 1, 1, -1), groups=n_channels)
        return F.conv2d(x, kernel.view(1, 1, -1, 1).expand(n_channels, 1, -1, 1), groups=n_channels)

    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * covariance + c2) / (variance_a + variance_b + c2)


def _gaussian(size: int, sigma: float) -> Tensor:
    values = torch.tensor([math.exp(-((i - size // 2) ** 2) / (2 * sigma**2)) for i in range(size)])
    return values / values.sum()
