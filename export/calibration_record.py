"""What a calibration knows: how many false regions a good image is expected to show at every score.

The record stands in bundle.json. Up to `tail.threshold` the rate is counted, beyond it a generalised Pareto tail goes
on:

    rate(s) = tail.rate * (1 + shape * (s - threshold) / scale) ** (-1 / shape)      s >= threshold

(of a tail that ends somewhere, shape < 0, only as far as `ParetoTail` says) and `severity(s) = -log10(rate(s))`: 0 is
what one good image shows once, 2 what one in a hundred shows.

What no image of the calibration showed has a rate of its own. A new good image is the hottest of n + 1 as often as any
other is (exchangeability; Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005, section 2.2), so
that beyond the highest peak of n images the rate is 1 / (n + 1) at most, whatever the tail says, and from there on it
falls off as an exponential of half the tail's mean excess. From two images a tail of twenty peaks may promise anything:
it put NG beyond every defect of a board whose good pictures end well below (docs/detection.md).
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from flawmap.tiling.errors import UsageError
from flawmap.tiling.plain_background import PlainBackground

LN_10 = math.log(10)
EXPONENTIAL = 1e-6  # shapes nearer to 0 make no difference but to rounding
ENOUGH = 12  # false regions to count, for a rate within a factor of 2
NAMED = 3  # of the hottest images, in one line
BEYOND_ALL = 0.5  # of the tail's mean excess, beyond the highest peak: less lets more false regions through
HEAVIEST_MEAN = 0.5  # of a shape up to this the mean excess is taken as it is: a heavier tail's says little
STEEPEST = 0.25  # of a tail's scale: a light tail grows no steeper than that, so that no score is called impossible


class ParetoTail(BaseModel):
    """Generalised Pareto distribution of region peaks above `threshold` (scores).

    With a negative shape it would end at a highest score, beyond which a good part would be impossible; no handful of
    images can say that. Where its local scale, `scale + shape * (score - threshold)`, has fallen to `STEEPEST` of
    `scale`, it goes on as an exponential of that scale.
    """

    model_config = ConfigDict(extra="forbid")

    threshold: float
    rate: float = Field(gt=0)  # expected regions an image that peak at `threshold` or above
    shape: float
    scale: float = Field(gt=0)

    def decades(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how many powers of ten fewer regions reach `scores` (>= `threshold`) than `threshold`."""
        excess = (scores - self.threshold) / self.scale
        if abs(self.shape) < EXPONENTIAL:
            return np.asarray(excess / LN_10)
        within = np.log1p(self.shape * np.minimum(excess, self._bend)) / self.shape
        return np.asarray((within + np.maximum(excess - self._bend, 0.0) / STEEPEST) / LN_10)

    def score_at(self, decades: float) -> float:
        """The score that so many powers of ten fewer regions reach: the inverse of `decades`."""
        rarer = decades * LN_10
        if abs(self.shape) < EXPONENTIAL:
            return self.threshold + self.scale * rarer
        at_bend = math.log1p(self.shape * self._bend) / self.shape if self.shape < 0 else math.inf
        within = math.expm1(self.shape * min(rarer, at_bend)) / self.shape
        return self.threshold + self.scale * (within + max(rarer - at_bend, 0.0) * STEEPEST)

    @property
    def mean_excess(self) -> float:
        """By how much peaks above `threshold` exceed it on average (score)."""
        return self.scale / (1 - min(self.shape, HEAVIEST_MEAN))

    @property
    def _bend(self) -> float:
        """Excess, in units of `scale`, from which on the tail is exponential."""
        return (1 - STEEPEST) / -self.shape if self.shape < 0 else math.inf


class BorderZone(BaseModel):
    """Pixels at a distance of `from_px` to `to_px` - 1 from the picture's border.

    Their scores become `factor` * score + `offset` where that is less: see `flawmap.inspect.calibration.border_zones`.
    """

    model_config = ConfigDict(extra="forbid")

    from_px: int = Field(ge=0)
    to_px: int = Field(ge=1)
    factor: float = Field(gt=0, le=1)
    offset: float


class HotImage(BaseModel):
    """An image of the calibration and its highest score, after `border`."""

    model_config = ConfigDict(extra="forbid")

    image: str  # file name
    x: int = Field(ge=0)  # where it is, px of the picture
    y: int = Field(ge=0)
    score: float


class LeftOut(HotImage):
    """An image that was given for calibration and not used: by its highest score it is no good one.

    See `flawmap.inspect.calibration.odd_images`.
    """

    expected: float = Field(ge=0)  # peaks as high, on all images together, by what the others show


class Calibration(BaseModel):
    """Scores of good images turned into severities.

    `peaks` are the highest scores of the regions that `n_images` good images showed at `grow`, in ascending order and
    up to `tail.threshold`; `n_images` and `n_regions` count what was seen, `megapixels_per_image` what counted of them.
    """

    model_config = ConfigDict(extra="forbid")

    grow: float
    n_images: int = Field(ge=1)
    n_regions: int = Field(ge=1)
    megapixels_per_image: float = Field(gt=0)
    peaks: list[float]
    tail: ParetoTail
    false_alarms: float = Field(gt=0)  # false regions per good image that `inspect` allows unless told otherwise
    border: list[BorderZone] = Field(default_factory=list)  # applied to every heatmap before anything else
    background: PlainBackground | None = None  # that shows no part, where the part description wants it left out
    counted: str = ""  # `BundleInfo.counted` of the pixels it was made on
    zones: dict[str, "Calibration"] = Field(default_factory=dict)  # of the zones with a false-alarm rate of their own
    image_peaks: list[float] = Field(default_factory=list)  # highest score of each image: what drift is measured by
    left_out: list[LeftOut] = Field(default_factory=list)  # images that are not among the `n_images`, the oddest first
    hottest: list[HotImage] = Field(default_factory=list)  # those of the `n_images` that people should look at first

    @property
    def severity_floor(self) -> float:
        """Severity of a score at `grow`, the lowest that regions have."""
        return -math.log10(self.n_regions / self.n_images)

    def severity(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """-log10 of the expected regions per good image that peak at `scores` or above; any shape, float64.

        Below `grow`, where nothing was counted, the tail's slope goes on: good for ranking and no more.
        """
        scores = np.asarray(scores, dtype=np.float64)
        knots, severities = self._knots()
        counted = np.interp(scores, knots, severities)
        beyond = self.tail.decades(np.maximum(scores, self.tail.threshold)) - math.log10(self.tail.rate)
        counted = counted - np.maximum(self.grow - scores, 0.0) / (self.tail.scale * LN_10)
        found = np.where(scores > self.tail.threshold, beyond, counted)
        if self.image_peaks:
            excess = scores - self._highest
            unseen = self._severity_of_unseen + excess / self._decade_beyond
            found = np.where(excess > 0, np.maximum(found, unseen), found)
        return np.asarray(found, np.float64)

    def score_at(self, severity: float) -> float:
        """The lowest score at which `severity` is reached: the inverse of `severity`, at least `grow`.

        Where severity leaps, at the highest peak, that is the next score that a heatmap can hold.
        """
        knots, severities = self._knots()
        if severity <= severities[-1]:
            return float(np.interp(severity, severities, knots))
        score = self.tail.score_at(severity + math.log10(self.tail.rate))
        if not self.image_peaks:
            return score
        more = max(severity - self._severity_of_unseen, 0.0) * self._decade_beyond
        above = float(np.nextafter(np.float32(self._highest), np.float32(np.inf)))
        return min(score, max(self._highest + more, above))

    def few_images_note(self, false_alarms: float) -> str:
        """A sentence when `n_images` cannot vouch for `false_alarms` regions an image, else an empty string.

        They can where the rate lies within a factor of 2 of what was counted (95 %), from `ENOUGH` regions on.
        """
        expected = false_alarms * self.n_images
        if expected >= ENOUGH:
            return ""
        images = f"{self.n_images} good image{'s' if self.n_images > 1 else ''}"
        known = "is extrapolated, not counted"
        if expected >= 1:
            known = f"was counted on few and may be up to {_highest_factor(expected):.1f} times as much"
        return (
            f"calibrated on {images}: a rate of {false_alarms:g} false regions an image {known}; "
            f"{math.ceil(ENOUGH / false_alarms)} good images would measure it within a factor of 2 "
            "(`flawmap calibrate`)"
        )

    def left_out_note(self) -> str:
        """A sentence that names the images left out and the places to look at, else an empty string."""
        if not self.left_out:
            return ""
        n = len(self.left_out)
        places = _places(self.left_out)
        return (
            f"{n} of {self.n_images + n} good images left out of the calibration, for what the others do not show: "
            f"{places}; look at {'it' if n == 1 else 'them'}, and calibrate again without what is defective"
        )

    def hottest_note(self) -> str:
        """A sentence that says where a defect among the images would most likely be, else an empty string."""
        if not self.hottest:
            return ""
        more = ", more in MODEL_CARD.md" if len(self.hottest) > NAMED else ""
        return f"the highest scores of the calibration: {_places(self.hottest[:NAMED])}{more}; see that they are good"

    @property
    def _highest(self) -> float:
        """The highest score of all images."""
        return max(self.image_peaks)

    @property
    def _severity_of_unseen(self) -> float:
        """Of a score that only the hottest of one image more than there were would have."""
        return math.log10(self.n_images + 1)

    @property
    def _decade_beyond(self) -> float:
        """By how much a score must exceed the highest one to be ten times rarer than it."""
        return BEYOND_ALL * self.tail.mean_excess * LN_10

    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores and severities, both ascending, from `grow` to the start of the tail."""
        above = self.n_regions - np.arange(len(self.peaks))  # regions at or above each counted peak
        scores = np.concatenate(([self.grow], self.peaks, [self.tail.threshold]))
        rates = np.concatenate(([self.n_regions], above, [self.tail.rate * self.n_images])) / self.n_images
        return np.maximum.accumulate(scores), np.maximum.accumulate(-np.log10(rates))


def _highest_factor(count: float) -> float:
    """By what a rate may exceed the one counted on `count` events: the upper limit of its interval of 95 %.

    Byar's approximation to the limits of a Poisson mean (Breslow and Day, "Statistical methods in cancer research",
    volume II, IARC, 1987, section 2.3).
    """
    above = count + 1
    return above * (1 - 1 / (9 * above) + 1.96 / (3 * math.sqrt(above))) ** 3 / count


def _places(images: Sequence[HotImage]) -> str:
    return ", ".join(f"{found.image} at x {found.x}, y {found.y}" for found in images)


def false_alarms_of(false_alarms: float | None, quantile: float | None) -> float | None:
    """False regions per good image, given as they are or by the share of good images that shows none; None for neither.

    Rare false regions strike good images like a Poisson process, so that a share exp(-F) shows none: a threshold at the
    usual quantile of good images' worst scores is F = -ln(quantile). UsageError where both are given, or no share.
    """
    if quantile is None:
        return false_alarms
    if false_alarms is not None:
        raise UsageError(
            f"`--quantile` (={quantile:g}) and `--false-alarms` (={false_alarms:g}) set the same threshold: "
            "give one of them"
        )
    if not 0 < quantile < 1:
        raise UsageError(f"`--quantile` (={quantile:g}) must lie between 0 and 1, both excluded")
    return -math.log(quantile)


def check_false_alarms(value: float) -> float:
    """Returns `value` (false regions per good image) or says what is wrong with it."""
    if not 0 < value <= 100:
        raise UsageError(f"`--false-alarms` (={value:g}) must lie above 0 and be at most 100 regions an image")
    return value
