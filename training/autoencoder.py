"""The autoencoders that users know, as baselines: with a dense latent vector, and with a convolutional code.

A wide code reproduces the defect, a narrow one blurs the good; docs/method.md says why, docs/baselines.md shows how.
With a latent vector the answer for a pixel depends on the whole tile, so tiles have one size, that of training. With a
convolutional code it depends on a neighbourhood, and any tile will do.
"""

import itertools

from torch import Tensor, nn

SLOPE = 0.1  # of the leaky activations


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
        inner = tile_size // self.stride
        self.encoder = _encoder(n_channels, channels)
        self.squeeze = nn.Conv2d(channels[-1], latent_size, inner)
        self.expand = nn.ConvTranspose2d(latent_size, channels[-1], inner)
        self.decoder = nn.Sequential(nn.LeakyReLU(SLOPE), *_decoder(n_channels, channels))

    def encode(self, tiles: Tensor) -> Tensor:
        """Tiles in 0..1, [N, C, tile_size, tile_size] -> latent vectors [N, latent_size, 1, 1]."""
        return self.squeeze(self.encoder(tiles))  # type: ignore[no-any-return]

    def decode(self, code: Tensor) -> Tensor:
        """Latent vectors -> tiles in 0..1."""
        return self.decoder(self.expand(code))  # type: ignore[no-any-return]

    def forward(self, tiles: Tensor) -> Tensor:
        """Tiles in 0..1, [N, C, tile_size, tile_size] -> reconstruction of the same shape, in 0..1."""
        return self.decode(self.encode(tiles))


class ConvolutionalAutoencoder(nn.Module):
    """Strided convolutions down, transposed convolutions up; the code is the last feature map.

    Args:
        n_channels: channels of the image.
        channels: channels a level; each level halves the size.
    """

    stride: int  # px: tile sizes and starts are multiples of it
    receptive_field: int  # px

    def __init__(self, n_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.stride = 2 ** len(channels)
        # A pixel hangs on the code up to 2 cells before and 1 behind its own, a cell on less than 2 strides of pixels.
        self.receptive_field = 6 * self.stride
        self.encoder = _encoder(n_channels, channels)
        self.encoder[-1] = nn.ReLU()  # an L1 penalty makes its zeros exact: the sparse code that it is there for
        self.decoder = nn.Sequential(*_decoder(n_channels, channels))

    def encode(self, tiles: Tensor) -> Tensor:
        """Tiles in 0..1, [N, C, H, W] -> code [N, channels[-1], H / stride, W / stride], never negative."""
        return self.encoder(tiles)  # type: ignore[no-any-return]

    def decode(self, code: Tensor) -> Tensor:
        """Code -> tiles in 0..1."""
        return self.decoder(code)  # type: ignore[no-any-return]

    def forward(self, tiles: Tensor) -> Tensor:
        """Tiles in 0..1, [N, C, H, W], sides multiples of the stride -> reconstruction of the same shape, in 0..1."""
        return self.decode(self.encode(tiles))


def _encoder(n_channels: int, channels: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise([n_channels, *channels]):
        layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)


def _decoder(n_channels: int, channels: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(reversed(channels)):
        layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(SLOPE)]
    return [*layers, nn.ConvTranspose2d(channels[0], n_channels, 4, stride=2, padding=1), nn.Sigmoid()]
