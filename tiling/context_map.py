"""What an aligned product shows at each place: its reference picture and by how much good parts differ from it there.

Both are kept in one array, the context: the reference's channels and, last, the spread. The network is shown the
context beside the image, so that it knows what a tile alone cannot tell: a hole that is not drilled, a trace that
should not be there, an edge that every part cuts a little differently.

Two planes: px of the image, and px of the reference. `to_reference` is the matrix float64 [2, 3] that takes (x, y, 1)
of the image to (x, y) of the reference; `local` says where in the image the layout lies a few px beside that.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.grid import Box
from flawmap.tiling.padding import Padding, source_index
from flawmap.tiling.registration.local import LocalShifts, measure_local_shifts, warp_displaced

SPREAD_STEPS = 8.0  # codes a grey level: integer images keep spreads of up to 31.9 of 255 grey levels in 8 bits
CHANNELS_AT_ONCE = 4  # that OpenCV warps

Matrix = NDArray[np.float64]
Image = NDArray[Any]  # uint8, uint16 or float32


@dataclass(frozen=True)
class ContextMap:
    """`pixels` is [H, W, C + 1] in the images' dtype: the reference and the coded spread."""

    pixels: Image

    @classmethod
    def of(cls, image: Image, spread: NDArray[np.float32]) -> "ContextMap":
        """From a reference `image` [H, W] or [H, W, C] and the `spread` of good ones around it, float32 [H, W]."""
        code: Image = spread
        if image.dtype.kind == "u":
            code = np.clip(np.rint(spread * SPREAD_STEPS), 0, np.iinfo(image.dtype.name).max).astype(image.dtype)
        return cls(np.dstack([image, code]))

    @property
    def image(self) -> Image:
        """[H, W] or [H, W, C]."""
        image = self.pixels[..., :-1]
        return np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)

    @property
    def spread(self) -> NDArray[np.float32]:
        """[H, W], in grey levels."""
        code = self.pixels[..., -1].astype(np.float32)
        return code / np.float32(SPREAD_STEPS) if self.pixels.dtype.kind == "u" else code

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.pixels.shape[:2]
        return height, width

    def laid_on(self, image: Image, to_reference: Matrix, reach: int) -> tuple[Image, LocalShifts]:
        """(the context as `image` shows it, [H, W, C + 1]; what the pose left over, looked for within `reach` px)."""
        seen = self.seen_by(to_reference)
        mono = seen.shape[2] == 2
        laid = cv2.extractChannel(seen, 0) if mono else np.ascontiguousarray(seen[..., :-1])
        local = measure_local_shifts(laid, image, reach)
        self._displace(seen, 0, 0, to_reference, local)
        return seen, local

    def seen_by(self, to_reference: Matrix) -> Image:
        """The context as an image of the reference's size shows it by its pose alone, [H, W, C + 1]."""
        return self._warp(to_reference, 0, 0, *self.shape)

    def tile(
        self,
        to_reference: Matrix,
        border: int,
        padding: Padding,
        y: int,
        x: int,
        height: int,
        width: int,
        local: LocalShifts | None = None,
    ) -> Image:
        """`height` x `width` px of the context from (`y`, `x`) on, in an image padded by `border` px.

        As `TileGrid.pad` would show them, but only these px are computed: [height, width, C + 1].
        """
        rows = source_index(np.arange(y - border, y - border + height), self.shape[0], padding)
        columns = source_index(np.arange(x - border, x - border + width), self.shape[1], padding)
        y0, x0 = int(rows.min()), int(columns.min())
        part = self._warp(to_reference, y0, x0, int(rows.max()) + 1 - y0, int(columns.max()) + 1 - x0)
        if local:
            self._displace(part, y0, x0, to_reference, local)
        if part.shape[:2] == (height, width) and rows[0] == y0 and columns[0] == x0:
            return part
        return np.asarray(part[np.ix_(rows - y0, columns - x0)])

    def _displace(self, seen: Image, y: int, x: int, to_reference: Matrix, local: LocalShifts) -> None:
        """Corrects `seen`, the context from pixel (`y`, `x`) of the image on, by what the pose left over."""

        def warp(box: Box, dy: float, dx: float) -> Image:
            return self._warp(to_reference, box.y0 + dy, box.x0 + dx, box.y1 - box.y0, box.x1 - box.x0)

        warp_displaced(seen, y, x, local, warp)

    def _warp(self, to_reference: Matrix, y: float, x: float, height: int, width: int) -> Image:
        matrix = to_reference.copy()
        matrix[:, 2] += to_reference[:, :2] @ (x, y)
        parts = [
            cv2.warpAffine(
                self.pixels[..., k : k + CHANNELS_AT_ONCE],
                matrix,
                (width, height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_REFLECT_101,
            ).reshape(height, width, -1)
            for k in range(0, self.pixels.shape[2], CHANNELS_AT_ONCE)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
