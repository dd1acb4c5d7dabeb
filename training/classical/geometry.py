"""How tiles are cut for a model without a network."""

from flawmap.tiling.classical import golden_template, hog_features, local_median
from flawmap.training.config import TrainConfig
from flawmap.training.tile_geometry import check_overlap, check_sides

STRIDE = 8  # px, of what scores single pixels: any would do; tile sizes are easier to choose among fewer


def stride_of(config: TrainConfig) -> int:
    """What tile sizes and starts are multiples of, px."""
    return hog_features.STRIDE if config.network.kind == "hog" else STRIDE


def receptive_field_of(config: TrainConfig) -> int:
    """Width in px of what one score depends on."""
    if config.network.kind == "hog":
        return hog_features.RECEPTIVE_FIELD
    if config.network.kind == "template":
        return 2 * config.template.slack + golden_template.BOX
    return config.median.window + max(local_median.BOXES) - 1


def checked_overlap(config: TrainConfig) -> int:
    """The overlap in px that inspection cuts with; UsageError, naming the setting, for tiles that do not fit."""
    stride = stride_of(config)
    needed = -(-receptive_field_of(config) // stride) * stride
    overlap = needed if config.tile.overlap is None else config.tile.overlap
    check_overlap(overlap, needed)
    check_sides(config.tile, stride, overlap, config.tile.size)
    return overlap
