"""The border is scored so that it shows peaks as rarely as the inside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.export.calibration_record import BorderZone
from flawmap.inspect.calibration.border_zones import DISTANCES, ZonePeaks, border_distance, lower_border, measure_zones
from flawmap.inspect.calibration.calibrate import calibrate
from flawmap.inspect.calibration.hot_pixels import HotPixels
from flawmap.inspect.thresholds import Thresholds

ZONES = [
    BorderZone(from_px=low, to_px=high, factor=1 / (k + 2), offset=-float(k))
    for k, (low, high) in enumerate(zip((0, *DISTANCES), DISTANCES, strict=False))
]
SIDES = st.integers(1, 90)


def drawn(
    seed: int, shape: tuple[int, int] = (300, 260), *, shift: float = 0.0, stretch: float = 1.0
) -> NDArray[np.float32]:
    """Exponential scores, at the border (8 px) stretched and shifted."""
    scores = np.random.default_rng(seed).exponential(1.0, shape)
    return np.where(border_distance(shape) < 8, shift + stretch * scores, scores).astype(np.float32)


@given(height=SIDES, width=SIDES)
def test_the_distance_is_to_the_nearest_side(height: int, width: int) -> None:
    found = border_distance((height, width))
    for y in range(0, height, 7):
        for x in range(0, width, 5):
            assert found[y, x] == min(y, x, height - 1 - y, width - 1 - x)


@given(height=SIDES, width=SIDES, seed=st.integers(0, 1000))
def test_every_pixel_is_lowered_once_and_none_is_raised(height: int, width: int, seed: int) -> None:
    before = np.random.default_rng(seed).normal(0, 3, (height, width)).astype(np.float32)
    expected = before.copy()
    distance = border_distance(before.shape)
    for zone in ZONES:
        inside = (distance >= zone.from_px) & (distance < zone.to_px)
        lowered = before * np.float32(zone.factor) + np.float32(zone.offset)
        expected = np.where(inside, np.minimum(before, lowered), expected)
    lower_border(before, ZONES)
    np.testing.assert_array_equal(before, expected)


@pytest.mark.parametrize(("shift", "stretch"), [(3.0, 1.0), (0.0, 2.5), (2.0, 1.5)])
def test_a_hot_border_becomes_like_the_inside(shift: float, stretch: float) -> None:
    """At a score that the inside reaches once a megapixel, fresh borders do so no more than a few times as often."""
    zones = measure_zones([ZonePeaks.of(drawn(seed, shift=shift, stretch=stretch)) for seed in range(40)])
    assert [(zone.from_px, zone.to_px) for zone in zones[:2]] == [(0, 3), (3, 8)]
    score, at_border, raw, inside = 9.0, 0, 0, 0
    for seed in range(1000, 1400):
        heatmap = drawn(seed, shift=shift, stretch=stretch)
        border = border_distance(heatmap.shape) < 8
        raw += int((heatmap[border] > score).sum())
        lower_border(heatmap, zones)
        at_border += int((heatmap[border] > score).sum())
        inside += int((heatmap[~border] > score).sum())
    share = border.mean() / (1 - border.mean())
    assert raw > 8 * inside * share
    assert 0.2 * inside * share < at_border < 3 * inside * share


def test_a_border_like_the_inside_is_left_alone_nearly() -> None:
    zones = measure_zones([ZonePeaks.of(drawn(seed)) for seed in range(40)])
    heatmap = drawn(99)
    before = heatmap.copy()
    lower_border(heatmap, zones)
    assert float(np.abs(heatmap - before).max()) < 2.0


def test_a_handful_of_peaks_moves_nothing() -> None:
    assert measure_zones([ZonePeaks.of(drawn(0, (40, 40), shift=5.0))]) == []


@given(seed=st.integers(0, 1000), share=st.floats(0, 1))
def test_hot_pixels_know_the_lowered_regions(seed: int, share: float) -> None:
    heatmap = drawn(seed, (220, 200), shift=2.0)
    hot = HotPixels.of(heatmap).lowered(ZONES)
    lower_border(heatmap, ZONES)
    lowest = max(hot.level, float(heatmap.min()))
    grow = lowest + share * (float(heatmap.max()) - lowest)
    np.testing.assert_array_equal(hot.peaks(grow), HotPixels.of(heatmap).peaks(max(grow, HotPixels.of(heatmap).level)))


def test_a_hot_border_does_not_raise_the_threshold_for_the_rest() -> None:
    plain = calibrate((drawn(seed) for seed in range(40)), 0.1)
    hot = calibrate((drawn(seed, shift=4.0) for seed in range(40)), 0.1)
    assert Thresholds.of(hot, 0.1).ng == pytest.approx(Thresholds.of(plain, 0.1).ng, abs=1.0)
