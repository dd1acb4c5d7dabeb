"""Several threads with pictures: one inspector that they share, beside an inspector each.

    python -m benchmarks.inspector_threads BUNDLE IMAGE [--threads 2] [--rounds 5]

Every thread inspects the image once a round. What counts is the time of a round, and the memory after it.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil

from benchmarks.measure import circumstances, interleaved, markdown
from flawmap.inspect.inspector import Image, Inspector
from flawmap.tiling.images import read_image

PACKAGES = ["flawmap", "numpy", "onnxruntime"]


def round_of(inspectors: list[Inspector], image: Image, pool: ThreadPoolExecutor) -> None:
    for result in pool.map(lambda inspector: inspector.inspect(image), inspectors):
        assert np.isfinite(result.severity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("image")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    image, process = read_image(given.image), psutil.Process()

    def resident_mib() -> float:
        return process.memory_info().rss / 2**20

    shared = [Inspector(given.bundle)] * given.threads
    with ThreadPoolExecutor(given.threads) as pool:
        round_of(shared, image, pool)
        one = resident_mib()
        own = [Inspector(given.bundle) for _ in range(given.threads)]
        round_of(own, image, pool)
        several = resident_mib()
        timings = interleaved(
            f"{given.threads} images",
            {
                "one inspector, shared": lambda: round_of(shared, image, pool),
                "an inspector each": lambda: round_of(own, image, pool),
            },
            given.rounds,
        )
    settings = {"image": f"{image.shape[1]}x{image.shape[0]}", "threads": given.threads, "rounds": given.rounds}
    print(markdown("Inspectors and threads", settings, circumstances(PACKAGES), timings))
    print(f"Resident: {one:.0f} MiB with one inspector, {several - one:.0f} MiB more with {given.threads} others")


if __name__ == "__main__":
    main()
