"""Parts of one layout, each a little shifted and turned before its camera."""

import cv2
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 224, 288


def layout(seed: int = 0) -> NDArray[np.uint8]:
    """A sheet of rectangles and discs that no other place repeats."""
    rng = np.random.default_rng(seed)
    sheet = np.full((HEIGHT + 40, WIDTH + 40), 90, np.uint8)
    for _ in range(60):
        y, x = int(rng.integers(0, HEIGHT + 30)), int(rng.integers(0, WIDTH + 30))
        height, width = (int(n) for n in rng.integers(5, 30, 2))
        if rng.random() < 0.5:
            cv2.rectangle(sheet, (x, y), (x + width, y + height), int(rng.integers(40, 220)), -1)
        else:
            cv2.circle(sheet, (x, y), height // 2, int(rng.integers(40, 220)), -1)
    return cv2.GaussianBlur(sheet, (0, 0), 0.8)


def picture(number: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """A part as the camera sees it: a shift of up to 4 px, a turn of up to 0.3 degrees, light and noise of its own."""
    rng = np.random.default_rng(1000 + number)
    move = cv2.getRotationMatrix2D((WIDTH / 2 + 20, HEIGHT / 2 + 20), float(rng.uniform(-0.3, 0.3)), 1.0)
    move[:, 2] += rng.uniform(-4, 4, 2) - 20
    seen = cv2.warpAffine(layout(seed), move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    noisy = seen * rng.uniform(0.97, 1.03) + rng.normal(0, 2, seen.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
