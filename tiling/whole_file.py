"""Files that are there whole or not at all: written beside their place under a temporary name, then renamed onto it.

A reader, or a machine that loses power, finds the old file or the new one, never half of one.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A longer suffix is part of a name, not a file type; the temporary name must stay within the 255 bytes a name may have.
LONGEST_SUFFIX = 16


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; when the block ends well, that file becomes `path`.

    The temporary file exists, is empty, is hidden (its name starts with a dot) and has the suffix of `path`, because
    some writers choose the format by it. Its permissions are those of any new file. On any exception it is removed and
    `path` stays as it was. If `path` is a link, the link is replaced and what it pointed to is left alone.

    Errors: the OSError of the file system (no such folder, read-only, no permission, disk full), naming `path`.
    """
    path = Path(path)
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= LONGEST_SUFFIX else ""
    temporary = path.with_name(f".{secrets.token_hex(8)}{suffix}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        try:
            yield temporary
            _flush_to_disk(temporary)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        # The operator knows the file by its own name; a failed write knows no name at all.
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    _flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, line ends as they are; names that are not valid UTF-8 (surrogates) keep their bytes."""
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def _flush_to_disk(file: Path) -> None:
    """Without this a power cut soon after the rename can leave an empty file under the final name."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    """Makes the rename itself last. The file is whole either way, and not every system lets a folder be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
