"""From raw tiles to scores: evidence maps against scipy, standardisation, and every kind of image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flawmap.training.hard_places import ALLOWED, APART, PER_WINDOW, SOUND_RANK, find_peaks, highest_sound_logit, mine
from flawmap.training.scoring import (
    BOXES,
    LOGIT_FLOOR,
    LOGIT_REACH,
    LOGIT_SIGMA,
    RawTile,
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
    found = residual_scales(torch.from_numpy(residual)[None], BOXES)[0].numpy()
    assert found.shape == (len(BOXES), 30, 40)
    for k, box in enumerate(BOXES):
        means = np.stack([ndimage.uniform_filter(plane.astype(np.float64), box) for plane in residual])
        expected, half = np.abs(means).max(axis=0), box // 2
        inner = (slice(half, 30 - half), slice(half, 40 - half))
        np.testing.assert_allclose(found[k][inner], expected[inner], atol=1e-5)


def test_residual_scales_at_the_edge_are_means_of_what_is_there() -> None:
    residual = np.random.default_rng(0).standard_normal((1, 1, 20, 20)).astype(np.float32)
    found = residual_scales(torch.from_numpy(residual), BOXES)[0].numpy()
    for k, box in enumerate(BOXES):
        corner = abs(residual[0, 0, : box // 2 + 1, : box // 2 + 1].mean())
        assert found[k, 0, 0] == pytest.approx(corner, abs=1e-5)


def test_the_sign_counts_before_the_mean() -> None:
    """Noise averages out over a box, a stain does not."""
    checkered = np.indices((40, 40)).sum(axis=0) % 2 * 2.0 - 1
    widest = residual_scales(torch.tensor(checkered, dtype=torch.float32)[None, None], BOXES)[0, -1, 20, 20]
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
    for parameter in model.network.unet.last.parameters():
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
    model.network.unet.last.bias.fill_(1e4)
    _, restored = model(torch.from_numpy(draw_good(64, 64, dtype=dtype)[None]))
    assert (restored.numpy() == np.iinfo(dtype).max).all()
    model.network.unet.last.bias.fill_(-1e4)
    _, restored = model(torch.from_numpy(draw_good(64, 64, dtype=dtype)[None]))
    assert (restored.numpy() == 0).all()


def standard_evidence(model: ScoringModel, tiles: torch.Tensor) -> np.ndarray:
    """[K, H, W]; the standardisation gets a bent line of its own for each map."""
    evidence = model.explain(model.normalise(tiles))[1][0].numpy()
    lines = [getattr(model, name).flatten().tolist() for name in ("location", "scale", "below", "height")]
    standard = []
    for map_, bend, scale, below, height in zip(evidence, *lines, strict=True):
        corners = [bend - 1000 * scale, bend, bend + 1000 * scale]
        standard.append(np.interp(map_, corners, [height - 1000 * below, height, height + 1000]))
    return np.stack(standard)


@torch.no_grad()
def test_the_autoencoders_score_is_its_rarest_evidence() -> None:
    model = untrained_model(AUTOENCODER)
    tiles = torch.from_numpy(draw_good(64, 64)[None])
    expected = standard_evidence(model, tiles).max(axis=0)
    np.testing.assert_allclose(model(tiles)[0][0].numpy(), expected, atol=1e-4)
    reconstruction, evidence = model.explain(model.normalise(tiles))
    residual = (model.normalise(tiles) - reconstruction).abs()
    np.testing.assert_allclose(evidence[0, 0].numpy(), residual[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("bias", [0.0, -100.0])
@torch.no_grad()
def test_the_repair_networks_score_is_the_sum_of_its_evidence(bias: float) -> None:
    """A head that sees nothing anywhere leaves the word to the residual."""
    model = untrained_model(REPAIR)
    model.network.unet.last.bias[4:] += bias  # the logit's four pixels
    tiles = torch.from_numpy(draw_good(64, 64)[None])
    logit, residual = standard_evidence(model, tiles)
    assert (logit < LOGIT_FLOOR).all() == (bias < 0)
    expected = np.maximum(logit, LOGIT_FLOOR) + residual
    np.testing.assert_allclose(model(tiles)[0][0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(("config", "n_maps"), [(REPAIR, 2), (AUTOENCODER, 5)], ids=["repair", "autoencoder"])
def test_evidence_of_tiles_leaves_the_margin_out(config: object, n_maps: int) -> None:
    model = untrained_model(config)  # type: ignore[arg-type]
    tiles = [draw_good(64, 64, seed=s) for s in range(3)]
    found = list(evidence_of_tiles(model, map(RawTile, tiles), 10))
    assert [maps.shape for maps in found] == [(n_maps, 44, 44)] * 3
    with torch.no_grad():
        whole = model.explain(model.normalise(torch.from_numpy(tiles[1][None])))[1][0].numpy()
    np.testing.assert_allclose(found[1], whole[:, 10:-10, 10:-10], atol=1e-5)


def test_peaks_lie_on_the_images_and_come_in_order() -> None:
    model, images = untrained_model(REPAIR), good_images(2, side=120)
    peaks, windows = find_peaks(model, images, (1,), until=0.0)
    assert (peaks, windows) == find_peaks(model, images, (1,), until=0.0)
    assert 1 <= len(peaks) <= windows * PER_WINDOW
    assert [peak.logit for peak in peaks] == sorted((peak.logit for peak in peaks), reverse=True)
    for peak in peaks:
        image = images.padded[peak.place.image]
        assert 0 <= peak.place.y < image.shape[0]
        assert 0 <= peak.place.x < image.shape[1]


@torch.no_grad()
def test_the_first_peak_is_the_highest_logit() -> None:
    """One window is the whole image: brute force says where the logit is highest."""
    model = untrained_model(REPAIR)
    images = good_images(1, side=96)
    logit = model.explain(model.normalise(torch.from_numpy(images.padded[0][None])))[1][0, 0].numpy()
    highest = np.unravel_index(logit.argmax(), logit.shape)
    peaks, _ = find_peaks(model, images, (2,), until=0.0)
    assert (peaks[0].place.y, peaks[0].place.x) == highest
    places = [peak.place for peak in peaks]
    apart = {max(abs(a.y - b.y), abs(a.x - b.x)) for a in places for b in places} - {0}
    assert not apart or min(apart) > APART


def test_a_blank_product_has_a_few_peaks_and_none_suspicious() -> None:
    """Every pixel is as high as the next: a few places, not all of them."""
    images = good_images(1)
    images.padded[0][:] = 100
    mined = mine(untrained_model(REPAIR), images, (3,), until=0.0)
    assert 1 <= len(mined.hard) <= 4 * PER_WINDOW
    assert not mined.suspicious


@pytest.mark.parametrize("defects", [0, 5, 20])
def test_defects_stand_out_of_an_exponential_and_do_not_move_the_limit(defects: int) -> None:
    """Of 40 draws of good peaks one in 1 / ALLOWED or so holds a suspicious one."""
    windows, alarms = 200, 0
    for seed in range(40):
        good = np.random.default_rng(seed).exponential(0.7, PER_WINDOW * windows) - 3
        both = sorted([*good.tolist(), *[9.0] * defects], reverse=True)
        limit = highest_sound_logit(both, windows)
        assert limit < 9
        alarms += int((good > limit).sum())
    assert alarms <= 3 * 40 * ALLOWED


def test_too_few_peaks_tell_nothing() -> None:
    assert highest_sound_logit([9.0] + [0.0] * (SOUND_RANK * 10 - 1), 10) == np.inf
