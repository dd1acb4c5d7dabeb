"""The bottleneck autoencoder that users know: the whole tile through a short latent vector and back.

It is here as a baseline. A wide latent reproduces the defect, a narrow one blurs the good; docs/method.md says
why. Its answer for a pixel depends on the whole tile, so tiles have one size, that of training.
"""

import itertools

from torch import Tensor, nn


class BottleneckAutoencoder(nn.Module):
    """Strided convolutions down, a dense latent vector, transposed convolutions up.

    Args:
        n_channels: channels of the image.
        channels: channels a level; each level halves the size.
        latent_size: numbers that a tile is squeezed into.
        tile_size: height and width of a tile in px, a multiple of `stride`.
    """

    stride: int  # px: tile sizes are multiples of it
    receptive_field: int  # px

    def __init__(self, n_channels: int, channels: tuple[int, ...], latent_size: int, tile_size: int) -> None:
        super().__init__()
        self.stride = 2 ** len(channels)
        self.receptive_field = tile_size
        wide = [n_channels, *channels]
        encoder: list[nn.Module] = []
        for a, b in itertools.pairwise(wide):
            encoder += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(0.1)]
        inner = tile_size // self.stride
        self.encoder = nn.Sequential(*encoder)
        self.squeeze = nn.Conv2d(channels[-1], latent_size, inner)
        self.expand = nn.ConvTranspose2d(latent_size, channels[-1], inner)
        decoder: list[nn.Module] = [nn.LeakyReLU(0.1)]
        narrow = list(reversed(channels))
        for a, b in itertools.pairwise(narrow):
            decoder += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(0.1)]
        decoder += [nn.ConvTranspose2d(channels[0], n_channels, 4, stride=2, padding=1), nn.Sigmoid()]
        self.decoder = nn.Sequential(*decoder)

    def forward(self, tiles: Tensor) -> Tensor:
        """Tiles in 0..1, [N, C, tile_size, tile_size] -> reconstruction of the same shape, in 0..1."""
        return self.decoder(self.expand(self.squeeze(self.encoder(tiles))))  # type: ignore[no-any-return]
