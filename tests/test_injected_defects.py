"""Injected defects: as large and as strong as they say, on every kind of image, and noise as it was drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.inspect.detection_limit.injected_defects import (
    DRAW,
    WITH_CONTRAST,
    WITHOUT_CONTRAST,
    Planned,
    change,
    half_contrast,
)
from flawmap.inspect.detection_limit.local_noise import deviation_floor, local_deviation, sensor_noise

SIZES = (3, 5, 7, 11, 17, 27, 41, 64)
NOISE = {"uint8": 4.0, "uint16": 900.0, "float32": 0.02}
LEVEL = {"uint8": 128.0, "uint16": 30_000.0, "float32": 0.5}

kinds = st.sampled_from(sorted(DRAW))
seeds = st.integers(0, 10_000)


def planned(kind: str, size: int = 11, contrast: float | None = 5.0, seed: int = 0) -> Planned:
    return Planned(seed, kind, size, contrast if kind in WITH_CONTRAST else None, "anywhere", 7)


def surface(side: int, dtype: str, channels: int = 1, seed: int = 0, noise: float | None = None):
    """A flat grey with sensor noise."""
    rng = np.random.default_rng(seed)
    shape = (side, side) if channels == 1 else (side, side, channels)
    level = LEVEL[dtype] + rng.standard_normal(shape) * (NOISE[dtype] if noise is None else noise)
    return (np.rint(level) if dtype != "float32" else level).astype(dtype)


@settings(max_examples=150, deadline=None)
@given(kind=kinds, size=st.sampled_from(SIZES), seed=seeds)
def test_size_is_the_longer_side_at_half_contrast(kind: str, size: int, seed: int) -> None:
    """Counted on the pixels; where a pixel's middle falls moves it by one."""
    one = planned(kind, size, seed=seed)
    profile = one.profile()
    assert profile.dtype == np.float32
    assert np.abs(profile).max() == 1
    rows, columns = np.nonzero(half_contrast(profile))
    assert abs(max(np.ptp(rows), np.ptp(columns)) + 1 - size) <= 1
    for border in (profile[0], profile[-1], profile[:, 0], profile[:, -1]):
        assert border.any() and np.abs(border).max() < 0.8  # tight; a line 1 px wide is gone a pixel farther
    np.testing.assert_array_equal(profile, one.profile())


@settings(max_examples=60, deadline=None)
@given(kind=kinds, size=st.sampled_from((11, 27, 64)), seed=seeds)
def test_nothing_ends_abruptly(kind: str, size: int, seed: int) -> None:
    """Between neighbours no more than a lens passes: a Gaussian edge of LENS px, a line 1 px wide at half contrast."""
    profile = np.pad(planned(kind, size, seed=seed).profile(), 1)
    step = max(np.abs(np.diff(profile, axis=axis)).max() for axis in (0, 1))
    assert step < (1.0 if kind == "hairline" else 0.75)
    if kind in ("spot", "pit"):
        assert step < 7 / size


@settings(max_examples=60, deadline=None)
@given(size=st.sampled_from((11, 17, 27, 41)), seed=seeds)
def test_a_hairline_is_thin(size: int, seed: int) -> None:
    mask = half_contrast(planned("hairline", size, seed=seed).profile())
    assert mask.sum() < 4.5 * 1.7 * size  # a bent line is longer than its box


@settings(max_examples=80, deadline=None)
@given(
    kind=st.sampled_from(("spot", "pit", "hairline")), dtype=st.sampled_from(sorted(NOISE)), seed=seeds,
    size=st.sampled_from((3, 7, 17)), contrast=st.sampled_from((2.0, 3.0, 5.0, 8.0)), channels=st.sampled_from((1, 3)),
)  # fmt: skip
def test_contrast_is_what_was_asked_for(
    kind: str, dtype: str, seed: int, size: int, contrast: float, channels: int
) -> None:
    """The profile times contrast and deviation, up to the sign and to rounding."""
    image = surface(80, dtype, channels, seed)
    one = planned(kind, size, contrast, seed)
    profile = one.profile()
    box = (5, 9, 5 + profile.shape[0], 9 + profile.shape[1])
    deviation = np.linspace(1, 1.5, channels) * NOISE[dtype]
    made = change(one, profile, image, box, deviation, deviation / 2)
    assert made is not None
    assert made.pixels.dtype == image.dtype
    before = image[box[0] : box[2], box[1] : box[3]].astype(np.float64).reshape(*profile.shape, channels)
    added = made.pixels.reshape(before.shape) - before
    expected = profile[:, :, None] * contrast * deviation
    rounding = 0.51 if dtype != "float32" else 1e-6
    assert min(np.abs(added - expected).max(), np.abs(added + expected).max()) <= rounding
    assert made.levels == pytest.approx(contrast * deviation[-1], abs=rounding)
    assert made.deviations == pytest.approx(contrast, abs=rounding / NOISE[dtype])
    np.testing.assert_array_equal(made.mask, half_contrast(profile))


def test_a_smudge_takes_its_share_of_the_light() -> None:
    """Twice the light, twice the change; texture stays."""
    columns = np.repeat([100.0, 200.0], 30).astype(np.float32)
    image = np.broadcast_to(columns, (60, 60)).copy()
    one = planned("smudge", 41)
    profile = one.profile()[:60, :60]
    made = change(one, profile, image, (0, 0, *profile.shape), np.array([4.0]), np.array([1.0]))
    assert made is not None
    gain = made.pixels / image[: profile.shape[0], : profile.shape[1]]
    np.testing.assert_allclose(np.abs(gain - 1) / np.abs(gain - 1).max(), profile, atol=1e-4)


@pytest.mark.parametrize("kind", ["spot", "hairline"])
@pytest.mark.parametrize(("level", "sign"), [(255, -1), (0, 1)])
def test_what_would_be_clipped_away_gets_the_other_sign(kind: str, level: int, sign: int) -> None:
    image = np.full((60, 60), level, np.uint8)
    for seed in range(6):
        one = planned(kind, seed=seed)
        profile = one.profile()
        made = change(one, profile, image, (0, 0, *profile.shape), np.array([4.0]), np.array([1.0]))
        assert made is not None
        assert np.sign(made.pixels.astype(int) - level).sum() * sign > 0
        assert made.levels == 20


@pytest.mark.parametrize(
    ("kind", "level", "deviation"),
    [
        ("smudge", 0, 4.0),  # nothing makes light from black
        ("spot", 128, 0.05),  # a quarter of a grey level
        ("spot", 128, 0.0),  # a contrast over nothing
        ("blur", 128, 4.0),  # no texture
        ("missing", 128, 4.0),
    ],
)
def test_where_a_defect_would_not_show_there_is_none(kind: str, level: int, deviation: float) -> None:
    image = np.full((60, 60), level, np.uint8)
    one = planned(kind)
    profile = one.profile()
    assert change(one, profile, image, (9, 9, 9 + profile.shape[0], 9 + profile.shape[1]),
                  np.array([deviation]), np.array([0.3])) is None  # fmt: skip


@pytest.mark.parametrize("kind", WITHOUT_CONTRAST)
def test_noise_alone_is_no_texture_to_lose(kind: str) -> None:
    image = surface(120, "uint8")
    for seed in range(8):
        one = planned(kind, 27, seed=seed)
        profile = one.profile()
        box = (20, 20, 20 + profile.shape[0], 20 + profile.shape[1])
        assert change(one, profile, image, box, np.array([4.0]), np.array([4.0])) is None


def test_missing_structure_is_gone_and_its_rim_goes_on() -> None:
    """A bright thread across a slope: the thread goes, the slope stays."""
    slope = np.add.outer(np.zeros(100), np.linspace(50, 150, 100)).astype(np.float32)
    image = slope.copy()
    image[48:52] += 60
    one = planned("missing", 41)
    profile = one.profile()
    y0, x0 = 50 - profile.shape[0] // 2, 50 - profile.shape[1] // 2
    box = (y0, x0, y0 + profile.shape[0], x0 + profile.shape[1])
    made = change(one, profile, image, box, np.array([5.0]), np.array([0.1]))
    assert made is not None
    y, x = 50 - y0, 50 - x0
    assert np.abs(made.pixels[y - 1 : y + 2, x - 3 : x + 4] - 100).max() < 12  # not 160
    assert made.pixels[y, x + 9] > made.pixels[y, x - 9]
    assert made.levels > 10


def test_a_blurred_place_keeps_its_mean_and_loses_its_texture() -> None:
    image = np.indices((100, 100)).sum(axis=0) % 4 * np.float32(20) + 60
    for seed in range(6):
        one = planned("blur", 27, seed=seed)
        profile = one.profile()
        box = (30, 30, 30 + profile.shape[0], 30 + profile.shape[1])
        made = change(one, profile, image, box, np.array([20.0]), np.array([0.5]))
        if made is None:  # smeared along the diagonal, where nothing varies
            continue
        before = image[box[0] : box[2], box[1] : box[3]]
        assert made.pixels[made.mask].std() < 0.6 * before[made.mask].std()
        assert made.pixels[made.mask].mean() == pytest.approx(before[made.mask].mean(), abs=3)


@pytest.mark.parametrize("dtype", sorted(NOISE))
@pytest.mark.parametrize("channels", [1, 3])
def test_deviation_around_a_place(dtype: str, channels: int) -> None:
    image = surface(100, dtype, channels)
    expected = np.full(channels, NOISE[dtype])
    np.testing.assert_allclose(local_deviation(image, (40, 40, 60, 60), 0 * expected), expected, rtol=0.1)
    image[30:40, 30:50] = 0  # a hole, 7 % of what is looked at: as a plain standard deviation it would be tenfold
    np.testing.assert_allclose(local_deviation(image, (40, 40, 60, 60), 0 * expected), expected, rtol=0.2)
    np.testing.assert_array_equal(local_deviation(image, (0, 0, 3, 3), 3 * expected), 3 * expected)


def test_what_is_typical_bounds_the_deviation_from_below() -> None:
    """A quarter of the image beside the part, without any variation: half of the part's deviation stands in there."""
    image = surface(400, "uint8", noise=6.0)
    image[:, :100] = 12
    noise = sensor_noise(image)
    floor = deviation_floor(image, noise)
    assert floor[0] == pytest.approx(max(3.0, noise[0]), rel=0.1)
    assert local_deviation(image, (20, 20, 30, 30), floor)[0] == floor[0]
    assert local_deviation(image, (220, 220, 230, 230), floor)[0] == pytest.approx(6, rel=0.1)


@pytest.mark.parametrize("noise", [0.6, 1.0, 1.4, 2.2])
def test_deviation_knows_fractions_of_a_grey_level(noise: float) -> None:
    image = surface(100, "uint8", noise=noise)
    found = local_deviation(image, (40, 40, 60, 60), np.zeros(1))[0]
    assert found == pytest.approx(noise, rel=0.15)  # rounding, and spreading what was rounded, add little


@pytest.mark.parametrize("dtype", sorted(NOISE))
def test_sensor_noise_is_blind_to_slopes_and_edges(dtype: str) -> None:
    scale = NOISE[dtype]
    image = surface(300, "float32", noise=0.0) * 0 + np.linspace(10, 30, 300)[None, :]
    image[100:200, 50:250] += 15
    noisy = (image + np.random.default_rng(3).standard_normal(image.shape)) * scale
    found = sensor_noise(noisy.astype(dtype))
    assert found.shape == (1,)
    assert found[0] == pytest.approx(scale, rel=0.15)


def test_a_surface_without_noise_has_that_of_rounding() -> None:
    assert sensor_noise(np.full((50, 60), 9, np.uint8))[0] == pytest.approx(12**-0.5)
    assert sensor_noise(np.full((50, 60, 3), 9, np.float32)) == pytest.approx([0, 0, 0])
