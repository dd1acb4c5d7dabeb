"""The golden template's evidence beside the network's: the baseline's numpy says what it must be, to the checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.classical.golden_template import GoldenTemplate
from flawmap.tiling.context_map import ContextMap
from flawmap.training import checkpoint as checkpoints
from flawmap.training.good_images import Normalisation
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.scoring import (
    LOGIT_FLOOR,
    TEMPLATE_FLOOR,
    RawTile,
    ScoringModel,
)
from flawmap.training.standardisation import Standardisation
from flawmap.training.template_band import LEAST_NOISE, TemplateBand
from tests.products import SCALE, draw_good, tiny_config, untrained_model, write_untrained

CONFIG = tiny_config(network={"channels": [6, 10]})
LINES = Standardisation((0.1, 0.2, 0.4), (0.5, 0.7, 0.9), (0.6, 2.5, 8.0), (-0.4, -1.0, 0.3))


def aligned_model(channels: int, dtype: str, band: TemplateBand | None, lines: Standardisation = LINES) -> ScoringModel:
    plain = untrained_model(CONFIG, channels=channels, dtype=dtype)
    normalisation = Normalisation(tuple(plain.mean.flatten().tolist()), tuple(plain.std.flatten().tolist()))
    network = RepairNetwork(channels, (6, 10), channels + 1)
    return ScoringModel(network, normalisation, lines, np.dtype(dtype), template=band).eval()


def tile_and_context(side: int, channels: int, dtype: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = draw_good(side, side, channels=channels, dtype=dtype, seed=seed)
    tile = draw_good(side, side, channels=channels, dtype=dtype, seed=seed + 1)
    tile[side // 2 :, side // 3 : side // 3 + 5] = tile.max()
    spread = (rng.random((side, side)) * 0.05 * SCALE[dtype]).astype(np.float32)
    return tile, ContextMap.of(reference, spread).pixels


@settings(max_examples=30, deadline=None)
@given(
    slack=st.integers(0, 5),
    noise=st.floats(0.02, 0.5),
    channels=st.sampled_from([1, 3]),
    dtype=st.sampled_from(sorted(SCALE)),
    seed=st.integers(0, 10**6),
)
@torch.no_grad()
def test_it_is_the_baselines_evidence(slack: int, noise: float, channels: int, dtype: str, seed: int) -> None:
    model = aligned_model(channels, dtype, TemplateBand(slack, noise))
    tile, context = tile_and_context(40, channels, dtype, seed)
    x = model.normalise(torch.from_numpy(tile[None]))
    shown = model.normalise_context(torch.from_numpy(context[None]))
    found = model.explain(x, shown)[1]
    assert found.shape == (1, 3, 40, 40)
    nowhere = np.zeros(1, np.float32)
    baseline = GoldenTemplate(slack, noise * model.spread_unit, nowhere, nowhere + 1)
    inner = np.s_[1:-1, 1:-1]  # the baseline's mean mirrors the edge
    np.testing.assert_allclose(found[0, 2].numpy()[inner], baseline.evidence(tile, context)[0][inner], atol=2e-3)


@torch.no_grad()
def test_the_score_is_the_sum_of_three() -> None:
    tile, context = tile_and_context(64, 1, "uint8", 3)
    tiles, contexts = torch.from_numpy(tile[None]), torch.from_numpy(context[None])
    with_band = aligned_model(1, "uint8", TemplateBand(3, 0.1))
    evidence = with_band.explain(with_band.normalise(tiles), with_band.normalise_context(contexts))[1][0].double()
    standard = []
    for k in range(3):
        z = (evidence[k].numpy() - LINES.location[k]) / LINES.scale[k]
        standard.append(LINES.height[k] + np.where(z > 0, z, LINES.below[k] * z))
    assert (standard[2] < TEMPLATE_FLOOR + 2).any() and (standard[2] > 1).any()
    expected = np.maximum(standard[0], LOGIT_FLOOR) + standard[1] + np.maximum(standard[2], TEMPLATE_FLOOR)
    np.testing.assert_allclose(with_band(tiles, contexts)[0][0].numpy(), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_the_band_hides_costs_no_more_than_the_floor() -> None:
    """A product that leaves its band everywhere has a line on which "within it" is rarer than anything."""
    steep = replace(LINES, below=(0.6, 2.5, 1000.0))
    tile, context = tile_and_context(64, 1, "uint8", 3)
    tiles, contexts = torch.from_numpy(tile[None]), torch.from_numpy(context[None])
    with_band = aligned_model(1, "uint8", TemplateBand(3, 0.1), steep)
    two = Standardisation(*(values[:2] for values in (LINES.location, LINES.scale, LINES.below, LINES.height)))
    without = aligned_model(1, "uint8", None, two)
    without.load_state_dict(with_band.state_dict() | {k: v for k, v in without.state_dict().items() if v.numel() == 2})
    difference = (with_band(tiles, contexts)[0] - without(tiles, contexts)[0]).numpy()
    assert difference.min() == pytest.approx(TEMPLATE_FLOOR, abs=1e-4)
    assert difference.max() > 1


def test_a_product_without_noise_can_be_divided_by() -> None:
    assert TemplateBand.of(3, 0.0) == TemplateBand(3, LEAST_NOISE)
    assert TemplateBand.of(3, 0.2) == TemplateBand(3, 0.2)
    black = torch.zeros(1, 1, 8, 8)
    assert bool((TemplateBand.of(1, 0.0).beyond(black, black, black) == 0).all())


@torch.no_grad()
def test_a_checkpoint_keeps_it_and_one_of_before_goes_without(tmp_path: Path) -> None:
    old = checkpoints.load(write_untrained(tmp_path, CONFIG))
    assert old.model.template is None
    model = aligned_model(1, "uint8", TemplateBand(3, 0.125))
    tile, context = tile_and_context(64, 1, "uint8", 3)
    proof, reference = RawTile(tile[None], context[None]), ContextMap(context)
    checkpoints.save(tmp_path / "new.ckpt", model, CONFIG, old.split, proof, reference, {})
    loaded = checkpoints.load(tmp_path / "new.ckpt").model
    assert loaded.template == TemplateBand(3, 0.125)
    tiles, contexts = torch.from_numpy(tile[None]), torch.from_numpy(context[None])
    assert torch.equal(loaded(tiles, contexts)[0], model(tiles, contexts)[0])
    content = torch.load(tmp_path / "new.ckpt", weights_only=True)
    del content["template"]
    content["standardisation"] = {name: line[:2] for name, line in content["standardisation"].items()}
    torch.save(content | {"flawmap_checkpoint": 3}, tmp_path / "old.ckpt")
    before = checkpoints.load(tmp_path / "old.ckpt").model
    assert before.template is None
    shown = before.normalise_context(contexts)
    assert before.explain(before.normalise(tiles), shown)[1].shape == (1, 2, 64, 64)
