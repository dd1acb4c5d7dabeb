"""Decodes the next images in threads while the caller works on this one.

Decoding a 26-megapixel PNG takes 75 to 130 ms, more than everything around the network together.
"""

import time
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from flawmap.inspect.input_images import InputImage
from flawmap.inspect.records import SourceFile
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image

Image = NDArray[Any]


@dataclass
class Decoded:
    """One image read, or why it could not be."""

    entry: InputImage
    source: SourceFile
    milliseconds: float
    image: Image | None
    error: Exception | None


def read_ahead(entries: Sequence[InputImage], workers: int) -> Generator[Decoded, None, None]:
    """Yields every entry, in order, decoded by `workers` threads.

    At most `workers` + 1 decoded images are alive at a time, the caller's included: `Decoded.image` is taken away when
    the caller asks for the next one, so the caller must keep no other name for it.
    """
    waiting: deque[Future[Decoded]] = deque()
    remaining = iter(entries)
    with ThreadPoolExecutor(workers, thread_name_prefix="flawmap-decode") as pool:
        try:
            for entry in remaining:
                waiting.append(pool.submit(_decode, entry))
                if len(waiting) == workers:
                    break
            while waiting:
                decoded = waiting.popleft().result()
                # The caller holds one, `workers` - 1 wait: room for one more.
                for entry in remaining:
                    waiting.append(pool.submit(_decode, entry))
                    break
                yield decoded
                decoded.image = decoded.error = None
                del decoded
        finally:
            for future in waiting:
                future.cancel()


def source_of(path: Path) -> SourceFile:
    """Size and time of change of `path`; zeros where it cannot be asked."""
    try:
        status = path.stat()
    except OSError:
        return SourceFile(size_bytes=0, modified_ns=0)
    return SourceFile(size_bytes=status.st_size, modified_ns=status.st_mtime_ns)


def _decode(entry: InputImage) -> Decoded:
    source = source_of(entry.path)  # before reading: a change while it is read shows at the next run
    start = time.perf_counter()
    image, problem = None, None
    try:
        image = read_image(entry.path)
    except Exception as error:  # a decoder may raise anything on a file made to break it
        problem = error if isinstance(error, ImageError) else ImageError(entry.path, f"{type(error).__name__}: {error}")
    return Decoded(entry, source, (time.perf_counter() - start) * 1e3, image, problem)
