"""An image that is written row by row to a file without a name, and read back a box at a time."""

import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

BYTES_AT_ONCE = 1 << 24


class RowFile:
    """[H, W] or [H, W, C] on the disk; `file[y0:y1, x0:x1]` gives a part of it as an array, from any thread.

    Not mapped into memory: pages of a mapped file count as resident, and the system takes them back when it likes.
    The file is gone when the `with` block ends, and after a kill.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        """`folder`: where the file takes up room. OSError where it cannot be made."""
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._row_bytes = self.dtype.itemsize * int(np.prod(shape[1:]))
        self._lock = threading.Lock()
        # Without a buffer: closing it on a full disk would want to write, and fail.
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".flawmap-", buffering=0)  # noqa: SIM115 (see `close`)

    def __enter__(self) -> "RowFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the room on the disk back."""
        self._file.close()

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def append(self, rows: NDArray[Any]) -> None:
        """The next rows, [n, W] or [n, W, C]. OSError for a full disk, ValueError for another shape or dtype."""
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype:
            raise ValueError(f"`rows` ({rows.shape} {rows.dtype}) must be {self.shape[1:]} {self.dtype} each")
        with self._lock:
            self._file.seek(0, 2)
            left = memoryview(np.ascontiguousarray(rows).data).cast("B")
            while left:
                left = left[self._file.write(left) :]

    def __getitem__(self, box: tuple[slice, slice]) -> NDArray[Any]:
        """A copy of the box, [y1 - y0, x1 - x0(, C)]."""
        (y0, y1, _), (x0, x1, _) = (part.indices(length) for part, length in zip(box, self.shape, strict=False))
        part = np.empty((max(0, y1 - y0), max(0, x1 - x0), *self.shape[2:]), self.dtype)
        step = max(1, BYTES_AT_ONCE // self._row_bytes)
        for y in range(y0, y1, step):
            n_rows = min(step, y1 - y)
            part[y - y0 : y - y0 + n_rows] = self._rows(y, n_rows)[:, x0:x1]
        return part

    def _rows(self, y: int, n_rows: int) -> NDArray[Any]:
        data = bytearray(n_rows * self._row_bytes)
        with self._lock:
            self._file.seek(y * self._row_bytes)
            left = memoryview(data)
            while left and (found := self._file.readinto(left)):
                left = left[found:]
        if left:
            raise ValueError(f"rows {y}..{y + n_rows - 1} are not all there: only what was appended can be read")
        return np.frombuffer(data, self.dtype).reshape(n_rows, *self.shape[1:])
