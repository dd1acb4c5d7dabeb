"""How near registration comes to known poses, and how long it takes.

    python -m benchmarks.registration REFERENCE [--poses 20] [--size 5120]

REFERENCE is an image of an aligned product, or `board` for the sample data's at --size px. Each case moves it by up to
40 px and 1 degree (cubic), disturbs it, and registers it onto the undisturbed picture. Times are processor time of this
process with OpenCV on one thread.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.dataset import Product
from flawmap.tiling.images import read_image
from flawmap.tiling.registration.pose import Pose
from flawmap.tiling.registration.register import Registration
from flawmap.tiling.registration.warp import warp_to_image

Image = NDArray[Any]
Disturb = Callable[[Image, np.random.Generator], Image]

LARGEST_SHIFT, LARGEST_ANGLE = 40.0, 1.0


def with_noise(image: Image, rng: np.random.Generator) -> Image:
    noise = rng.standard_normal(image.shape, np.float32)
    return np.asarray(cv2.addWeighted(image, 1, noise, 4, 0, dtype=cv2.CV_8U))


def with_other_light(image: Image, rng: np.random.Generator) -> Image:
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    return with_noise(cv2.convertScaleAbs(cv2.max(image.astype(np.float32) * gain + offset, 0)), rng)


def with_defects(image: Image, rng: np.random.Generator) -> Image:
    """Blots of 20 to 300 px on 2 % of the pixels."""
    image = with_noise(image, rng)
    left = 0.02 * image.size
    while left > 0:
        h, w = np.exp(rng.uniform(np.log(20), np.log(300), 2)).astype(int)
        y, x = rng.integers(0, image.shape[0] - h), rng.integers(0, image.shape[1] - w)
        image[y : y + h, x : x + w] = rng.integers(0, 256)
        left -= h * w
    return image


CASES: dict[str, Disturb] = {
    "moved": lambda image, _: image,
    "and noise of 4 grey levels": with_noise,
    "and light changed by 20 %": with_other_light,
    "and blots on 2 % of the pixels": with_defects,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("--poses", type=int, default=20)
    parser.add_argument("--size", type=int, default=5120)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.reference == "board":
        image: Image = Product("board", (args.size, args.size), 0).good(0)
    else:
        image = read_image(Path(args.reference))
    registration = Registration(image)
    print("| case | farthest corner off, px: median | largest | angle off, degrees: largest | quality: least | ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, disturb in CASES.items():
        rng = np.random.default_rng(0)
        corners, angles, qualities, seconds = [], [], [], []
        for _ in range(args.poses):
            shift = rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 2)
            true = Pose(*shift, float(rng.uniform(-LARGEST_ANGLE, LARGEST_ANGLE)), *image.shape[:2])
            seen = disturb(warp_to_image(image, true, cubic=True), rng)
            start = time.process_time()
            found = registration.register(seen)
            seconds.append(time.process_time() - start)
            corners.append(found.farthest(true))
            angles.append(abs(found.angle - true.angle))
            qualities.append(found.quality)
        figures = f"{np.median(corners):.3f} | {max(corners):.3f} | {max(angles):.5f} | {min(qualities):.3f}"
        print(f"| {name} | {figures} | {1000 * np.median(seconds):.0f} |", flush=True)


if __name__ == "__main__":
    main()
