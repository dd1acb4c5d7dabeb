"""Images that lie on this machine and may be asked for by path: below the roots that `--allow` names, nowhere else.

What lies outside is refused alike whether or not it is there: nobody learns by asking what the machine holds.
"""

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from flawmap.inspect.service.image_names import fault_of_name, fault_of_text
from flawmap.tiling.pages import page_path, split_page

LONGEST_PATH = 4000  # characters


class PathRefusedError(Exception):
    """A path that may not be read, or at which nothing lies."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status  # of HTTP


class AllowedRoots:
    """`roots`: existing folders. A link that leads out of all of them is refused as if it were what it leads to."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._real = [Path(os.path.realpath(root)) for root in roots]
        # A root may be written as it was given, and as what that leads to.
        given = [Path(os.path.normpath(root.absolute())) for root in roots]
        self._written = list(dict.fromkeys([*given, *self._real]))

    def find(self, asked: str) -> tuple[Path, str]:
        """(the picture, its name relative to its root) of `asked`: absolute, or relative to a root; `#2` for a page.

        PathRefusedError with 400 for what is no path, 403 outside the roots, 404 where nothing lies.
        """
        if not self._real:
            raise PathRefusedError(403, "no folder is allowed: start `flawmap serve` with `--allow ROOT`")
        path = _checked(asked)
        candidates = [(root, root / path) for root in self._written]  # an absolute path stays as it is
        inside = [(root, whole) for root, whole in candidates if whole.is_relative_to(root)]
        leads_out = not inside
        for root, whole in inside:
            file, page = split_page(whole)
            real = Path(os.path.realpath(file))
            if not any(real.is_relative_to(one) for one in self._real):
                leads_out = True
            elif os.path.exists(real):  # noqa: PTH110  (a name that is too long is no error here)
                return real if page is None else page_path(real, page), whole.relative_to(root).as_posix()
        if leads_out:
            raise PathRefusedError(403, f"`path` (={asked}) lies outside the folders that are allowed")
        raise PathRefusedError(404, f"`path` (={asked}): no such file")


def _checked(asked: str) -> Path:
    if len(asked) > LONGEST_PATH:
        raise PathRefusedError(400, f"`path` has {len(asked)} characters; {LONGEST_PATH} are allowed")
    fault = fault_of_text(asked)
    parts = PurePath(asked).parts
    if not fault and any(part == ".." for part in parts):
        fault = "must not hold `..`"
    if not fault and parts:
        fault = fault_of_name(parts[-1])
    if fault or not parts:
        raise PathRefusedError(400, f"`path` (={asked}) {fault or 'is no file'}")
    return Path(asked)
