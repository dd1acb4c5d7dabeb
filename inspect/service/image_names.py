"""What an image may be called that comes from outside: a plain file name, or a path that climbs nowhere."""

import os
import unicodedata

from flawmap.tiling.images import IMAGE_SUFFIXES
from flawmap.tiling.pages import PAGE

LONGEST_NAME = 200  # bytes, of the 255 that a file system allows: a number may be added
# They turn the text behind them around: `gpj.exe` is shown as `exe.jpg`.
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
NOT_ON_WINDOWS = set('<>:"|?*') if os.name == "nt" else set()


def fault_of_name(name: str) -> str:
    """Why `name` cannot be the name of an image file or of a page of one; empty where it can."""
    if "/" in name or "\\" in name:
        return "must be a file's name, without a folder"
    return fault_of_text(name) or _fault_of_file(name)


def fault_of_text(text: str) -> str:
    """Why a name or a path cannot be used as it is; empty where it can."""
    if not text.strip():
        return "is empty"
    for character in text:
        if character in TURNING or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            return f"holds the character U+{ord(character):04X}, which no name may hold"
    return ""


def _fault_of_file(name: str) -> str:
    if len(name.encode()) > LONGEST_NAME:
        return f"has {len(name.encode())} bytes; {LONGEST_NAME} are allowed"
    if name.startswith("."):
        return "begins with a dot"
    if NOT_ON_WINDOWS & set(name):
        return f"holds one of {' '.join(sorted(NOT_ON_WINDOWS))}"
    page = PAGE.fullmatch(name)
    file = page[1] if page else name
    if not file.lower().endswith(IMAGE_SUFFIXES):
        return f"must end in one of {', '.join(IMAGE_SUFFIXES)}"
    return ""
