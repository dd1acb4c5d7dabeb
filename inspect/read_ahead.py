"""Decodes and prepares the next images in threads while the caller works on this one.

Decoding a 26-megapixel PNG takes 75 to 130 ms, more than everything around the network together.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from flawmap.inspect.pipeline import Prepared
from flawmap.inspect.run.input_images import InputImage
from flawmap.inspect.run.records import SourceFile
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import read_image
from flawmap.tiling.pages import file_of
from flawmap.tiling.strips.open_rows import strip_size

Image = NDArray[Any]
Prepare = Callable[[int, Image], Prepared]  # of the entry at this place

GONE = SourceFile(size_bytes=0, modified_ns=0)  # of a file that cannot be asked


@dataclass
class Decoded:
    """One image read and prepared, or why it could not be."""

    entry: InputImage
    source: SourceFile
    milliseconds: float
    image: Image | None
    error: Exception | None
    prepared: Prepared | None = None
    strip: tuple[int, int] | None = None  # height and width of a picture so large that it was not read: see `open_rows`
    inode: int | None = None  # of the file, before it was read; None where it could not be asked
    changed: bool = False  # its file was written on while it was read: this may be neither the old content nor the new

    def written_on(self) -> bool:
        """Whether its file has another content by now; another file renamed to its place leaves it as it was read."""
        try:
            status = file_of(self.entry.path).stat()
        except OSError:
            return False
        return status.st_ino == self.inode and _stamp(status) != self.source


def read_ahead(
    entries: Sequence[InputImage], workers: int, prepare: Prepare | None = None
) -> Generator[Decoded, None, None]:
    """Yields every entry, in order, decoded by `workers` threads and there put through `prepare`.

    Beside what the caller keeps, at most `workers` images are alive while it works on one.
    """
    waiting: deque[Future[Decoded]] = deque()
    remaining = enumerate(entries)
    with ThreadPoolExecutor(workers, thread_name_prefix="flawmap-decode") as pool:
        try:
            for number, entry in remaining:
                waiting.append(pool.submit(decode, number, entry, prepare))
                if len(waiting) == workers:
                    break
            while waiting:
                decoded = waiting.popleft().result()
                # The caller gets one, `workers` - 1 wait: room for one more.
                for number, entry in remaining:
                    waiting.append(pool.submit(decode, number, entry, prepare))
                    break
                yield decoded
                del decoded  # or it would be kept until the next one has been decoded
        finally:
            for future in waiting:
                future.cancel()


def source_of(path: Path) -> SourceFile:
    """Size and time of change of `path`, of a page those of its file; `GONE` where it cannot be asked."""
    try:
        return _stamp(file_of(path).stat())
    except OSError:
        return GONE


def decode(number: int, entry: InputImage, prepare: Prepare | None) -> Decoded:
    """Reads one image and puts it through `prepare`, as the one at place `number`; what goes wrong is in `error`.

    One too large to be held as a whole is not read: it is for whoever scores it.
    """
    decoded = Decoded(entry, GONE, 0.0, None, None)
    with suppress(OSError):  # before reading: a change while it is read shows at the next run
        status = file_of(entry.path).stat()
        decoded.source, decoded.inode = _stamp(status), status.st_ino
    decoded.strip = strip_size(entry.path)
    if decoded.strip is None:
        decode_whole(decoded, None if prepare is None else partial(prepare, number))
    return decoded


def decode_whole(decoded: Decoded, prepare: Callable[[Image], Prepared] | None) -> None:
    """Reads the image and puts it through `prepare`; what goes wrong is in `error`."""
    path = decoded.entry.path
    start = time.perf_counter()
    decoded.strip = None
    try:
        decoded.image = read_image(path, decoded.entry.reading)
    except Exception as error:  # a decoder may raise anything on a file made to break it
        known = isinstance(error, ImageError)
        decoded.error = error if known else ImageError(path, f"{type(error).__name__}: {error}")
    decoded.changed = decoded.written_on()
    decoded.milliseconds = (time.perf_counter() - start) * 1e3
    if decoded.image is not None and prepare is not None:
        try:
            decoded.prepared = prepare(decoded.image)
        except Exception as error:  # of another kind than the bundle's, not to be aligned, no memory
            decoded.error = error


def _stamp(status: os.stat_result) -> SourceFile:
    return SourceFile(size_bytes=status.st_size, modified_ns=status.st_mtime_ns)
