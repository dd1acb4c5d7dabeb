"""The first guess of a pose: phase correlation against the reference turned by every angle in steps.

Kuglin & Hines, "The phase correlation image alignment method", 1975: the inverse Fourier transform of the cross
spectrum, every frequency given the same size, has a peak at the shift. A wrong angle smears the peak, so a grid of
angles replaces the log-polar transform (Reddy & Chatterji 1996), which cannot tell small angles at this size.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.registration.levels import Grey
from flawmap.tiling.registration.pose import Pose

LARGEST_ANGLE = 2.0
"""Degrees to either side within which a part is looked for."""
LARGEST_SHIFT = 0.1
"""Share of the picture's height and width within which it is looked for."""

_TAPER = 0.12  # share of a side over which the picture fades to nothing: the transform takes it as endless
_CANDIDATES = 12  # peaks that are compared: a layout of equal cells has one for every cell
_PEAK_RADIUS = 2  # px around a peak that belong to it


class CoarseSearch:
    """Looks for a shrunk picture in a shrunk reference."""

    def __init__(self, reference: Grey, factor: int) -> None:
        """`reference`: [h, w] float32 at `factor` (see `Level`)."""
        self._reference, self._factor = reference, factor
        height, width = reference.shape
        self._size = (cv2.getOptimalDFTSize(height), cv2.getOptimalDFTSize(width))
        self._window = _fade(height)[:, None] * _fade(width)[None]
        self._reach = (max(2, int(LARGEST_SHIFT * height)), max(2, int(LARGEST_SHIFT * width)))
        # Neighbouring angles move a corner by a pixel against one another.
        step = float(np.degrees(2 / np.hypot(height, width)))
        n_steps = int(np.ceil(LARGEST_ANGLE / step))
        self.angles = np.arange(-n_steps, n_steps + 1) * step
        centre = ((width - 1) / 2, (height - 1) / 2)
        self._spectra = []
        for angle in self.angles:
            matrix = cv2.getRotationMatrix2D(centre, float(angle), 1.0)
            turned = cv2.warpAffine(reference, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
            self._spectra.append(np.conj(self._phases(np.asarray(turned, np.float32))) * self._low_pass())

    def candidates(self, image: Grey, height: int, width: int) -> list[Pose]:
        """Poses of the native `height` x `width` picture worth a closer look, the most likely first."""
        phases = self._phases(image)
        surfaces = [self._surface(phases * spectrum) for spectrum in self._spectra]
        peaks = np.array([surface.max() for surface in surfaces])
        best = int(peaks.argmax())
        angle = float(self.angles[best])
        if 0 < best < len(peaks) - 1:
            angle += _vertex(*peaks[best - 1 : best + 2]) * float(self.angles[1] - self.angles[0])
        reach_y, reach_x = self._reach
        return [
            Pose((y - reach_y) * self._factor, (x - reach_x) * self._factor, angle, height, width)
            for y, x in _peaks(surfaces[best], _CANDIDATES)
        ]

    def _phases(self, picture: Grey) -> NDArray[np.complex64]:
        spectrum = np.fft.rfft2((picture - picture.mean()) * self._window, s=self._size)
        size = np.abs(spectrum)
        return np.asarray(spectrum / (size + np.float32(0.01) * size.mean() + np.float32(1e-30)), np.complex64)

    def _low_pass(self) -> Grey:
        """The finest frequencies are mostly noise and resampling."""
        fy = np.fft.fftfreq(self._size[0])[:, None]
        fx = np.fft.rfftfreq(self._size[1])[None]
        return np.asarray(np.exp(-(fy**2 + fx**2) / (2 * 0.2**2)), np.float32)

    def _surface(self, cross: NDArray[np.complex64]) -> Grey:
        """[2 reach + 1, 2 reach + 1]: the correlation at every shift within reach, no shift in the middle."""
        whole = np.fft.irfft2(cross, s=self._size)
        reach_y, reach_x = self._reach
        rows, columns = np.arange(-reach_y, reach_y + 1), np.arange(-reach_x, reach_x + 1)
        return np.asarray(whole[rows[:, None], columns[None]], np.float32)


def _fade(side: int) -> Grey:
    """Tukey's window: 1 but for cosine flanks at both ends."""
    place = np.minimum(np.arange(side) + 0.5, side - np.arange(side) - 0.5) / (_TAPER * side)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(place, 1)), np.float32)


def _peaks(surface: Grey, most: int) -> list[tuple[float, float]]:
    """(y, x) of the highest local maxima, to a fraction of a pixel, highest first."""
    size = 2 * _PEAK_RADIUS + 1
    highest = cv2.dilate(surface, np.ones((size, size), np.uint8))
    ys, xs = np.nonzero((surface == highest) & (surface > 0.3 * surface.max()))
    order = np.argsort(-surface[ys, xs], kind="stable")[:most]
    found = []
    for y, x in zip(ys[order].tolist(), xs[order].tolist(), strict=True):
        dy = _vertex(*surface[y - 1 : y + 2, x]) if 0 < y < surface.shape[0] - 1 else 0.0
        dx = _vertex(*surface[y, x - 1 : x + 2]) if 0 < x < surface.shape[1] - 1 else 0.0
        found.append((y + dy, x + dx))
    return found


def _vertex(before: float, at: float, after: float) -> float:
    """Where between -0.5 and 0.5 the parabola through three heights has its top."""
    bend = float(before) - 2 * float(at) + float(after)
    return 0.0 if bend >= 0 else float(np.clip((float(before) - float(after)) / (2 * bend), -0.5, 0.5))
