"""Pixel figures from histograms against the textbook formulas on all pixels at once."""

import math
import tracemalloc
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from flawmap.inspect.evaluation.pixel_metrics import PIMO_BOUNDS, PixelTally, pimo_weights
from flawmap.inspect.evaluation.score_histogram import BINS, at_or_above, bins_of, histogram
from flawmap.inspect.evaluation.truth import defects_of
from flawmap.inspect.report.pictures import write_heatmap
from flawmap.inspect.run.heatmap_file import read_heatmap
from flawmap.inspect.run.layout import heatmap_path

floats = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(scores=hnp.arrays(np.float32, st.integers(1, 60), elements=floats))
def test_bins_rise_with_the_scores(scores: NDArray[np.float32]) -> None:
    scores = np.sort(scores)
    bins = bins_of(scores)
    assert np.all(np.diff(bins) >= 0) and bins.min() >= 0 and bins.max() < BINS


@settings(max_examples=60, deadline=None)
@given(scores=hnp.arrays(np.float32, (5, 6), elements=st.floats(-1e6, 1e6, width=32)))
def test_a_heatmap_on_disk_keeps_its_scores_apart(
    tmp_path_factory: pytest.TempPathFactory, scores: NDArray[Any]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    write_heatmap(folder, "a", scores)
    read = read_heatmap(folder / heatmap_path("a"), (5, 6))
    assert len(np.unique(read)) == len(np.unique(bins_of(read)))


def eighths(scores: NDArray[Any]) -> NDArray[np.float32]:
    """Scores that tie often and have no more bits than a heatmap on disk."""
    return (np.round(scores * 8) / 8).astype(np.float32)


def random_case(seed: int, n_good: int = 3, n_defective: int = 3, side: int = 40) -> tuple[list[Any], list[Any]]:
    """Good heatmaps, and (heatmap, mask) of defective images; scores rounded, so that many tie."""
    rng = np.random.default_rng(seed)
    good = [eighths(rng.gamma(2, 1, (side, side)) - 1) for _ in range(n_good)]
    defective = []
    for _ in range(n_defective):
        mask = cv2.dilate((rng.random((side, side)) > 0.995).astype(np.uint8), np.ones((3, 3), np.uint8))
        heatmap = eighths(rng.gamma(2, 1, (side, side)) - 1 + 2 * mask * rng.integers(0, 3))
        defective.append((heatmap, mask))
    return good, defective


def tallied(good: list[Any], defective: list[Any]) -> PixelTally:
    tally = PixelTally()
    for heatmap in good:
        tally.add_good(heatmap)
    for heatmap, mask in defective:
        tally.add_defective(heatmap, defects_of(mask, 3))
    return tally


seeds = st.integers(0, 10**6)


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_average_precision_as_scikit_learn_defines_it(seed: int) -> None:
    """Sum over all distinct thresholds, falling, of (R_n - R_n-1) P_n."""
    good, defective = random_case(seed)
    scores = np.concatenate([h.ravel() for h in good] + [h.ravel() for h, _ in defective])
    truth = np.concatenate([np.zeros(h.size) for h in good] + [m.ravel() for _, m in defective])
    expected, recall_before = 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        raised = scores >= threshold
        recall = truth[raised].sum() / truth.sum()
        expected += (recall - recall_before) * truth[raised].mean()
        recall_before = recall
    assert tallied(good, defective).average_precision() == pytest.approx(expected)


@settings(max_examples=8, deadline=None)
@given(seed=seeds, limit=st.sampled_from([0.01, 0.05, 0.3, 1.0]))
def test_au_pro_as_bergmann_defines_it(seed: int, limit: float) -> None:
    """At every threshold the mean overlap of the pieces; the area by many small steps of a line through the points."""
    good, defective = random_case(seed)
    pieces = []
    for heatmap, mask in defective:
        count, labels = cv2.connectedComponents(mask, connectivity=8)
        pieces += [heatmap[labels == label] for label in range(1, count)]
    normal = np.concatenate([h.ravel() for h in good] + [h[m == 0] for h, m in defective])
    thresholds = np.unique(np.concatenate([normal, *pieces]))[::-1]
    fpr = np.array([0.0, *((normal >= t).mean() for t in thresholds)])
    pro = np.array([0.0, *(np.mean([(p >= t).mean() for p in pieces]) for t in thresholds)])
    x = np.union1d(np.linspace(0, limit, 20_001), fpr[fpr <= limit])
    keep = np.concatenate((fpr[1:] > fpr[:-1], [True]))  # the highest of those at one rate; steps are vertical
    expected = np.trapezoid(np.interp(x, fpr[keep], pro[keep]), x) / limit
    assert tallied(good, defective).au_pro(limit) == pytest.approx(expected, abs=2e-3)


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_aupimo_is_the_mean_overlap_over_logarithmic_tolerances(seed: int) -> None:
    """Second formula: for each of many tolerances, the lowest threshold that keeps to it, by trying all."""
    good, defective = random_case(seed, side=60)
    bounds = (1e-3, 1e-1)
    thresholds = np.unique(np.concatenate([h.ravel() for h in [*good, *(h for h, _ in defective)]]))
    raised = np.array([np.mean([(h >= t).mean() for h in good]) for t in [*thresholds, np.inf]])
    tolerances = np.exp(np.linspace(math.log(bounds[0]), math.log(bounds[1]), 4001))
    firsts = [int(np.argmax(raised <= z)) for z in tolerances]
    shares = sum(histogram(h) / h.size for h in good) / len(good)
    bins, weights = pimo_weights(shares, bounds)
    assert weights.sum() == pytest.approx(1)
    for heatmap, mask in defective:
        if mask.any():
            inside = heatmap[mask > 0]
            overlaps = [(inside >= t).mean() for t in [*thresholds, np.inf]]
            expected = np.mean([overlaps[i] for i in firsts])
            counts = np.bincount(bins_of(inside), minlength=BINS)
            assert (at_or_above(counts)[bins] / len(inside) * weights).sum() == pytest.approx(expected, abs=2e-3)


def test_a_perfect_and_a_blind_model() -> None:
    mask = np.zeros((400, 400), np.uint8)
    mask[50:60, 50:60] = mask[200:203, 300:303] = 1
    noise = np.random.default_rng(0).random((400, 400)).astype(np.float32)
    perfect = tallied([noise], [(noise + 2 * mask, mask)])
    assert perfect.average_precision() == perfect.au_pro() == 1.0
    assert perfect.aupimo == [pytest.approx(1.0)]
    blind = tallied([noise], [(noise * (1 - mask), mask)])
    assert blind.average_precision() == pytest.approx(mask.mean(), abs=1e-3)
    assert blind.au_pro() == blind.aupimo[0] == 0.0


def test_small_pieces_weigh_as_much_as_large_ones() -> None:
    mask = np.zeros((300, 300), np.uint8)
    mask[10:110, 10:110] = mask[200, 200] = 1
    heatmap = np.zeros((300, 300), np.float32)
    heatmap[200, 200] = 5.0
    tally = tallied([np.zeros((300, 300), np.float32)], [(heatmap, mask)])
    assert tally.n_pieces == 2
    assert tally.au_pro() == pytest.approx(0.5 + 0.5 * 0.05 / 2, abs=1e-3)  # the large piece joins at a rate of 1


def test_what_cannot_be_said() -> None:
    empty = PixelTally()
    assert empty.average_precision() is empty.au_pro() is None
    heatmap, mask = np.ones((9, 9), np.float32), np.ones((9, 9), np.uint8)
    only_defective = tallied([], [(heatmap, mask)])
    assert only_defective.aupimo == [] and only_defective.average_precision() == 1.0
    assert only_defective.au_pro() is None  # not one good pixel
    assert tallied([heatmap], [(heatmap, np.zeros((9, 9), np.uint8))]).aupimo == []
    with pytest.raises(ValueError, match="good images must be added before the first defective one"):
        only_defective.add_good(heatmap)


def test_tolerances_below_one_pixel_take_the_threshold_above_all() -> None:
    """100 good pixels: no threshold but that above every score raises less than one in 100."""
    raised = np.zeros(BINS)
    raised[1000:1100] = 0.01
    thresholds, weights = pimo_weights(raised, PIMO_BOUNDS)
    assert (thresholds.tolist(), weights.tolist()) == ([1100], [1.0])


def test_one_heatmap_in_memory_at_a_time(tmp_path: Path) -> None:
    """Beyond the histograms (8 MiB each), reading and counting takes less than 1.7 heatmaps, however many there are."""
    rng = np.random.default_rng(0)
    peaks = {}
    for side in (256, 3072):
        write_heatmap(tmp_path, "a", rng.random((side, side), np.float32))
        mask = np.zeros((side, side), np.uint8)
        mask[50:90, 50:200] = 255
        tally = PixelTally()
        tracemalloc.start()
        for _ in range(2):
            tally.add_good(read_heatmap(tmp_path / heatmap_path("a"), (side, side)))
        for _ in range(2):
            defects = defects_of(mask, 3)
            tally.add_defective(read_heatmap(tmp_path / heatmap_path("a"), (side, side)), defects)
        peaks[side] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    heatmap_bytes = 4 * 3072 * 3072
    assert peaks[3072] - peaks[256] < 1.7 * heatmap_bytes
