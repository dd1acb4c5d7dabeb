"""From raw tiles to scores: evidence maps against scipy, standardisation, and every kind of image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flawmap.training.hard_places import APART, PER_WINDOW, find_hard_places
from flawmap.training.scoring import (
    BOXES,
    LOGIT_REACH,
    LOGIT_SIGMA,
    ScoringModel,
    evidence_of_tiles,
    residual_scales,
)
from tests.products import draw_good, good_images, tiny_config, untrained_model

REPAIR = tiny_config()
AUTOENCODER = tiny_config(network={"kind": "autoencoder", "latent_size": 8})


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), channels=st.sampled_from([1, 3]))
def test_residual_scales_are_box_means(seed: int, channels: int) -> None:
    """Inside, where the window is whole."""
    residual = np.random.default_rng(seed).standard_normal((channels, 30, 40)).astype(np.float32)
    found = residual_scales(torch.from_numpy(residual)[None])[0].numpy()
    assert found.shape == (len(BOXES), 30, 40)
    for k, box in enumerate(BOXES):
        means = np.stack([ndimage.uniform_filter(plane.astype(np.float64), box) for plane in residual])
        expected, half = np.abs(means).max(axis=0), box // 2
        inner = (slice(half, 30 - half), slice(half, 40 - half))
        np.testing.assert_allclose(found[k][inner], expected[inner], atol=1e-5)


def test_residual_scales_at_the_edge_are_means_of_what_is_there() -> None:
    residual = np.random.default_rng(0).standard_normal((1, 1, 20, 20)).astype(np.float32)
    found = residual_scales(torch.from_numpy(residual))[0].numpy()
    for k, box in enumerate(BOXES):
        corner = abs(residual[0, 0, : box // 2 + 1, : box // 2 + 1].mean())
        assert found[k, 0, 0] == pytest.approx(corner, abs=1e-5)


def test_the_sign_counts_before_the_mean() -> None:
    """Noise averages out over a box, a stain does not."""
    checkered = np.indices((40, 40)).sum(axis=0) % 2 * 2.0 - 1
    widest = residual_scales(torch.tensor(checkered, dtype=torch.float32)[None, None])[0, -1, 20, 20]
    assert float(widest) < 0.01


@torch.no_grad()
def test_the_logit_is_smoothed_by_a_gaussian() -> None:
    model = untrained_model(REPAIR)
    logit = torch.randn(1, 1, 40, 44, generator=torch.Generator().manual_seed(0))
    found = model._smooth(logit)[0, 0].numpy()
    expected = ndimage.gaussian_filter(logit[0, 0].double().numpy(), LOGIT_SIGMA, radius=LOGIT_REACH, mode="mirror")
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("config", [REPAIR, AUTOENCODER], ids=["repair", "autoencoder"])
@torch.no_grad()
def test_every_kind_of_image_is_scored(config: object, dtype: str, channels: int) -> None:
    model = untrained_model(config, channels=channels, dtype=dtype)  # type: ignore[arg-type]
    tiles = np.stack([draw_good(64, 64, channels=channels, dtype=dtype, seed=s) for s in range(2)])
    score, reconstruction = model(torch.from_numpy(tiles))
    assert score.dtype == torch.float32
    assert score.shape == (2, 64, 64)
    assert bool(torch.isfinite(score).all())
    assert reconstruction.numpy().dtype == dtype
    assert reconstruction.shape == tiles.shape


def perfect(dtype: str, channels: int) -> ScoringModel:
    """A model whose repair network changes nothing."""
    model = untrained_model(REPAIR, channels=channels, dtype=dtype)
    for parameter in model.network.repair.last.parameters():
        torch.nn.init.zeros_(parameter)
    return model


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@torch.no_grad()
def test_values_come_back_as_they_went_in(dtype: str, channels: int) -> None:
    """Normalising and restoring loses nothing, over the whole range of the dtype."""
    top = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    shape = (1, 64, 64) if channels == 1 else (1, 64, 64, 3)
    tiles = np.linspace(0, top, int(np.prod(shape))).reshape(shape).astype(dtype)
    _, restored = perfect(dtype, channels)(torch.from_numpy(tiles))
    np.testing.assert_allclose(restored.numpy(), tiles, atol=1e-6 if dtype == "float32" else 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@torch.no_grad()
def test_a_reconstruction_beyond_the_range_is_clipped_not_wrapped(dtype: str) -> None:
    model = perfect(dtype, 1)
    model.network.repair.last.bias.fill_(1e4)
    _, restored = model(torch.from_numpy(draw_good(64, 64, dtype=dtype)[None]))
    assert (restored.numpy() == np.iinfo(dtype).max).all()
    model.network.repair.last.bias.fill_(-1e4)
    _, restored = model(torch.from_numpy(draw_good(64, 64, dtype=dtype)[None]))
    assert (restored.numpy() == 0).all()


@torch.no_grad()
def test_the_score_is_the_largest_standardised_evidence() -> None:
    model = untrained_model(REPAIR)
    tiles = torch.from_numpy(draw_good(64, 64)[None])
    reconstruction, evidence = model.explain(model.normalise(tiles))
    location, scale = (getattr(model, name).numpy().reshape(-1, 1, 1) for name in ("location", "scale"))
    expected = ((evidence[0].numpy() - location) / scale).max(axis=0)
    np.testing.assert_allclose(model(tiles)[0][0].numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(
        evidence[0, 1].numpy(), (model.normalise(tiles) - reconstruction).abs()[0, 0].numpy(), atol=1e-6
    )


@pytest.mark.parametrize(("config", "n_maps"), [(REPAIR, 6), (AUTOENCODER, 5)], ids=["repair", "autoencoder"])
def test_evidence_of_tiles_leaves_the_margin_out(config: object, n_maps: int) -> None:
    model = untrained_model(config)  # type: ignore[arg-type]
    tiles = [draw_good(64, 64, seed=s) for s in range(3)]
    found = evidence_of_tiles(model, iter(tiles), 10)
    assert found.shape == (n_maps, 3 * 44 * 44)
    with torch.no_grad():
        whole = model.explain(model.normalise(torch.from_numpy(tiles[1][None])))[1][0].numpy()
    np.testing.assert_allclose(
        found[:, 44 * 44 : 2 * 44 * 44].reshape(n_maps, 44, 44), whole[:, 10:-10, 10:-10], atol=1e-5
    )


def test_hard_places_are_peaks_of_the_logit() -> None:
    model, images = untrained_model(REPAIR), good_images(2, side=120)
    places = find_hard_places(model, images, (1,), until=0.0)
    assert places == find_hard_places(model, images, (1,), until=0.0)
    assert 1 <= len(places) <= 4 * PER_WINDOW / 4 + 1
    for place in places:
        image = images.padded[place.image]
        assert 0 <= place.y < image.shape[0]
        assert 0 <= place.x < image.shape[1]


@torch.no_grad()
def test_the_hardest_place_is_the_highest_peak() -> None:
    """One window is the whole image: brute force says where the logit is highest."""
    model = untrained_model(REPAIR)
    images = good_images(1, side=96)
    logit = model.explain(model.normalise(torch.from_numpy(images.padded[0][None])))[1][0, 0].numpy()
    highest = np.unravel_index(logit.argmax(), logit.shape)
    places = find_hard_places(model, images, (2,), until=0.0)
    assert (places[0].y, places[0].x) == highest
    apart = {max(abs(a.y - b.y), abs(a.x - b.x)) for a in places for b in places} - {0}
    assert not apart or min(apart) > APART


def test_hard_places_of_a_blank_product() -> None:
    """Every pixel is as high as the next: a few places, not all of them."""
    images = good_images(1)
    images.padded[0][:] = 100
    assert 1 <= len(find_hard_places(untrained_model(REPAIR), images, (3,), until=0.0)) <= 4 * PER_WINDOW
