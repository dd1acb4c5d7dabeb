"""How large, long, wide, bright and near each other regions are: what is visible of them, in px or on the part."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling import shape_kernels
from flawmap.tiling.physical_size import PixelSize
from flawmap.tiling.region_kernels import REGION_DTYPE

PX = PixelSize(x_um=1.0, y_um=1.0)  # measures in px


@dataclass(frozen=True)
class TracedRegions:
    """Regions and their visible pixels: see `flawmap.tiling.visible_pixels`.

    A span (SPAN_DTYPE) is what one row holds of one region: it begins and ends with a visible pixel.
    """

    regions: NDArray[np.void]  # REGION_DTYPE [k], of all their pixels
    spans: NDArray[np.void]  # SPAN_DTYPE [n], region by region, row by row; `y`, `x0` and `x1` say what is visible
    begins: NDArray[np.int64]  # [k + 1]: spans[begins[i] : begins[i + 1]] are those of region i
    counts: NDArray[np.int64]  # [n]: visible pixels of each span
    deviations: NDArray[np.float64]  # [n]: image minus reconstruction, summed over them; NaN where it is not known

    def __len__(self) -> int:
        return len(self.regions)

    def first(self, n: int) -> "TracedRegions":
        """The first `n` of them."""
        end = self.begins[n]
        return TracedRegions(
            self.regions[:n], self.spans[:end], self.begins[: n + 1], self.counts[:end], self.deviations[:end]
        )

    @property
    def areas(self) -> NDArray[np.int64]:
        """Visible pixels of each region, [k]."""
        return np.add.reduceat(self.counts, self.begins[:-1]) if len(self) else np.zeros(0, np.int64)

    @property
    def contrasts(self) -> NDArray[np.float64]:
        """Mean of image minus reconstruction over the visible pixels of each region, in the image's levels; [k]."""
        sums = np.add.reduceat(self.deviations, self.begins[:-1]) if len(self) else np.zeros(0)
        return np.asarray(sums / self.areas, np.float64)

    def rectangles(self, pixel: PixelSize = PX) -> NDArray[np.float64]:
        """Length and width, [k, 2]: the sides of the rectangle of the smallest area around each region, at any angle.

        In px, or in um with what a `pixel` covers.
        """
        sides = np.empty((len(self), 2), np.float64)
        shape_kernels.rectangles(self.spans, self.begins, pixel.y_um, pixel.x_um, sides)
        return sides

    def nearest(self, counted: NDArray[np.bool_], within: float, pixel: PixelSize = PX) -> NDArray[np.float64]:
        """Distance of each region from the nearest other one that is `counted` [k], edge to edge; [k].

        Infinite where there is none at most `within` away: nobody looks farther. In px, or in um with a `pixel`.
        """
        return shape_kernels.nearest_gaps(
            self.spans, self.begins, self._boxes(), counted, within, pixel.y_um, pixel.x_um
        )

    def joined(self, within: float, pixel: PixelSize = PX) -> tuple["TracedRegions", NDArray[np.int64]]:
        """(regions of which those at most `within` apart, edge to edge, are one; of how many each consists, [k]).

        What was sorted by falling `score_max` stays so: a joined region stands where its highest part stood.
        """
        first = shape_kernels.join_near(self.spans, self.begins, self._boxes(), within, pixel.y_um, pixel.x_um)
        kept, group, fragments = np.unique(first, return_inverse=True, return_counts=True)
        # Rows of a joined region from top to bottom, as those of any region.
        of_span = np.repeat(group, np.diff(self.begins))
        order = np.lexsort((self.spans["x0"], self.spans["y"], of_span))
        begins = np.searchsorted(of_span[order], np.arange(len(kept) + 1))
        regions = _merged(self.regions, kept, group)
        joined = TracedRegions(regions, self.spans[order], begins, self.counts[order], self.deviations[order])
        return joined, fragments

    def _boxes(self) -> NDArray[np.int64]:
        """Half-open y0, x0, y1, x1 of what is visible, [k, 4]."""
        if not len(self):
            return np.zeros((0, 4), np.int64)
        first, last = self.begins[:-1], self.begins[1:] - 1
        x0, x1 = np.minimum.reduceat(self.spans["x0"], first), np.maximum.reduceat(self.spans["x1"], first)
        return np.stack([self.spans["y"][first], x0, self.spans["y"][last] + 1, x1], axis=1).astype(np.int64)


def _merged(regions: NDArray[np.void], kept: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.void]:
    """One region for each of `kept`, from all whose `group` [k] is its place there; it has the highest of the peaks."""
    merged = np.zeros(len(kept), REGION_DTYPE)
    for name in ("score_max", "peak_y", "peak_x"):
        merged[name] = regions[name][kept]
    for name, reduce in (("y0", np.minimum), ("x0", np.minimum), ("y1", np.maximum), ("x1", np.maximum)):
        merged[name] = regions[name][kept]
        reduce.at(merged[name], group, regions[name])
    np.add.at(merged["area_px"], group, regions["area_px"])
    for name in ("score_mean", "centroid_y", "centroid_x"):
        weighted = np.bincount(group, regions[name] * regions["area_px"].astype(np.float64), len(kept))
        merged[name] = weighted / merged["area_px"]
    return merged
