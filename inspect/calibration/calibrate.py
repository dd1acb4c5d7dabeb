"""Calibration from good images alone: at which score does one show one false region, and at which one in a hundred?

Regions are found on good images that training never saw, at a low threshold, by the very kernel that inspects. How
often their peaks reach a score is counted as far as the images go and continued by a tail, which may be heavy (where it
was, an exponential promised 0.1 false regions an image and gave 1.3) or light (scores that end with what the network
can be sure of: there, from two calibration boards, an exponential put the threshold above every defect).

The tail is a generalised Pareto distribution (Pickands 1975), fitted as Zhang and Stephens, "A new and efficient
estimation method for the generalized Pareto distribution", Technometrics 51 (2009), with the weakly informative prior
of Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto smoothed importance sampling", JMLR 25 (2024), appendix G. Theirs
draws few peaks to a shape of 0.5, ours to 0, an exponential, which scores are made to fall off as (see
`flawmap.training.standardisation`): 0.5 put the threshold far above what any good image showed. What else was tried
stands in docs/detection.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from flawmap.export.calibration_record import HEAVIEST_MEAN, Calibration, HotImage, LeftOut, ParetoTail
from flawmap.inspect.calibration.border_zones import ZonePeaks, ZoneScan, measure_zones
from flawmap.inspect.calibration.hot_pixels import HotPixels, HotScan
from flawmap.inspect.calibration.odd_images import find_odd, most_odd
from flawmap.inspect.defects import Heatmap
from flawmap.tiling.errors import UsageError
from flawmap.tiling.look_map import OUTSIDE, Look

NEVER = np.float32(-np.inf)  # the score of what does not count
ROWS_AT_ONCE = 1024  # of a heatmap, copied zone by zone
GROW_FRACTION = 3e-5  # of good pixels lie above `grow`...
GROW_PIXELS = 1000  # ...or so many of all good images together, where they are small...
GROW_IMAGES = 0.5  # ...or as many more as give such a share of the images a region: a hot one does not speak for all
TAIL_PEAKS = 40  # peaks at most that the tail is fitted to; more would fit its body instead
TAIL_SHARE = 0.25  # of all peaks at most
SHAPE_FLOOR = -0.3  # a lighter tail than that is chance
SMALLEST_SCALE = 1e-3  # of peaks that are all alike
PRIOR_SHAPE, PRIOR_PEAKS = 0.0, 10  # what so many peaks more would say
SHOWN_SHARE = 0.1  # of the images, or one, are shown to people: a defect among them is most likely there


@dataclass(frozen=True)
class OwnZone:
    """A zone that has a false-alarm rate of its own, and so a calibration of its own."""

    name: str
    value: int  # in a look
    false_alarms: float


@dataclass(frozen=True)
class Seen:
    """What calibration keeps of one heatmap.

    `hot` is outside of the zones with a rate of their own, which are in `own`, by name; `zones` are those of the
    border, everywhere. `name`: of the picture, for the one who is told about it.
    """

    hot: HotPixels
    zones: ZonePeaks
    own: dict[str, HotPixels] = field(default_factory=dict)
    name: str = ""

    @classmethod
    def of(cls, heatmap: Heatmap, look: Look | None = None, own: Sequence[OwnZone] = ()) -> "Seen":
        """Of `heatmap` (float32 [H, W]), of which that counts what `look` (uint8 [H, W]) says."""
        starts = range(0, len(heatmap), ROWS_AT_ONCE)
        bands = (heatmap[top : top + ROWS_AT_ONCE] for top in starts)
        looks = None if look is None else (look[top : top + ROWS_AT_ONCE] for top in starts)
        return cls.of_bands(heatmap.shape, bands, looks, own)

    @classmethod
    def of_bands(
        cls,
        shape: tuple[int, ...],
        bands: Iterable[Heatmap],
        looks: Iterable[Look] | None = None,
        own: Sequence[OwnZone] = (),
    ) -> "Seen":
        """Of a heatmap of `shape` that comes in `bands` of rows, float32 [n, W], from top to bottom, as `looks` do."""
        hot, zones = HotScan(shape), ZoneScan(shape)
        of_own = [HotScan(shape) for _ in own]
        for band, look in zip(bands, repeat(None)) if looks is None else zip(bands, looks, strict=True):
            if look is None:
                hot.add(band)
                zones.add(band)
                continue
            zones.add(np.where(look != OUTSIDE, band, NEVER))
            hot.add(np.where(np.isin(look, [OUTSIDE, *(zone.value for zone in own)]), NEVER, band))
            for zone, scan in zip(own, of_own, strict=True):
                scan.add(np.where(look == zone.value, band, NEVER))
        kept = {zone.name: scan.result() for zone, scan in zip(own, of_own, strict=True)}
        return cls(hot.result(), zones.result(), kept)


def calibrate(heatmaps: Iterable[Heatmap], false_alarms: float) -> Calibration:
    """Calibrates on the heatmaps (float32 [H, W]) of good images, drawn one at a time from an iterator."""
    return calibrate_on((Seen.of(heatmap) for heatmap in heatmaps), false_alarms)


def calibrate_on(images: Iterable[Seen], false_alarms: float, own: Sequence[OwnZone] = ()) -> Calibration:
    """Calibrates on what was seen of the heatmaps of good images; each zone of `own` on what was seen in it alone.

    Where everything that counts lies in such zones, what is left is calibrated on all of them together: it is the scale
    that severities are given on. Images that do not look good beside the others are left out, and named: see
    `flawmap.inspect.calibration.odd_images`.

    UsageError for no image, and for a zone that no image shows.
    """
    everything = list(images)
    if not everything:
        raise UsageError("calibration needs at least 1 good image")
    left_out, hottest = _worth_a_look(everything)
    seen = [image for i, image in enumerate(everything) if i not in left_out]
    border = measure_zones([image.zones for image in seen])
    zones = {}
    for zone in own:
        hot = [image.own[zone.name].lowered(border) for image in seen]
        if not sum(h.n_pixels for h in hot):
            raise UsageError(f"`where.zones`: zone `{zone.name}` has no pixel on any of the good images")
        zones[zone.name] = _calibrated(hot, zone.false_alarms)
    rest = [image.hot for image in seen]
    if not sum(h.n_pixels for h in rest):
        rest = [image.hot.and_those_of(image.own.values()) for image in seen]
    found = _calibrated([h.lowered(border) for h in rest], false_alarms)
    shown = {"left_out": list(left_out.values()), "hottest": hottest}
    return found.model_copy(update={"border": border, "zones": zones, **shown})


def _worth_a_look(seen: Sequence[Seen]) -> tuple[dict[int, LeftOut], list[HotImage]]:
    """Images that are left out, by index, and of those that stay the ones with the highest peaks; the highest first."""
    # All zones together: one with a rate of its own may hide a defect as well as any.
    hot = [image.hot.and_those_of(image.own.values()) for image in seen]
    border = measure_zones([image.zones for image in seen])
    hot = [h.lowered(border) for h in hot]
    hottest = sorted((i for i, h in enumerate(hot) if h.n_pixels), key=lambda i: -float(hot[i].scores.max()))
    places = {i: _hot_image(seen[i].name, hot[i]) for i in hottest}
    ordinary = [hot[i] for i in hottest[most_odd(len(hottest)) :]]
    if not ordinary:
        return {}, []
    grow, _ = _regions(ordinary, sum(h.n_pixels for h in ordinary))
    peaks = [hot[i].peaks(max(grow, hot[i].level)).astype(np.float64) for i in hottest]
    odd = find_odd(peaks, lambda others, n_images: fit_tail(others, grow, n_images)[0])
    left_out = {hottest[k]: LeftOut(**dict(places[hottest[k]]), expected=expected) for k, expected in odd.items()}
    stay = [places[i] for i in hottest if i not in left_out]
    return left_out, stay[: max(1, int(len(stay) * SHOWN_SHARE))]


def _hot_image(name: str, hot: HotPixels) -> HotImage:
    highest = int(hot.scores.argmax())
    y, x = divmod(int(hot.indices[highest]), hot.shape[1])
    return HotImage(image=name, x=x, y=y, score=float(hot.scores[highest]))


def _calibrated(hot: list[HotPixels], false_alarms: float) -> Calibration:
    n_pixels = sum(h.n_pixels for h in hot)
    grow, peaks = _regions(hot, n_pixels)
    tail, counted = fit_tail(peaks, grow, len(hot))
    return Calibration(
        grow=grow,
        n_images=len(hot),
        n_regions=len(peaks),
        megapixels_per_image=n_pixels / len(hot) / 1e6,
        peaks=counted.tolist(),
        tail=tail,
        false_alarms=false_alarms,
        image_peaks=sorted(float(h.scores.max()) for h in hot if h.n_pixels),
    )


def _regions(hot: list[HotPixels], n_pixels: int) -> tuple[float, NDArray[np.float64]]:
    """(`grow`, the score that a fixed fraction of good pixels exceeds; peaks of the regions there, ascending)."""
    scores = np.sort(np.concatenate([h.scores for h in hot]))[::-1]
    # An image hotter than the rest keeps only its own hottest: below that level its regions are not known.
    lowest = max(h.level for h in hot)
    count = int(max(GROW_FRACTION * n_pixels, GROW_PIXELS))
    while True:
        grow = max(float(scores[min(count, len(scores)) - 1]), lowest)
        peaks = [h.peaks(grow) for h in hot]
        enough = np.mean([len(p) > 0 for p in peaks]) >= GROW_IMAGES
        if enough or grow == lowest or count >= len(scores):
            return grow, np.sort(np.concatenate(peaks).astype(np.float64))
        count *= 2


def fit_tail(peaks: NDArray[np.float64], grow: float, n_images: int) -> tuple[ParetoTail, NDArray[np.float64]]:
    """Splits ascending `peaks` (float64 [n]) into the counted ones and a tail fitted to the rest.

    Scores may come in steps (a local median of whole grey levels). Peaks that equal the threshold are counted then:
    as excesses of 0 they would make a tail so heavy that no defect reached NG.
    """
    n_tail = min(len(peaks), max(20, min(TAIL_PEAKS, int(len(peaks) * TAIL_SHARE))))
    counted = peaks[: len(peaks) - n_tail]
    threshold = max(grow, float(counted[-1])) if len(counted) else grow
    above = int(np.sum(peaks > threshold))
    n_tail = min(n_tail, above) if above else n_tail
    counted = peaks[: len(peaks) - n_tail]
    excesses = peaks[len(peaks) - n_tail :] - threshold
    shape, scale = fit_generalised_pareto(excesses)
    return ParetoTail(threshold=threshold, rate=n_tail / n_images, shape=shape, scale=scale), counted


def fit_generalised_pareto(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Shape and scale of `excesses` (float64 [n], >= 0), by Zhang and Stephens with a prior.

    A positive shape is a heavy tail; a negative one, of at least `SHAPE_FLOOR`, ends somewhere.
    """
    x = np.sort(excesses)
    n = len(x)
    spread = float(x.max())
    if n < 5 or spread <= 0:  # too few to tell a shape: an exponential of the mean, with the prior's shape
        return PRIOR_SHAPE, max(float(x.mean()), SMALLEST_SCALE)
    x = np.maximum(x, 1e-6 * spread)
    m = 30 + int(np.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    theta = 1 / x[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile)
    theta = np.where(np.abs(theta) * x[-1] < 1e-9, 1e-9 / x[-1], theta)  # at 0 shape and scale are 0/0
    shapes = np.log1p(-theta[:, None] * x).mean(axis=1)
    log_likelihood = n * (np.log(-theta / shapes) - shapes - 1)
    weights = np.exp(log_likelihood - log_likelihood.max())  # relative to the likeliest: nothing overflows
    theta_hat = float((theta * weights).sum() / weights.sum())
    shape = float(np.log1p(-theta_hat * x).mean())
    scale = -shape / theta_hat
    drawn = max((shape * n + PRIOR_SHAPE * PRIOR_PEAKS) / (n + PRIOR_PEAKS), SHAPE_FLOOR)
    # Mean excess is scale / (1 - shape), which the peaks know better than the shape.
    scale *= (1 - min(drawn, HEAVIEST_MEAN)) / (1 - min(shape, HEAVIEST_MEAN))
    return drawn, max(scale, SMALLEST_SCALE)
