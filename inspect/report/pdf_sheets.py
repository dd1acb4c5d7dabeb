"""A4 sheets of a PDF that are filled from the top: headings, lines, tables, plots and pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray

from flawmap.inspect.plain_text import plain

WIDTH, HEIGHT, MARGIN = 210.0, 297.0, 18.0  # mm
INSIDE = WIDTH - 2 * MARGIN
MM_PER_INCH = 25.4
MEASURED_DPI = 1200  # of texts: at few dots an inch hinting makes letters wider
FREETYPE_UNITS = 64  # a dot
LINE = 4.6  # mm, of body text
BODY, SMALL, HEADING, TITLE = 9.0, 7.5, 12.0, 18.0  # points
INK, GREY = "#1c1f24", "#5b6169"
FONT = "DejaVu Sans"  # comes with matplotlib
GAP = 1.5  # mm, between two texts of a line
# Text that can be searched (42: TrueType), and in which a $ is a $.
SETTINGS: dict[Any, Any] = {"font.family": FONT, "pdf.fonttype": 42, "text.usetex": False, "text.parse_math": False}


class Sheets:
    """The PDF being written; `y` is how far the present sheet is filled, mm from its top."""

    def __init__(self, pages: PdfPages, footer: str) -> None:
        self._pages, self._footer = pages, footer
        self._figure: Figure | None = None
        self._number = 0
        self.y = MARGIN

    def new_sheet(self) -> None:
        """Ends the present sheet, if there is one."""
        self.finish()
        self._number += 1
        self._figure = Figure(figsize=(WIDTH / MM_PER_INCH, HEIGHT / MM_PER_INCH))
        self.y = MARGIN
        self._put(MARGIN, HEIGHT - 10, self._footer, SMALL, GREY)
        self._put(WIDTH - MARGIN, HEIGHT - 10, str(self._number), SMALL, GREY, align="right")

    def finish(self) -> None:
        """Writes the present sheet."""
        if self._figure is not None:
            self._pages.savefig(self._figure)  # type: ignore[no-untyped-call]
            self._figure = None

    def need(self, height: float) -> None:
        """Begins a new sheet unless the present one has room for `height` mm."""
        if self._figure is None or self.y + height > HEIGHT - MARGIN:
            self.new_sheet()

    def heading(self, text: str, size: float = HEADING) -> None:
        """A heading, and at least a few lines on the same sheet."""
        self.need(size * 0.6 + 4 * LINE)
        self.y += size * 0.6 if self.y > MARGIN else size * 0.35
        self._put(MARGIN, self.y, text, size, INK, weight="bold")
        self.y += 2

    def line(
        self, cells: Sequence[tuple[float, str]], *, size: float = BODY, colour: str = INK, bold: bool = False
    ) -> None:
        """One line of (mm from the margin, text); a text is cut where the next one begins."""
        self.need(LINE)
        self.y += LINE
        ends = [*(x for x, _ in cells[1:]), INSIDE]
        weight = "bold" if bold else "normal"
        for (x, text), end in zip(cells, ends, strict=True):
            self._put(MARGIN + x, self.y, fitted(text, end - x - GAP, size, weight), size, colour, weight=weight)

    def plot(self, height: float, *, width: float = INSIDE, left: float = 0.0) -> Axes:
        """Axes of `width` x `height` mm below what is there; `y` stays above them."""
        figure = self._present()
        return figure.add_axes(
            ((MARGIN + left) / WIDTH, 1 - (self.y + height) / HEIGHT, width / WIDTH, height / HEIGHT)
        )

    def picture(
        self, picture: NDArray[np.uint8], height: float, *, width: float, left: float = 0.0, dpi: int = 150
    ) -> None:
        """A picture [H, W, 3] in a box of `width` x `height` mm, as large as it fits there; shrunk to `dpi`."""
        share = min(width / picture.shape[1], height / picture.shape[0])
        wide, high = picture.shape[1] * share, picture.shape[0] * share
        side = max(1, round(wide / MM_PER_INCH * dpi)), max(1, round(high / MM_PER_INCH * dpi))
        if side[0] < picture.shape[1]:
            picture = np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_AREA), np.uint8)
        axes = self.plot(high, width=wide, left=left)
        axes.imshow(picture, interpolation="none", aspect="auto")
        axes.set_axis_off()

    def _present(self) -> Figure:
        assert self._figure is not None, "`need` comes first"
        return self._figure

    def _put(
        self, x: float, y: float, text: str, size: float, colour: str, *, align: Any = "left", weight: str = "normal"
    ) -> None:
        self._present().text(
            x / WIDTH,
            1 - y / HEIGHT,
            printable(text),
            fontsize=size,
            color=colour,
            ha=align,
            va="baseline",
            weight=weight,
        )


@contextmanager
def sheets(path: Path, title: str, footer: str) -> Iterator[Sheets]:
    """Writes the PDF `path`; its sheets are there when the block ends."""
    about = {"Title": printable(title), "Creator": "flawmap", "CreationDate": datetime.now().astimezone()}
    with rc_context(SETTINGS), PdfPages(path, metadata=about) as pages:
        drawn = Sheets(pages, footer)
        yield drawn
        drawn.finish()


def fitted(text: str, room: float, size: float, weight: str = "normal") -> str:
    """`text` as it is printed, in `room` mm: as it is or, if longer, both ends of it; of a path the end tells most."""
    text = shown = printable(text)
    n = len(text)
    while n > 2 and (width := _width(shown, size, weight)) > room:
        n = max(2, min(n - 1, int(n * room / width)))
        tail = n * 2 // 3
        shown = f"{text[: n - tail]}…{text[len(text) - tail :]}"
    return shown


def _width(text: str, size: float, weight: str) -> float:
    """What `text` takes in print, mm."""
    font = _font(weight)
    font.set_size(size, MEASURED_DPI)
    font.set_text(text)
    return float(font.get_width_height()[0]) / FREETYPE_UNITS / MEASURED_DPI * MM_PER_INCH


def printable(text: str) -> str:
    """`text` in the characters that the font has: any other is written as \\u4e2d, and line ends as \\u000a."""
    known = _known()
    return "".join(c if ord(c) in known and c.isprintable() else f"\\u{ord(c):04x}" for c in plain(text))


@cache
def _known() -> frozenset[int]:
    return frozenset(_font("normal").get_charmap())


def _font(weight: str) -> FT2Font:
    return get_font(findfont(FontProperties(family=FONT, weight=weight)))
