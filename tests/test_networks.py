"""What tiling relies on: how far a network looks, at which offsets it answers alike, and its shapes."""

import pytest
import torch

from flawmap.training.autoencoder import BottleneckAutoencoder
from flawmap.training.repair_network import RepairNetwork, receptive_field
from flawmap.training.tile_geometry import score_receptive_field
from tests.products import tiny_config, untrained_model

SHAPES = [(6, 8), (4, 6, 8), (4, 4, 6, 6)]


def shaken(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """The same network in eval mode with batch statistics as a training leaves them."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.copy_(torch.rand(module.num_features, generator=generator) - 0.5)
            # Small: activations stay as large as in a trained network, however deep.
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) * 0.2 + 0.1)
    return network.eval()


@pytest.fixture(params=SHAPES, ids=lambda channels: f"{len(channels)}levels")
def repair(request: pytest.FixtureRequest) -> RepairNetwork:
    torch.manual_seed(5)
    return shaken(RepairNetwork(1, request.param))


@pytest.mark.parametrize(("n_levels", "stride"), [(2, 4), (3, 8), (4, 16)])
def test_stride_and_receptive_field(n_levels: int, stride: int) -> None:
    network = RepairNetwork(1, (4,) * n_levels)
    assert network.stride == stride
    assert network.receptive_field == receptive_field(n_levels)
    assert receptive_field(n_levels) % (2 * stride) == 0  # half of it is a number of strides


@torch.no_grad()
def test_a_pixel_changes_only_its_surroundings(repair: RepairNetwork) -> None:
    """At every offset in a stride, on both outputs; and the claim is not a wild exaggeration either."""
    side = repair.receptive_field + 3 * repair.stride
    side += -side % repair.stride
    tile = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(1))
    before = repair(tile)
    farthest = 0
    for offset in range(repair.stride):
        at = side // 2 + offset
        changed = tile.clone()
        changed[0, 0, at, at] += 50.0
        for old, new in zip(before, repair(changed), strict=True):
            _, _, ys, xs = torch.nonzero(old != new, as_tuple=True)
            farthest = max(farthest, int((ys - at).abs().max()), int((xs - at).abs().max()))
    assert 0.3 * repair.receptive_field / 2 < farthest <= repair.receptive_field / 2


@torch.no_grad()
def test_a_tile_equals_the_whole_at_multiples_of_the_stride_and_nowhere_else(repair: RepairNetwork) -> None:
    reach, stride = repair.receptive_field // 2, repair.stride
    size = 2 * reach + 4 * stride
    side = size + 2 * stride
    whole = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(2))
    answers = repair(whole)
    for start in range(stride + 1):
        tile = repair(whole[:, :, start : start + size, start : start + size].contiguous())
        inner = slice(reach, size - reach)
        in_whole = slice(start + reach, start + size - reach)
        apart = max(
            float((part[:, :, inner, inner] - all_of_it[:, :, in_whole, in_whole]).abs().max())
            for part, all_of_it in zip(tile, answers, strict=True)
        )
        if start % stride:
            assert apart > 1e-3, f"offset {start} px: tiles may start anywhere after all"
        else:
            assert apart < 1e-5, f"offset {start} px"


@torch.no_grad()
def test_the_whole_score_keeps_to_its_receptive_field() -> None:
    """Residual boxes and smoothing included: what the overlap of tiles is drawn from."""
    model = untrained_model(tiny_config())
    side, at = 128, 64
    raw = torch.randint(90, 160, (1, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    before, _ = model(raw)
    raw[0, at, at] = 255 - raw[0, at, at]
    after, _ = model(raw)
    _, ys, xs = torch.nonzero(before != after, as_tuple=True)
    farthest = max(int((ys - at).abs().max()), int((xs - at).abs().max()))
    assert 8 <= farthest <= score_receptive_field(model.network) / 2


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (64, 40)])
def test_shapes_of_the_repair_network(channels: int, size: tuple[int, int]) -> None:
    repaired, logit = RepairNetwork(channels, (4, 6))(torch.randn(2, channels, *size))
    assert repaired.shape == (2, channels, *size)
    assert logit.shape == (2, 1, *size)


@torch.no_grad()
def test_a_network_that_changes_nothing_repairs_perfectly() -> None:
    network = RepairNetwork(3, (4, 6))
    for parameter in network.unet.last.parameters():
        torch.nn.init.zeros_(parameter)
    tile = torch.randn(1, 3, 32, 32)
    repaired, logit = network(tile)
    assert torch.equal(repaired, tile)
    assert torch.equal(logit, torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("levels", [(4, 6), (4, 6, 8, 8)])
def test_the_autoencoder_gives_a_tile_of_0_to_1(channels: int, levels: tuple[int, ...]) -> None:
    network = BottleneckAutoencoder(channels, levels, 16, 64)
    assert network.stride == 2 ** len(levels)
    answer = network(100 * torch.randn(2, channels, 64, 64)).detach()
    assert answer.shape == (2, channels, 64, 64)
    assert 0 <= float(answer.min()) <= float(answer.max()) <= 1


@pytest.mark.parametrize("latent_size", [1, 16, 256])
def test_the_autoencoder_squeezes_a_tile_into_its_latent_size(latent_size: int) -> None:
    network = BottleneckAutoencoder(1, (4, 6), latent_size, 64)
    assert network.squeeze(network.encoder(torch.rand(3, 1, 64, 64))).shape == (3, latent_size, 1, 1)


@torch.no_grad()
def test_the_autoencoder_looks_at_the_whole_tile() -> None:
    """Which is why its tiles have one size."""
    torch.manual_seed(0)
    network = shaken(BottleneckAutoencoder(1, (4, 6), 16, 64))
    tile = torch.rand(1, 1, 64, 64)
    changed = tile.clone()
    changed[0, 0, 0, 0] += 5
    assert network.receptive_field == 64
    assert float((network(tile) - network(changed))[0, 0, -8:, -8:].abs().max()) > 0
