"""The rules that tile settings must keep, checked before a training starts rather than after it ends."""

from flawmap.tiling.errors import UsageError
from flawmap.training.autoencoder import BottleneckAutoencoder
from flawmap.training.config import TileSettings, TrainConfig
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.scoring import BOXES, LOGIT_REACH, Network


def score_receptive_field(network: Network) -> int:
    """Width in px of what one score can depend on."""
    if isinstance(network, RepairNetwork):  # smoothing reaches farther than the residual's box
        return network.receptive_field + 2 * LOGIT_REACH
    return network.receptive_field + max(BOXES) - 1  # more than SSIM's window


def needed_overlap(config: TrainConfig, network: Network) -> int:
    """The overlap in px at which tiles agree where they meet, a multiple of the network's stride."""
    if isinstance(network, BottleneckAutoencoder):  # none makes two tiles agree exactly: a quarter is customary
        return config.tile.train_size // 4 // network.stride * network.stride
    return -(-score_receptive_field(network) // network.stride) * network.stride


def tile_overlap(config: TrainConfig, network: Network) -> int:
    """The overlap in px that inspection cuts with: the settings' own, else what the network needs."""
    return needed_overlap(config, network) if config.tile.overlap is None else config.tile.overlap


def check_tile_settings(config: TrainConfig, network: Network) -> None:
    """UsageError, naming the setting, its value and the rule, unless `network` can work with the tiles of `config`."""
    tile, stride = config.tile, network.stride
    overlap = tile_overlap(config, network)
    size = tile.size
    if isinstance(network, BottleneckAutoencoder):
        if size not in (None, tile.train_size):
            raise UsageError(
                f"`tile.size` (={size}) must be `tile.train_size` (={tile.train_size}): "
                "an autoencoder with a latent vector takes no other tile"
            )
        size = tile.train_size
    else:
        check_overlap(overlap, needed_overlap(config, network))
    check_sides(tile, stride, overlap, size)


def check_overlap(overlap: int, needed: int) -> None:
    """UsageError for an `overlap` smaller than the `needed` one, px."""
    if overlap < needed:
        raise UsageError(
            f"`tile.overlap` (={overlap}) must be at least the network's receptive field "
            f"(={needed}): tiles would disagree where they meet"
        )


def check_sides(tile: TileSettings, stride: int, overlap: int, size: int | None) -> None:
    """UsageError for a side of `tile` that is no multiple of `stride`, or an `overlap` of a whole tile; px."""
    sides = {"train_size": tile.train_size, "border": tile.border, "overlap": overlap, "size": size}
    for name, value in sides.items():
        if value is not None and value % stride:
            raise UsageError(f"`tile.{name}` (={value}) must be a multiple of the network's stride (={stride})")
    if size is not None and overlap >= size:
        raise UsageError(f"`tile.overlap` (={overlap}) must be smaller than `tile.size` (={size})")
