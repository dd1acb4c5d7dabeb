"""Finding regions, with their measurements or as a mask, beside every usual peer."""

import numpy as np

from benchmarks import region_peers
from benchmarks.contenders import Contenders, imported, with_peers
from benchmarks.measure import Timing, interleaved
from flawmap.tiling.regions import find_regions

MAX_RUNS = 10_000_000  # the noise is meant to be measured, not refused


def with_blobs(size: int, count: int, largest: int, seed: int) -> np.ndarray:
    """A heatmap of noise below 0.4 with `count` squares of 1 to `largest` px between 0.5 and 1."""
    random = np.random.default_rng(seed)
    heatmap = random.random((size, size), np.float32) * np.float32(0.4)
    for side in random.integers(1, largest + 1, count):
        y, x = random.integers(0, size - side, 2)
        heatmap[y : y + side, x : x + side] = 0.5 + 0.5 * random.random((side, side), np.float32)
    return heatmap


def time_regions(name: str, heatmap: np.ndarray, grow: float, rounds: int, *, slow_peers: bool) -> list[Timing]:
    found = find_regions(heatmap, grow=grow, seed=grow, max_runs=MAX_RUNS)
    expected = as_table(found)

    def check(answer: np.ndarray) -> None:
        """Same regions; those of equal score_max may come in another order."""
        table = as_table(answer) if answer.dtype.names else answer
        ours, theirs = (rows[np.lexsort(rows[:, ::-1].T.round(3))] for rows in (expected, table))
        np.testing.assert_allclose(ours, theirs, atol=2e-3)

    contenders: Contenders = {
        "flawmap": lambda: find_regions(heatmap, grow=grow, seed=grow, max_runs=MAX_RUNS),
        "cv2 labels and stats, numpy scores": lambda: region_peers.regions_with_cv2(heatmap, grow, grow),
    }
    peers = {
        "cc3d labels and stats, numpy scores": lambda: imported(
            "cc3d", lambda: region_peers.regions_with_cc3d(heatmap, grow, grow)
        )
    }
    if slow_peers:
        contenders["cv2 findContours and crops"] = lambda: region_peers.regions_with_contours(heatmap, grow, grow)
        contenders["skimage regionprops_table"] = lambda: region_peers.regions_with_skimage(heatmap, grow, grow)
        contenders["scipy.ndimage"] = lambda: region_peers.regions_with_scipy(heatmap, grow, grow)
    step = f"regions, {name} ({len(found)})"
    timings = interleaved(step, with_peers(contenders, peers), rounds, check)
    joined = {"flawmap, reach 3": lambda: find_regions(heatmap, grow=grow, seed=grow, reach=3, max_runs=MAX_RUNS)}
    return timings + interleaved(step, joined, rounds)


def as_table(regions: np.ndarray) -> np.ndarray:
    """What peers measure of REGION_DTYPE regions, float64 [k, 9]."""
    names = ("y0", "x0", "y1", "x1", "area_px", "score_max", "score_mean", "centroid_y", "centroid_x")
    return np.stack([regions[name].astype(np.float64) for name in names], axis=1)


def time_hysteresis(heatmap: np.ndarray, rounds: int) -> list[Timing]:
    grow, seed = 0.5, 0.95
    area = int(find_regions(heatmap, grow=grow, seed=seed)["area_px"].sum())

    def check(answer: np.ndarray) -> None:
        found = int(answer["area_px"].sum() if answer.dtype.names else answer.sum())
        assert found == area, f"{found} px, not {area}"

    contenders: Contenders = {
        "flawmap, with all measurements": lambda: find_regions(heatmap, grow=grow, seed=seed),
        "cv2 labels and a table, mask only": lambda: region_peers.hysteresis_with_cv2(heatmap, grow, seed),
        "scipy labels and a table, mask only": lambda: region_peers.hysteresis_with_scipy(heatmap, grow, seed),
    }
    peers = {
        "cc3d labels and a table, mask only": lambda: imported(
            "cc3d", lambda: region_peers.hysteresis_with_cc3d(heatmap, grow, seed)
        )
    }
    timings = interleaved("hysteresis, specks", with_peers(contenders, peers), rounds, check)
    other = {"skimage, mask only, 4-connected": lambda: region_peers.hysteresis_with_skimage(heatmap, grow, seed)}
    return timings + interleaved("hysteresis, specks", other, rounds)
