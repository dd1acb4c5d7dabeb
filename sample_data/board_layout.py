"""The layout of a bare circuit board: footprints, traces, vias, pours and lettering; one for a product.

Layers are coverage, uint8 [H, W], 0..255, drawn on a grid of PITCH px: a trace is 6 px wide, a via 22 px.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from flawmap.sample_data.board_routing import PITCH, Cell, Router

Layer = NDArray[np.uint8]

_TRACE = 6  # px wide
_WHITE = 255
_SHIFT = 3  # cv2's fractional bits

# Footprints: pins a side, sides with pins, cells from pin to pin, cells across the body, share of the components
_FOOTPRINTS = ((12, 4, 2, 30, 0.10), (7, 2, 2, 12, 0.30), (4, 2, 2, 12, 0.25), (5, 1, 5, 6, 0.15), (3, 2, 2, 8, 0.20))


@dataclass(frozen=True)
class Pad:
    """A pad in px: centre and half sizes; `cell` and `net` on the grid; `out` points off its footprint."""

    y: int
    x: int
    half_y: int
    half_x: int
    cell: Cell
    net: int
    out: Cell


@dataclass
class Layout:
    """The layers of a board, and where its pads and traces lie (px)."""

    copper: Layer
    pads: Layer
    holes: Layer
    silk: Layer
    pad_list: list[Pad] = field(default_factory=list)
    runs: list[tuple[int, int, int, int]] = field(default_factory=list)  # straight pieces of trace: y0, x0, y1, x1
    margin: int = 0


def make_layout(height: int, width: int, rng: np.random.Generator) -> Layout:
    """Draws a board that fills the image but for a margin of background."""
    copper, pads, holes, silk = (np.zeros((height, width), np.uint8) for _ in range(4))
    layout = Layout(copper, pads, holes, silk, margin=max(14, min(height, width) // 60))
    router = Router(height, width)
    edge = layout.margin // PITCH + 3
    for y0, x0, y1, x1 in ((0, 0, edge, width), (0, 0, height, edge)):
        router.take(y0, x0, y1, x1, -1)
    router.owner[-edge:], router.owner[:, -edge:] = -1, -1
    _mounting_holes(layout, router)
    _title(layout, router, rng)
    _place_footprints(layout, router, rng)
    _place_passives(layout, router, rng)
    _route(layout, router, rng)
    _pour(layout, rng)
    layout.silk[cv2.dilate(np.maximum(layout.pads, layout.holes), np.ones((9, 9), np.uint8)) > 0] = 0
    return layout


def _mounting_holes(layout: Layout, router: Router) -> None:
    height, width = layout.copper.shape
    radius = int(np.clip(min(height, width) / 40, 14, 52))
    inset = layout.margin + 2 * radius + 12
    for y in (inset, height - inset):
        for x in (inset, width - inset):
            cv2.circle(layout.pads, (x, y), int(radius * 1.6), _WHITE, -1, cv2.LINE_AA)
            cv2.circle(layout.holes, (x, y), radius, _WHITE, -1, cv2.LINE_AA)
            reach = int(radius * 1.6) // PITCH + 2
            row, column = y // PITCH, x // PITCH
            router.take(row - reach, column - reach, row + reach + 1, column + reach + 1, -1)


def _add_pad(layout: Layout, router: Router, cell: Cell, half: tuple[int, int], out: Cell, drill: int = 0) -> None:
    """A pad centred on a cell: rectangular, or round with a hole of radius `drill` px."""
    y, x = cell[0] * PITCH + PITCH // 2, cell[1] * PITCH + PITCH // 2
    net = len(layout.pad_list) + 1
    if drill:
        cv2.circle(layout.pads, (x, y), half[0], _WHITE, -1, cv2.LINE_AA)
        cv2.circle(layout.holes, (x, y), drill, _WHITE, -1, cv2.LINE_AA)
    else:
        cv2.rectangle(layout.pads, (x - half[1], y - half[0]), (x + half[1], y + half[0]), _WHITE, -1)
    # Its own cells, with room for the mask around it.
    rows, columns = (half[0] + 2) // PITCH, (half[1] + 2) // PITCH
    router.take(cell[0] - rows, cell[1] - columns, cell[0] + rows + 1, cell[1] + columns + 1, net)
    layout.pad_list.append(Pad(y, x, *half, cell, net, out))


def _text(layer: Layer, text: str, y: int, x: int, size: float, upright: bool = True) -> None:
    """Lettering as a plotter would draw it, its lower left at (y, x); not upright: it reads from bottom to top."""
    stroke = max(2, round(3 * size))
    (w, h), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, stroke)
    plate = np.zeros((h + 4 * stroke, w + 4 * stroke), np.uint8)
    origin = (2 * stroke, h + 2 * stroke)
    cv2.putText(plate, text, origin, cv2.FONT_HERSHEY_SIMPLEX, size, _WHITE, stroke, cv2.LINE_AA)
    if not upright:
        plate = np.ascontiguousarray(np.rot90(plate))
    top, left = max(y - plate.shape[0], 0), max(x, 0)
    target = layer[top : top + plate.shape[0], left : left + plate.shape[1]]
    np.maximum(target, plate[: target.shape[0], : target.shape[1]], out=target)


def _place_footprints(layout: Layout, router: Router, rng: np.random.Generator) -> None:
    """Integrated circuits and connectors, large ones first."""
    rows, columns = router.owner.shape
    wanted = max(1, round(rows * columns / 2100))
    shares = np.array([f[4] for f in _FOOTPRINTS])
    kinds = np.sort(rng.choice(len(_FOOTPRINTS), wanted, p=shares / shares.sum()))
    numbers = {"U": 0, "J": 0}
    for kind in kinds:
        pins, sides, step, across, _ = _FOOTPRINTS[kind]
        along = (pins - 1) * step + (8 if sides == 4 else 2)
        across = along if sides == 4 else across
        turned = bool(rng.random() < 0.5) and sides != 4
        h, w = (across, along) if turned else (along, across)
        for _ in range(25):
            y, x = int(rng.integers(1, max(rows - h, 2))), int(rng.integers(1, max(columns - w, 2)))
            if router.is_free(y - 5, x - 5, y + h + 5, x + w + 5):
                letter = "J" if sides == 1 else "U"
                numbers[letter] += 1
                _footprint(layout, router, (y, x, y + h, x + w), (pins, sides, step), turned)
                _text(layout.silk, f"{letter}{numbers[letter]}", (y - 1) * PITCH - 4, x * PITCH, 0.8)
                break


def _footprint(
    layout: Layout, router: Router, box: tuple[int, int, int, int], pinning: tuple[int, int, int], turned: bool
) -> None:
    """Pads around (or along) a body of cells (y0, x0, y1, x1), its outline and the mark of pin 1."""
    y0, x0, y1, x1 = box
    pins, sides, step = pinning
    first = 4 if sides == 4 else 1
    for pin in range(pins):
        place = first + pin * step
        if sides == 1:
            cell = (y0 + 3, x0 + place) if turned else (y0 + place, x0 + 3)
            _add_pad(layout, router, cell, (21, 21), (1, 0) if turned else (0, 1), drill=12)
            continue
        across = [((y0 + place, x0), (0, -1)), ((y0 + place, x1 - 1), (0, 1))]
        upright = [((y0, x0 + place), (-1, 0)), ((y1 - 1, x0 + place), (1, 0))]
        for cell, out in (across + upright) if sides == 4 else (upright if turned else across):
            _add_pad(layout, router, cell, (6, 19) if out[0] == 0 else (19, 6), out)
    inset = 0 if sides == 1 else 30
    corner = (x0 * PITCH + inset, y0 * PITCH + inset)
    opposite = (x1 * PITCH - inset, y1 * PITCH - inset)
    cv2.rectangle(layout.silk, corner, opposite, _WHITE, 3, cv2.LINE_AA)
    cv2.circle(layout.silk, (corner[0] + 14, corner[1] + 14), 5, _WHITE, -1, cv2.LINE_AA)
    if sides == 4:  # the pad under the body that leads its heat away
        middle = ((y0 + y1) // 2 * PITCH, (x0 + x1) // 2 * PITCH)
        half = (x1 - x0) * PITCH // 5
        cv2.rectangle(
            layout.pads, (middle[1] - half, middle[0] - half), (middle[1] + half, middle[0] + half), _WHITE, -1
        )
        reach = half // PITCH + 2
        row, column = middle[0] // PITCH, middle[1] // PITCH
        router.take(row - reach, column - reach, row + reach, column + reach, -1)


def _place_passives(layout: Layout, router: Router, rng: np.random.Generator) -> None:
    """Resistors and capacitors: two pads, an outline, a name."""
    rows, columns = router.owner.shape
    numbers = {"R": 0, "C": 0}
    for _ in range(rows * columns // 110):
        y, x = int(rng.integers(1, rows)), int(rng.integers(1, columns))
        upright = bool(rng.random() < 0.4)
        h, w = (7, 3) if upright else (3, 7)
        if not router.is_free(y - 3, x - 3, y + h + 3, x + w + 3):
            continue
        ends = [((y + 1, x + 1), (-1, 0)), ((y + 5, x + 1), (1, 0))] if upright else []
        ends = ends or [((y + 1, x + 1), (0, -1)), ((y + 1, x + 5), (0, 1))]
        for cell, out in ends:
            _add_pad(layout, router, cell, (13, 17) if upright else (17, 13), out)
        corner = (x * PITCH - 8, y * PITCH - 8)
        cv2.rectangle(layout.silk, corner, ((x + w) * PITCH + 8, (y + h) * PITCH + 8), _WHITE, 2, cv2.LINE_AA)
        letter = str(rng.choice(["R", "C"]))
        numbers[letter] += 1
        _text(layout.silk, f"{letter}{numbers[letter]}", y * PITCH - 12, x * PITCH - 8, 0.55)


def _route(layout: Layout, router: Router, rng: np.random.Generator) -> None:
    """Connects each pad to a near one if there is a way, else to a via, where its trace dives to the other side."""
    pads = layout.pad_list.copy()
    if not pads:
        return
    cells = np.array([pad.cell for pad in pads])
    used: set[int] = set()
    for number in rng.permutation(len(pads)).tolist():
        pad = pads[number]
        if pad.net in used:
            continue
        distance = np.abs(cells - cells[number]).max(1)
        near = np.flatnonzero((distance > 5) & (distance < 90))
        near = near[np.argsort(distance[near] + rng.uniform(0, 25, len(near)))][:7]
        for other in (pads[n] for n in near.tolist()):
            corners = None if other.net in used else router.connect(pad.cell, other.cell, pad.net, other.net, rng)
            if corners:
                _draw_trace(layout, corners)
                used.update((pad.net, other.net))
                break
        else:
            _escape(layout, router, pad, rng)


def _escape(layout: Layout, router: Router, pad: Pad, rng: np.random.Generator) -> None:
    """A short trace from a pad to a via of its own."""
    for _ in range(10):
        reach, aside = int(rng.integers(4, 14)), int(rng.integers(-5, 6))
        out_y, out_x = pad.out
        cell = (pad.cell[0] + out_y * reach + out_x * aside, pad.cell[1] + out_x * reach + out_y * aside)
        if not router.is_free(cell[0] - 1, cell[1] - 1, cell[0] + 2, cell[1] + 2):
            continue
        corners = router.connect(pad.cell, cell, pad.net, 0, rng)
        if corners:
            _draw_trace(layout, corners)
            _add_pad(layout, router, cell, (11, 11), (0, 0), drill=5)
            return


def _draw_trace(layout: Layout, corners: list[Cell]) -> None:
    points = np.array(corners)[:, ::-1] * PITCH + PITCH // 2
    cv2.polylines(layout.copper, [points * (1 << _SHIFT)], False, _WHITE, _TRACE, cv2.LINE_AA, _SHIFT)
    for (x0, y0), (x1, y1) in zip(points[:-1].tolist(), points[1:].tolist(), strict=True):
        if max(abs(x1 - x0), abs(y1 - y0)) >= 3 * PITCH:
            layout.runs.append((y0, x0, y1, x1))


def _pour(layout: Layout, rng: np.random.Generator) -> None:
    """Ground copper in some areas, keeping its distance from traces and pads."""
    height, width = layout.copper.shape
    area = np.zeros_like(layout.copper)
    inset = layout.margin + 16
    for _ in range(4):
        y, x = rng.uniform(0, 0.7) * height, rng.uniform(0, 0.7) * width
        corner = (max(int(x), inset), max(int(y), inset))
        end = (
            min(int(x + rng.uniform(0.15, 0.45) * width), width - inset),
            min(int(y + rng.uniform(0.15, 0.45) * height), height - inset),
        )
        cv2.rectangle(area, corner, end, _WHITE, -1)
    kept_clear = cv2.dilate(np.maximum(layout.copper, layout.pads), np.ones((15, 15), np.uint8))
    area[kept_clear > 0] = 0
    poured = cv2.morphologyEx(area, cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))  # no slivers
    np.maximum(layout.copper, poured, out=layout.copper)


def _title(layout: Layout, router: Router, rng: np.random.Generator) -> None:
    """The product's name and revision, where no pad is."""
    name = f"MB-{rng.integers(100, 999)} REV {rng.choice(list('ABCDE'))}"
    height, width = layout.copper.shape
    size = float(np.clip(min(height, width) / 1600, 0.6, 2.4))
    y, x = height - layout.margin - int(30 * size), width // 3
    _text(layout.silk, name, y, x, size)
    router.take(y // PITCH - int(3 * size) - 1, x // PITCH, y // PITCH + 1, x // PITCH + int(22 * size), -1)
    _text(layout.silk, f"{rng.integers(20, 27)}{rng.integers(10, 53)}", height // 2, layout.margin + 14, size, False)
    column = layout.margin // PITCH
    router.take(height // 2 // PITCH - int(9 * size), column, height // 2 // PITCH + 1, column + int(4 * size) + 1, -1)
