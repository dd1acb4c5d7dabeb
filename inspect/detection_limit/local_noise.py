"""How much a good surface varies: around a place, and from the sensor alone; both by medians, blind to a few pixels."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
Box = tuple[int, int, int, int]  # half-open (y0, x0, y1, x1)
Levels = NDArray[np.float64]  # [C], grey levels

SURROUNDINGS = 16  # px around a defect that are its neighbourhood
MAD_TO_DEVIATION = 1.4826  # of a normal distribution
TYPICAL_SHARE = 0.5  # of the typical deviation: no contrast is measured in less
PLACES = 8  # along each side of the image, at which what is typical is looked for
SAMPLE = 256  # px, side of the windows in which the sensor's noise is looked for
SAMPLES = 4  # windows along each side of the image


def planes(window: Image) -> NDArray[np.float32]:
    """[h, w] or [h, w, 3] as float32 [h, w, C]."""
    return np.asarray(window, np.float32).reshape(*window.shape[:2], -1)


def local_deviation(image: Image, box: Box, floor: Levels) -> Levels:
    """Standard deviation of the image around `box` (which it includes), [C], by the median absolute deviation.

    Nothing below `floor`. Integers are first spread evenly over their rounding step, always by the same random numbers:
    of 8 bits as they are, the median absolute deviation knows only multiples of 1.5 grey levels.
    """
    y0, x0, y1, x1 = box
    window = planes(image[max(0, y0 - SURROUNDINGS) : y1 + SURROUNDINGS, max(0, x0 - SURROUNDINGS) : x1 + SURROUNDINGS])
    if image.dtype.kind == "u":
        window = window + np.random.default_rng(0).random(window.shape, np.float32)
    deviation = np.median(np.abs(window - np.median(window, axis=(0, 1))), axis=(0, 1)) * MAD_TO_DEVIATION
    return np.maximum(deviation.astype(np.float64), floor)


def deviation_floor(image: Image, noise: Levels) -> Levels:
    """What `local_deviation` may not fall below, [C]: the sensor's noise, and a share of what is typical of the image.

    Without the latter, 8 deviations beside a part, where nothing varies, are a handful of grey levels that nobody asks
    to be found; one in twenty such places would decide a limit that says 9 of 10.
    """
    height, width = image.shape[:2]
    rows, columns = (np.linspace(0, side - 1, PLACES).astype(int) for side in (height, width))
    typical = np.median([local_deviation(image, (y, x, y + 1, x + 1), noise) for y in rows for x in columns], axis=0)
    return np.asarray(np.maximum(noise, TYPICAL_SHARE * typical), np.float64)


def sensor_noise(image: Image) -> Levels:
    """Standard deviation of the pixel noise, [C]; for integers at least that of rounding, for float32 it may be 0.

    Immerkær, Fast noise variance estimation (1996): a mask that is blind to planes and edges; here with a median.
    """
    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    height, width = image.shape[:2]
    responses = []
    for y in np.unique(np.linspace(0, max(0, height - SAMPLE), SAMPLES).astype(int)):
        for x in np.unique(np.linspace(0, max(0, width - SAMPLE), SAMPLES).astype(int)):
            window = planes(image[y : y + SAMPLE, x : x + SAMPLE])
            response = cv2.filter2D(window, cv2.CV_32F, mask, borderType=cv2.BORDER_REFLECT_101)
            responses.append(np.median(np.abs(response.reshape(*window.shape)), axis=(0, 1)))
    noise = np.median(responses, axis=0) * MAD_TO_DEVIATION / 6
    rounding = 1 / np.sqrt(12) if image.dtype.kind == "u" else 0.0
    return np.asarray(np.maximum(noise, rounding), np.float64)
