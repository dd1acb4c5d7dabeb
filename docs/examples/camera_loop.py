"""A camera, an inspector and a reject gate in one process: copy it and put your camera and your gate in.

    python camera_loop.py BUNDLE SOURCE [--takt SECONDS]

SOURCE is whatever OpenCV can open: the number of a camera (0), an address (rtsp://...), a video, or numbered pictures
(parts/part-%03d.png). A thread of its own takes pictures off the camera, so that none is lost while one is inspected;
where inspection does not keep up, the loop says so and rejects what nobody looked at instead of growing a queue.
"""

import argparse
import queue
import threading
import time

import cv2
import numpy as np

from flawmap.inspect.inspector import Inspector
from flawmap.tiling.errors import ImageError

WAITING_MAX = 4  # pictures between camera and inspection: 26 MB each at 5120x5120 mono


def grab(source: str, pictures: "queue.Queue[tuple[int, np.ndarray | None] | None]", mono: bool) -> None:
    """Numbers every picture; one that finds no room is passed on without its pixels, for it was not inspected."""
    camera = cv2.VideoCapture(int(source) if source.isdigit() else source)
    number = 0
    try:
        while True:
            there, frame = camera.read()  # [H, W, 3] uint8, and BGR: flawmap takes RGB
            if not there:
                break
            image = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY if mono else cv2.COLOR_BGR2RGB)
            full = pictures.qsize() >= WAITING_MAX
            pictures.put((number, None if full else image))
            number += 1
    finally:
        camera.release()
        pictures.put(None)


def reject(number: int, why: str) -> None:
    """Your reject gate: a digital output, a PLC, a line in a database."""
    print(f"reject part {number}: {why}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("bundle")
    arguments.add_argument("source")
    arguments.add_argument("--takt", type=float, default=1.0, help="seconds from part to part")
    given = arguments.parse_args()
    inspector = Inspector(given.bundle)
    for note in inspector.notes:
        print(f"note: {note}")
    mono = inspector.info.image.channels == 1
    pictures: queue.Queue[tuple[int, np.ndarray | None] | None] = queue.Queue()
    threading.Thread(target=grab, args=(given.source, pictures, mono), daemon=True).start()
    while (picture := pictures.get()) is not None:
        number, image = picture
        if image is None:
            reject(number, "not inspected, inspection does not keep up")
            continue
        start = time.perf_counter()
        try:
            result = inspector.inspect(image)
        except ImageError as error:  # another size of sensor, a part that lies askew: this part, not the line
            reject(number, error.reason)
            continue
        if result.verdict == "NG":
            worst = result.regions[0]
            reject(number, f"severity {worst.severity:.1f} at x {worst.centroid_x:.0f}, y {worst.centroid_y:.0f}")
        else:
            print(f"part {number}: {result.verdict}")
        if (seconds := time.perf_counter() - start) > given.takt:
            print(f"takt not met: part {number} took {seconds:.2f} s of {given.takt:g} s")


if __name__ == "__main__":
    main()
