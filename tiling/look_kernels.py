"""Scores where a look says that they count, and none elsewhere."""

import numpy as np

from flawmap.tiling.compiled import compiled


@compiled
def scale_scores(heatmap: np.ndarray, look: np.ndarray, factor: np.ndarray, offset: np.ndarray) -> None:
    """Change `heatmap` (float32 [H, W]) in place by `look` (uint8 [H, W]): see `ZoneScale`.

    -inf where the look is 0, elsewhere `factor` * score + `offset` of the look there (float32 [256] each).
    """
    for y in range(heatmap.shape[0]):
        scores, looks = heatmap[y], look[y]
        for x in range(scores.shape[0]):
            here = looks[x]
            scores[x] = scores[x] * factor[here] + offset[here] if here else np.float32(-np.inf)


@compiled
def block_statistics(image: np.ndarray, block: int, means: np.ndarray, spreads: np.ndarray) -> None:
    """Mean of each channel and the largest standard deviation of one, in blocks of `block` px of `image` [H, W, C].

    `means` float32 [rows, columns, C] and `spreads` float32 [rows, columns] are filled; the last ones may be smaller.
    """
    height, width, channels = image.shape
    for row in range(means.shape[0]):
        y0, y1 = row * block, min((row + 1) * block, height)
        for column in range(means.shape[1]):
            x0, x1 = column * block, min((column + 1) * block, width)
            largest = 0.0
            for channel in range(channels):
                first = float(image[y0, x0, channel])  # sums of differences from it lose no digits
                total, squares = 0.0, 0.0
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        value = float(image[y, x, channel]) - first
                        total += value
                        squares += value * value
                mean = total / ((y1 - y0) * (x1 - x0))
                means[row, column, channel] = first + mean
                largest = max(largest, squares / ((y1 - y0) * (x1 - x0)) - mean * mean)
            spreads[row, column] = np.sqrt(largest)
