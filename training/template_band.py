"""The golden template's evidence, in torch: how far a pixel leaves what the reference shows within a few px around it.

The band is that of `flawmap.tiling.classical.golden_template`, which is a baseline by itself. Beside the repair network
it speaks up where that one, which never saw the defect's like, repairs it half and is half sure: nothing is learned
here, so nothing is forgiven but an edge a few px beside its place (docs/detection.md).
"""

from dataclasses import dataclass

import torch.nn.functional as F  # noqa: N812 (torch's own convention)
from torch import Tensor

LEAST_NOISE = 1e-3  # in normalised units: drawn pictures of floats may show none, and good ones may be all alike


@dataclass(frozen=True)
class TemplateBand:
    """`slack`: px by which an edge may lie beside its place. `noise`: the camera's, in normalised units."""

    slack: int
    noise: float

    @classmethod
    def of(cls, slack: int, noise: float) -> "TemplateBand":
        """With as much noise as a quotient needs."""
        return cls(slack, max(noise, LEAST_NOISE))

    def beyond(self, tiles: Tensor, reference: Tensor, spread: Tensor) -> Tensor:
        """How far outside the band, in units of noise and spread: [N, C, H, W], 0 within it, below 0 if too dark.

        Normalised `tiles` and `reference` [N, C, H, W], `spread` [N, 1, H, W].
        """
        over = F.relu(tiles - _highest(reference, self.slack))
        under = F.relu(-_highest(-reference, self.slack) - tiles)
        return (over - under) / (spread + self.noise)


def _highest(x: Tensor, reach: int) -> Tensor:
    """The highest value within `reach` px along rows and columns; of what there is, at an edge."""
    x = F.max_pool2d(x, (2 * reach + 1, 1), stride=1, padding=(reach, 0))
    return F.max_pool2d(x, (1, 2 * reach + 1), stride=1, padding=(0, reach))
