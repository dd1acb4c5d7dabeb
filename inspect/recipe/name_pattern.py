"""How file names say which part and which camera: a pattern in, the fields of a name out.

    "{part}_{camera}.png"     lot-7/SN12_top.png      ->  part SN12, camera top
    "{camera}/{part}.*"       station2/SN12.bmp       ->  part SN12, camera station2

A pattern describes the end of a path, as many folders as it names. Nothing in it matches a "/".
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

from flawmap.tiling.image_listing import IMAGE_SUFFIXES

PART, CAMERA, ANYTHING = "{part}", "{camera}", "*"
ANY_SUFFIX = ".*"
WILD = re.compile(r"(\{[^{}]*\}|\*+)")


@dataclass(frozen=True)
class Reading:
    """One way to read a name."""

    part: str
    camera: str

    def __str__(self) -> str:
        return f"part `{self.part}`, camera `{self.camera}`"


class NamePattern:
    """Reads names; the constructor raises ValueError, naming the rule, for a pattern that could not."""

    def __init__(self, text: str) -> None:
        self.text = text
        stem, self._suffix = _split_suffix(text)
        self._depth = text.count("/") + 1
        self._tokens = [token for token in WILD.split(stem) if token]
        _check_path(text)
        _check_tokens(self._tokens)

    def read(self, path: Path, is_camera: Callable[[str], bool]) -> list[Reading]:
        """The ways to read the end of `path` in which `is_camera` accepts the camera: none, one, or two of several.

        A name that can be read in two ways has no right one that the pattern knows of: the caller must not guess.
        """
        name = _end_of(path, self._depth)
        stem, suffix = name[: len(name) - len(path.suffix)], path.suffix.lower()
        if suffix != self._suffix and not (self._suffix == ANY_SUFFIX and suffix in IMAGE_SUFFIXES):
            return []
        tokens = self._tokens

        @cache
        def rest(k: int, at: int) -> tuple[tuple[str, ...], ...]:
            """What the fields from token `k` on hold if `stem` is read from `at` on; two different ways at most."""
            if k == len(tokens):
                return ((),) if at == len(stem) else ()
            token = tokens[k]
            if token not in (PART, CAMERA, ANYTHING):
                return rest(k + 1, at + len(token)) if stem.startswith(token, at) else ()
            found: list[tuple[str, ...]] = []
            for stop in _stops(stem, at, may_be_empty=token == ANYTHING):
                value = () if token == ANYTHING else (stem[at:stop],)
                new = [value + later for later in rest(k + 1, stop) if value + later not in found]
                if new and (token != CAMERA or is_camera(stem[at:stop])):
                    found += new
                if len(found) > 1:
                    break
            return tuple(found[:2])

        camera_first = tokens.index(CAMERA) < tokens.index(PART)
        return [Reading(*(fields[::-1] if camera_first else fields)) for fields in rest(0, 0)]


class Glob:
    """Names and ends of paths in which `*` stands for anything but a "/", also for nothing."""

    def __init__(self, text: str) -> None:
        """ValueError for a text that could never match."""
        _check_path(text)
        self.text = text
        self._depth = text.count("/") + 1
        self._expression = re.compile("[^/]*".join(map(re.escape, text.split(ANYTHING))), re.DOTALL)

    def fits_name(self, name: str) -> bool:
        """Whether the whole of `name` fits."""
        return self._expression.fullmatch(name) is not None

    def fits_end(self, path: Path) -> bool:
        """Whether the end of `path` fits, as many folders as the text names."""
        return self.fits_name(_end_of(path, self._depth))


def _stops(stem: str, at: int, *, may_be_empty: bool) -> Iterator[int]:
    """Where a field that begins at `at` may end: before the next folder."""
    end = stem.find("/", at)
    return iter(range(at if may_be_empty else at + 1, (len(stem) if end < 0 else end) + 1))


def _end_of(path: Path, depth: int) -> str:
    """The last `depth` parts of `path` as it lies on the disk, whatever folder was given to find it."""
    return "/".join(Path(os.path.normpath(path.absolute())).parts[-depth:])


def _split_suffix(text: str) -> tuple[str, str]:
    """("{part}_{camera}", ".png"); ValueError where the pattern does not say how pictures end."""
    if text.endswith(ANY_SUFFIX):
        return text.removesuffix(ANY_SUFFIX), ANY_SUFFIX
    suffix = PurePosixPath(text).suffix
    if suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(f"must end as the pictures do, with `.*` or one of {', '.join(IMAGE_SUFFIXES)}")
    return text.removesuffix(suffix), suffix.lower()


def _check_path(text: str) -> None:
    if "\\" in text:
        raise ValueError("folders are written with `/`, on Windows too")
    if "**" in text:
        raise ValueError("describes the end of a path: it needs no `**` for the folders above")
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise ValueError("must name folders below the picture's own place, as in `station2/{part}.png`, no whole path")


def _check_tokens(tokens: list[str]) -> None:
    wild = [token in (PART, CAMERA, ANYTHING) for token in tokens]
    for token, is_wild in zip(tokens, wild, strict=True):
        if not is_wild and ("{" in token or "}" in token):
            raise ValueError(f"`{token}` is no field: the fields are `{PART}` and `{CAMERA}`, `*` stands for the rest")
    for field in (PART, CAMERA):
        if tokens.count(field) != 1:
            raise ValueError(f"must hold `{field}` once, it holds it {tokens.count(field)} times")
    for i in range(1, len(tokens)):
        if wild[i - 1] and wild[i]:
            raise ValueError(f"`{tokens[i - 1]}` and `{tokens[i]}` must be apart, or nobody can tell where one ends")
