"""Losses against numpy, scikit-image and hand calculation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from flawmap.training.losses import (
    CHARBONNIER_EPSILON,
    balanced_mean,
    damage_loss,
    gradient_loss,
    pixel_loss,
    ssim_map,
)

LOSSES = ("charbonnier", "l1", "mse", "bce", "ssim")


def pair(seed: int, channels: int = 2, side: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    """Two float32 [2, channels, side, side] in 0..1."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, channels, side, side)
    return torch.rand(shape, generator=generator), torch.rand(shape, generator=generator)


NUMPY = {
    "mse": lambda a, b: (a - b) ** 2,
    "l1": lambda a, b: np.abs(a - b),
    "charbonnier": lambda a, b: np.hypot(a - b, CHARBONNIER_EPSILON) - CHARBONNIER_EPSILON,
    "bce": lambda a, b: -(b * np.log(a) + (1 - b) * np.log(1 - a)),
}


@pytest.mark.parametrize("name", sorted(NUMPY))
def test_pixel_losses_are_numpys(name: str) -> None:
    a, b = pair(1)
    a = a.clamp(0.01, 0.99)
    expected = NUMPY[name](a.double().numpy(), b.double().numpy()).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(pixel_loss(name, a, b).numpy(), expected, rtol=2e-4, atol=2e-6)


def test_bce_clamps_a_target_that_noise_pushed_out_of_range() -> None:
    target = torch.tensor([-0.1, 0.3, 1.2]).view(1, 1, 1, 3)
    given_back = torch.full_like(target, 0.25)
    expected = [-math.log(0.75), -(0.3 * math.log(0.25) + 0.7 * math.log(0.75)), -math.log(0.25)]
    np.testing.assert_allclose(pixel_loss("bce", given_back, target).flatten().numpy(), expected, rtol=1e-5)


def test_ssim_is_scikit_images() -> None:
    """Inside, where neither edge rule reaches."""
    rng = np.random.default_rng(0)
    a = rng.random((40, 44), dtype=np.float32)
    b = np.clip(a + 0.2 * rng.standard_normal(a.shape, dtype=np.float32), 0, 1)
    mine = ssim_map(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None])[0, 0].numpy()
    _, theirs = structural_similarity(
        a.astype(np.float64), b.astype(np.float64), data_range=1.0, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )  # fmt: skip
    np.testing.assert_allclose(mine[5:-5, 5:-5], theirs[5:-5, 5:-5], atol=1e-4)


def test_ssim_keeps_channels_apart() -> None:
    a, b = pair(2, channels=3)
    together = ssim_map(a, b)
    for channel in range(3):
        alone = ssim_map(a[:, channel : channel + 1], b[:, channel : channel + 1])
        torch.testing.assert_close(together[:, channel : channel + 1], alone)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(LOSSES))
def test_a_loss_is_smallest_for_the_right_answer(seed: int, name: str) -> None:
    a, b = pair(seed, channels=1, side=16)
    a, b = a.clamp(0.01, 0.99), b.clamp(0.01, 0.99)
    wrong, right = pixel_loss(name, a, b), pixel_loss(name, b, b)
    assert wrong.shape == (2, 1, 16, 16)
    assert float(wrong.mean()) > float(right.mean())
    if name != "bce":
        assert float(right.abs().max()) < 1e-4


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_at_the_right_answer(name: str) -> None:
    target = torch.full((1, 1, 16, 16), 0.5)
    answer = target.clone().requires_grad_()
    pixel_loss(name, answer, target).mean().backward()
    assert answer.grad is not None
    assert bool(torch.isfinite(answer.grad).all())


def test_gradient_loss_is_numpys() -> None:
    a, b = pair(3)
    difference = (a - b).numpy()
    expected = (np.abs(np.diff(difference, axis=2)).mean() + np.abs(np.diff(difference, axis=3)).mean()) / 2
    assert float(gradient_loss(a, b)) == pytest.approx(expected, rel=1e-5)


def test_gradient_loss_does_not_see_a_level() -> None:
    a, _ = pair(4)
    assert float(gradient_loss(a + 0.25, a)) < 1e-6


@given(share=st.floats(0, 1), seed=st.integers(0, 10**6))
def test_balanced_mean_is_two_means(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.random((2, 1, 9, 7), dtype=np.float32)
    mask = rng.random(cost.shape) < share
    damaged, clean = balanced_mean(torch.from_numpy(cost), torch.from_numpy(mask.astype(np.float32)))
    assert float(damaged) == pytest.approx(cost[mask].mean() if mask.any() else 0.0, abs=1e-5)
    assert float(clean) == pytest.approx(cost[~mask].mean() if not mask.all() else 0.0, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_balanced_mean_of_an_empty_mask_has_a_gradient(value: float) -> None:
    cost = torch.rand(1, 1, 4, 4).requires_grad_()
    damaged, clean = balanced_mean(cost, torch.full((1, 1, 4, 4), value))
    (damaged + clean).backward()
    assert float((clean if value else damaged).detach()) == 0.0
    assert bool(torch.isfinite(cost.grad).all())


@given(logit=st.floats(-20, 20), truth=st.sampled_from([0.0, 1.0]))
def test_damage_loss_by_hand(logit: float, truth: float) -> None:
    right = 1 / (1 + math.exp(-logit)) if truth else 1 / (1 + math.exp(logit))
    found = float(damage_loss(torch.full((1, 1, 2, 2), logit), torch.full((1, 1, 2, 2), truth)))
    assert found == pytest.approx(-math.log(right), rel=1e-3, abs=1e-6)


def test_damage_loss_of_wild_logits_is_finite() -> None:
    logit = torch.tensor([-1e4, 1e4]).view(1, 1, 1, 2).requires_grad_()
    for truth in (0.0, 1.0):
        loss = damage_loss(logit, torch.full((1, 1, 1, 2), truth))
        loss.backward()
        assert math.isfinite(float(loss.detach()))
    assert bool(torch.isfinite(logit.grad).all())
