"""What a person says of a place in a picture, and of a whole picture."""

from dataclasses import dataclass
from typing import Literal

Mark = Literal["defect", "false_alarm", "unsure"]
MARKS: tuple[Mark, ...] = ("defect", "false_alarm", "unsure")
Box = tuple[int, int, int, int]  # half-open (y0, x0, y1, x1) in px of the image


@dataclass(frozen=True)
class Source:
    """The file that was inspected, as its record has it: another one under the same name is another part."""

    size_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class MarkEntry:
    """One line of the history of marks; of equal `run`, `image` and `box` the last one counts.

    `image` is what the image's files are called in the run folder (`flawmap.inspect.run.input_images.file_name`), which
    any database can hold; names of images need not be UTF-8.

    The box is what a mark hangs on: no two regions of a picture share one (a region that touches left and right side of
    a box cuts every one that would touch its top and bottom), and it says whether a region is still the one that was
    marked, which its number does not.
    """

    run: str
    image: str
    box: Box
    drawn: bool  # by the reviewer, where no region was
    mark: Mark | None  # None: an earlier mark was taken back
    reviewer: str
    note: str
    source: Source
    region: int | None  # number when it was marked
    severity: float | None  # then
    verdict: str  # then; empty of what was drawn
    bundle_sha256: str  # by which it was found
    at: str = ""  # ISO 8601, UTC; set by the store
    id: int = 0  # the same


@dataclass(frozen=True)
class LookEntry:
    """One line of the history of pictures looked at: `complete` says that every defect in it bears a mark."""

    run: str
    image: str
    complete: bool
    reviewer: str
    source: Source
    at: str = ""
    id: int = 0
