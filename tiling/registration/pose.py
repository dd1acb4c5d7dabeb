"""Where the part lies in an image, against the reference: a shift and a turn.

Two planes: pixels of the reference and pixels of the image. Both have the same height and width; a pixel's centre has
whole coordinates. Matrices are OpenCV's, 2x3, and act on (x, y, 1).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """What moves the reference picture onto the image: a turn about the picture's centre, then a shift.

    `dy`, `dx`: where the part lies, in px down and to the right of where it lies in the reference, measured at the
    picture's centre. `angle`: degrees, counter-clockwise as the picture is seen. `height`, `width`: of both pictures.
    `quality`: 0 to 1, how much the image looks like the reference once it is laid on it (`Registration.register`).
    `displaced`: px by which some part of the layout lies beside that at most, where it was looked for (`LocalShifts`).
    """

    dy: float
    dx: float
    angle: float
    height: int
    width: int
    quality: float = 1.0
    displaced: float = 0.0

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the picture's centre, about which it turns."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    @property
    def to_image(self) -> Matrix:
        """[2, 3] float64: reference px (x, y, 1) to image px (x, y)."""
        matrix = np.asarray(cv2.getRotationMatrix2D(self.centre, self.angle, 1.0), np.float64)
        matrix[:, 2] += (self.dx, self.dy)
        return matrix

    @property
    def to_reference(self) -> Matrix:
        """[2, 3] float64: image px (x, y, 1) to reference px (x, y); the inverse of `to_image`."""
        forward = self.to_image
        turn = forward[:, :2].T  # a rotation's inverse
        return np.column_stack([turn, -turn @ forward[:, 2]])

    def at_factor(self, factor: int) -> Matrix:
        """`to_image` between the two pictures shrunk by `factor` (see `Level`)."""
        matrix, middle = self.to_image, (factor - 1) / 2
        matrix[:, 2] = (matrix[:, :2] @ (middle, middle) + matrix[:, 2] - middle) / factor
        return matrix

    def after(self, first: "Pose") -> "Pose":
        """The pose that does `first`, then this one; the quality is this one's."""
        return self._from_matrix(self.to_image @ np.vstack([first.to_image, (0, 0, 1)]), first.angle + self.angle)

    def inverse(self) -> "Pose":
        """The pose that takes the image for the reference and the reference for the image."""
        return self._from_matrix(self.to_reference, -self.angle)

    def _from_matrix(self, matrix: Matrix, angle: float) -> "Pose":
        x, y = self.centre
        moved = matrix @ (x, y, 1.0)
        return Pose(float(moved[1] - y), float(moved[0] - x), angle, self.height, self.width, self.quality)

    def farthest(self, other: "Pose") -> float:
        """px between where the two poses put the picture's four corners: the largest of the four distances."""
        corners = np.array([(x, y, 1.0) for x in (0, self.width - 1) for y in (0, self.height - 1)])
        apart = (self.to_image - other.to_image) @ corners.T
        return float(np.hypot(*apart).max())
