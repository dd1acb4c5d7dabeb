"""The errors a user can cause, and the exit code that each of them ends a command with.

A message names the thing in backticks, its value, and the rule it breaks:
    `overlap` (=256) must be smaller than `tile_size` (=256)
"""

from pathlib import Path


class FlawmapError(Exception):
    """Ends a command with one clear line instead of a traceback."""

    exit_code = 2


class UsageError(FlawmapError):
    """Wrong use, configuration or bundle."""


class InspectionStoppedError(FlawmapError):
    """The run cannot go on (a full disk, say); what was inspected so far is kept."""

    exit_code = 3


class DeviceError(FlawmapError):
    """The device asked for is not on this machine."""

    exit_code = 4


class ImageError(FlawmapError):
    """One image that cannot be read or does not fit the bundle; a folder goes on without it."""

    exit_code = 3

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason
