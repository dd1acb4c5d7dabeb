"""Noise and blur of a picture, against pictures of known noise and blur."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from flawmap.training.camera import Camera, blur_of
from flawmap.training.good_images import GoodImages, Normalisation
from tests.products import draw_good


@pytest.mark.parametrize("sigma", [2.0, 6.0])
def test_noise_is_measured_under_structure(sigma: float) -> None:
    """Gaussian noise of a known deviation on a strong, slow pattern, in grey levels and then in normalised units."""
    rng = np.random.default_rng(0)
    wave = 128 + 60 * np.sin(np.arange(512) / 30)[None, :] * np.cos(np.arange(512) / 40)[:, None]
    image = np.clip(np.round(wave + sigma * rng.standard_normal(wave.shape)), 0, 255).astype(np.uint8)
    images = GoodImages([Path("a")], [image], 0, 0, [image.shape[:2]])
    assert Camera.measure(images, Normalisation((0.0,), (1.0,))).noise == pytest.approx(sigma, rel=0.08)
    assert Camera.measure(images, Normalisation((9.0,), (4.0,))).noise == pytest.approx(sigma / 4, rel=0.08)


def test_noise_of_a_dark_background_is_not_zero() -> None:
    """Half the picture is black: its median says 0, but a pixel of 0 may be anything up to half a grey level."""
    image = np.zeros((64, 64), np.uint8)
    image[:, :20] = draw_good(64, 20)
    camera = Camera.measure(GoodImages([Path("a")], [image], 0, 0, [image.shape[:2]]), Normalisation((0.0,), (2.0,)))
    assert camera.noise == pytest.approx(12**-0.5 / 2)


def steps(blur: float, noise: float, seed: int = 0) -> np.ndarray:
    """Rectangles of all sizes, seen through a lens of a known blur (drawn 8 times finer) by a noisy sensor."""
    rng = np.random.default_rng(seed)
    fine = np.full((2400, 2400), 100, np.float32)
    for _ in range(60):
        (y, x), (h, w) = rng.integers(0, 2300, 2), rng.integers(80, 900, 2)
        fine[y : y + h, x : x + w] = rng.uniform(20, 220)
    if blur:
        fine = cv2.GaussianBlur(fine, (0, 0), 8 * blur)
    seen = cv2.resize(fine, (300, 300), interpolation=cv2.INTER_AREA)
    return (seen + noise * rng.standard_normal(seen.shape)).astype(np.float32)


@pytest.mark.parametrize("noise", [0.0, 3.0])
@pytest.mark.parametrize(("blur", "off"), [(0.0, 0.35), (0.7, 0.35), (1.0, 0.3), (1.5, 0.3), (2.0, 0.4)])
def test_blur_is_the_lens(blur: float, off: float, noise: float) -> None:
    found = [blur_of(steps(blur, noise, seed)) for seed in range(4)]
    assert np.median(found) == pytest.approx(blur, abs=off)


def test_units_do_not_change_the_blur() -> None:
    picture = steps(1.2, 1.0)
    assert blur_of(picture * 0.01 - 3) == pytest.approx(blur_of(picture), rel=1e-3)


def test_a_blank_picture_has_no_blur() -> None:
    assert blur_of(np.zeros((64, 64), np.float32)) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_a_camera_is_measured_on_small_and_colour_images(channels: int) -> None:
    padded = [draw_good(40, 30, channels=channels, seed=seed) for seed in range(3)]
    mean, std = (100.0,) * channels, (20.0,) * channels
    camera = Camera.measure(
        GoodImages([Path("a")] * 3, list(padded), 0, 0, [p.shape[:2] for p in padded]), Normalisation(mean, std)
    )
    assert camera.noise > 0
    assert 0 <= camera.blur < 5
