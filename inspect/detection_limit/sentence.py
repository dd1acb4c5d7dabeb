"""The detection limit in words: what an engineer signs."""

import math
from collections.abc import Sequence

from flawmap.inspect.detection_limit.analysis import DetectionCurve, Limit

NAMES = {
    "spot": "Spots",
    "pit": "Pits",
    "hairline": "Hairlines",
    "smudge": "Smudges",
    "blur": "Blurred places",
    "missing": "Places with missing texture",
}
HEADLINE_KIND = "spot"
HEADLINE_CONTRAST = 5.0


def headline(curves: Sequence[DetectionCurve], false_alarms: float, n_defects: int, n_images: int) -> str:
    """One sentence on spots at 5 local standard deviations, or the contrast next to it; with what it rests on.

    `curves`: over size, as `curves_over_size` gives them; `n_defects` of all kinds.
    """
    spots = [curve for curve in curves if curve.kind == HEADLINE_KIND and curve.contrast is not None]
    basis = f"{n_defects} defects injected into {n_images} good image{'' if n_images == 1 else 's'}"
    if not spots:
        return f"No spot found a place where it would have shown; from {basis}."
    curve = min(spots, key=lambda one: abs(math.log((one.contrast or 1.0) / HEADLINE_CONTRAST)))
    return f"{statement(curve)}, at {false_alarms:g} false regions an image; from {curve.tried} of these among {basis}."


def statement(curve: DetectionCurve) -> str:
    """What `curve` (over size) says, without a full stop."""
    subject = NAMES[curve.kind]
    if curve.contrast is not None:
        levels = "level" if f"{curve.levels:.3g}" == "1" else "levels"
        subject += f" of {curve.contrast:g} sigma ({curve.levels:.3g} grey {levels})"
    largest = curve.rates[-1].value
    if curve.curve is None:
        return f"{subject} were too few to say from which size they are found"
    if curve.limit.value is None:
        return f"{subject} are not found 9 times out of 10 up to {largest:g} px, the largest tried"
    text = (
        f"{subject} are found 9 times out of 10 from {_from(curve.limit)} up ({_confidence(curve.limit_95, largest)})"
    )
    if curve.exceptions:
        text += f", but less often at {', '.join(f'{value:g}' for value in curve.exceptions)} px"
    return text


def _from(limit: Limit) -> str:
    assert limit.value is not None
    # Rounded up: a limit must not promise more than was measured.
    px = f"{math.ceil(round(limit.value, 6))} px"
    return f"{px}, the smallest tried," if limit.smallest_tried else px


def _confidence(limit: Limit, largest: float) -> str:
    if limit.value is None:
        return f"95 % confidence: not reached up to {largest:g} px"
    return f"95 % confidence: {math.ceil(round(limit.value, 6))} px"
