"""A bare board under solder mask: the same layout in every image, a little shifted, turned and differently etched."""

import cv2
import numpy as np

from flawmap.sample_data.board_layout import Layout, make_layout
from flawmap.sample_data.fields import Field, blur, profile, slow, slow_like, white
from flawmap.sample_data.part import Box, Change, window

_BACKGROUND, _SUBSTRATE, _COPPER, _PAD, _SILK, _HOLE = 22.0, 76.0, 110.0, 178.0, 212.0, 14.0  # grey levels
_ROWS = 256  # drawn at a time
_NEAR = 700  # px within which a trace or pad to damage is looked for


class Board:
    """A board product: its layout."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        self.height, self.width = height, width
        self.layout = make_layout(height, width, rng)
        layers = (self.layout.copper, self.layout.pads, self.layout.silk, self.layout.holes)
        # The lens and the etching bath both round corners: blurred once, sharpened again image by image.
        self._layers = [np.asarray(cv2.GaussianBlur(layer, (0, 0), 1.3), np.uint8) for layer in layers]

    def part(self, rng: np.random.Generator) -> "BoardPart":
        """The next board: shifted to 2 px, turned to 0.03 degrees, each layer a little wider or narrower."""
        shift = rng.normal(0, 0.9, 2)
        turn = float(rng.normal(0, 0.012))
        matrix = cv2.getRotationMatrix2D((self.width / 2, self.height / 2), turn, 1.0)
        matrix[:, 2] = matrix[:, 2] + shift
        silk = matrix.copy()
        silk[:, 2] = silk[:, 2] + rng.normal(0, 0.7, 2)  # printed in another step, never quite in register
        warped = [
            cv2.warpAffine(layer, silk if number == 2 else matrix, (self.width, self.height))
            for number, layer in enumerate(self._layers)
        ]
        scene = slow(rng, self.height, self.width, 500, 500)
        scene *= np.float32(1.5)
        scene += np.float32(_SUBSTRATE)
        widths = np.clip(rng.normal(0, 0.03, 4), -0.06, 0.06)
        etch = slow(rng, self.height, self.width, 6, 6)
        np.clip(etch, -1.6, 1.6, out=etch)  # no speck where nothing was printed
        for y in range(0, self.height, _ROWS):
            rows = slice(y, min(y + _ROWS, self.height))
            self._draw_rows(scene[rows], [layer[rows] for layer in warped], etch[rows], widths, rng)
        self._cut_outline(scene, matrix, rng)
        return BoardPart(scene, self.layout, matrix)

    def _draw_rows(
        self, scene: Field, layers: list[np.ndarray], etch: Field, widths: np.ndarray, rng: np.random.Generator
    ) -> None:
        """Adds copper, pads, lettering and holes to some rows of bare substrate, in place."""
        noise = white(rng, *scene.shape)
        glass = blur(noise, 2.0)
        grain = blur(noise, 0.7)
        scene += glass * np.float32(12)  # the glass cloth below the mask
        scene += grain * np.float32(7)
        greys = (_COPPER, _PAD, _SILK, _HOLE)
        textures = (None, glass * np.float32(22) + grain * np.float32(7), grain * np.float32(9), None)
        roughness = (0.075, 0.05, 0.065, 0.03)
        for layer, grey, texture, rough, wider in zip(layers, greys, textures, roughness, widths, strict=True):
            if not layer.any():
                continue
            cover = layer.astype(np.float32)
            cover *= np.float32(1.9 / 255)
            cover += np.float32(0.5 - 0.95 + 1.9 * wider)
            cover += etch * np.float32(1.9 * rough)
            np.clip(cover, 0, 1, out=cover)
            if grey == _COPPER:  # the mask lies over it: the copper lifts the grey and leaves the texture
                scene += cover * np.float32(_COPPER - _SUBSTRATE)
                continue
            scene += cover * (np.float32(grey) - scene)
            if texture is not None:
                scene += cover * texture

    def _cut_outline(self, scene: Field, matrix: np.ndarray, rng: np.random.Generator) -> None:
        """The routed edge of the board and the conveyor beyond it, in place."""
        margin = self.layout.margin
        for turns in range(4):
            side = np.rot90(scene, turns)  # a view with the edge to cut at its top
            length = side.shape[1]
            shift = (matrix[1, 2], matrix[0, 2])[turns % 2] * (0.0 if margin < 16 else 0.3)
            line = margin + shift + rng.normal(0, 0.8) + 0.4 * profile(rng, length, 300) + 0.2 * profile(rng, length, 8)
            band = side[: margin + 24]
            distance = np.arange(band.shape[0], dtype=np.float32)[:, None] - line[None].astype(np.float32)
            inside = np.clip(distance / 1.6 + 0.5, 0, 1)
            rim = 26 * np.exp(-(((distance - 3) / 2.0) ** 2))  # bare glass at the cut
            outside = _BACKGROUND + 1.5 * slow_like(rng, band, 30, 30)
            band[:] = inside * (band + rim * (band > 2 * _BACKGROUND)) + (1 - inside) * np.minimum(outside, band)


class BoardPart:
    """One board: see `flawmap.sample_data.part.Part`."""

    has_layout = True
    structures = ("open", "short", "mouse_bite", "missing_pad", "extra_copper")

    def __init__(self, scene: Field, layout: Layout, matrix: np.ndarray) -> None:
        self.scene, self._layout, self._matrix = scene, layout, matrix

    @property
    def box(self) -> Box:
        """The board without its edges."""
        inset = self._layout.margin + 8
        height, width = self.scene.shape
        return (inset, inset, height - inset, width - inset)

    def structure(self, kind: str, y: int, x: int, level: float, rng: np.random.Generator) -> Change | None:
        """A whole fault of etching or plating at the trace or pad nearest to (y, x), if one is near."""
        if kind == "extra_copper":
            return self._copper(y, x, rng.uniform(7, 22), rng.uniform(7, 22), rng.uniform(0, np.pi), rng)
        if kind == "missing_pad":
            return self._missing_pad(y, x, rng)
        place = self._trace_near(y, x, rng)
        if place is None:
            return None
        py, px, angle = place
        if kind == "short":
            side = rng.choice([-1, 1])
            reach = rng.uniform(9, 16)
            py, px = py + side * np.cos(angle) * reach / 2, px - side * np.sin(angle) * reach / 2
            return self._copper(py, px, reach + 7, rng.uniform(5, 9), angle + np.pi / 2, rng)
        if kind == "open":
            return self._bite(py, px, angle, rng.uniform(5, 16), 12, rng)
        side = rng.choice([-2.6, 2.6])
        py, px = py + side * np.cos(angle), px - side * np.sin(angle)
        return self._bite(py, px, angle, rng.uniform(6, 12), 5.5, rng)

    def _trace_near(self, y: int, x: int, rng: np.random.Generator) -> tuple[float, float, float] | None:
        """A point on a trace, in the image, and the trace's angle; None where no trace is near."""
        runs = np.array(self._layout.runs, np.float64).reshape(-1, 4)
        share = rng.uniform(0.15, 0.85, len(runs))
        points = runs[:, :2] + share[:, None] * (runs[:, 2:] - runs[:, :2])
        distance = np.hypot(points[:, 0] - y, points[:, 1] - x)
        if not len(runs) or distance.min() > _NEAR:
            return None
        best = int(distance.argmin())
        dy, dx = runs[best, 2:] - runs[best, :2]
        return *self._in_image(*points[best]), float(np.arctan2(dy, dx))

    def _in_image(self, y: float, x: float) -> tuple[float, float]:
        """From the layout's plane to this image's."""
        px, py = self._matrix @ (x, y, 1.0)
        return float(py), float(px)

    def _copper(self, y: float, x: float, long: float, wide: float, angle: float, rng: np.random.Generator) -> Change:
        """Copper left where it should have been etched away."""
        top, left, before = window(self.scene, int(y) - 24, int(x) - 24, 48, 48)
        blob = _blob(before.shape, y - top, x - left, long, wide, angle, rng)
        lift = np.clip(_COPPER - blur(before, 1.2), 0, _COPPER - _SUBSTRATE)
        return Change(top, left, blur(blob * lift, 0.5))

    def _bite(self, y: float, x: float, angle: float, long: float, wide: float, rng: np.random.Generator) -> Change:
        """Copper etched away where it should be."""
        top, left, before = window(self.scene, int(y) - 24, int(x) - 24, 48, 48)
        blob = _blob(before.shape, y - top, x - left, long, wide, angle, rng)
        drop = np.clip(_SUBSTRATE - blur(before, 0.8), _SUBSTRATE - _COPPER, 0)
        return Change(top, left, blur(blob * drop, 0.5))

    def _missing_pad(self, y: int, x: int, rng: np.random.Generator) -> Change | None:
        """A pad whose metal is not there (or, faintly, not all of it)."""
        pads = [pad for pad in self._layout.pad_list if pad.out != (0, 0)]
        if not pads:
            return None
        pad = min(pads, key=lambda p: (p.y - y) ** 2 + (p.x - x) ** 2)
        if np.hypot(pad.y - y, pad.x - x) > _NEAR:
            return None
        py, px = (round(c) for c in self._in_image(pad.y, pad.x))
        h, w = pad.half_y + 7, pad.half_x + 7
        top, left, before = window(self.scene, py - h, px - w, 2 * h + 1, 2 * w + 1)
        rows, columns = np.arange(before.shape[0]) + top - py, np.arange(before.shape[1]) + left - px
        inside_y, inside_x = (np.clip(r + 4 - np.abs(c), 0, 1) for r, c in ((pad.half_y, rows), (pad.half_x, columns)))
        bare = _SUBSTRATE + 4 + 2.5 * slow_like(rng, before, 5, 5)
        grey = np.minimum(bare - before, 0) * inside_y[:, None] * inside_x[None]
        return Change(top, left, grey.astype(np.float32))


def _blob(
    shape: tuple[int, ...], y: float, x: float, long: float, wide: float, angle: float, rng: np.random.Generator
) -> Field:
    """A ragged, rounded rectangle of `long` x `wide` px around (y, x), 0..1, float32."""
    rows, columns = np.arange(shape[0])[:, None] - y, np.arange(shape[1])[None] - x
    u = (columns * np.cos(angle) + rows * np.sin(angle)) / (long / 2)
    v = (rows * np.cos(angle) - columns * np.sin(angle)) / (wide / 2)
    radius = (u**4 + v**4) ** 0.25 + 0.13 * slow(rng, shape[0], shape[1], 6, 6)
    return np.asarray(np.clip((1 - radius) * min(long, wide) / 2 + 0.5, 0, 1), np.float32)
