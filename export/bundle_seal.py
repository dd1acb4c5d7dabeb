"""SHA256SUMS, the seal of a bundle: written last, checked first. `sha256sum -c SHA256SUMS` reads it too."""

import hashlib
from pathlib import Path, PurePosixPath

from flawmap.tiling.errors import UsageError
from flawmap.tiling.whole_file import write_text

SUMS = "SHA256SUMS"


def seal(folder: Path) -> None:
    """Writes SHA256SUMS over every file below `folder`: the last step of making a bundle."""
    write_text(folder / SUMS, sums_text({name: file_sha256(folder / name) for name in sealed_files(folder)}))


def check_sums(folder: Path, needed: tuple[str, ...]) -> tuple[str, set[str]]:
    """Compares every file named in SHA256SUMS, and returns the digest of SHA256SUMS itself and the names.

    Raises UsageError, naming the file: SHA256SUMS is damaged or lacks one of `needed`, a file is gone or was changed.
    """
    try:
        text = (folder / SUMS).read_bytes()
        listed = dict(_parse_sum(folder, line) for line in text.decode().splitlines() if line)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{folder / SUMS} cannot be read: {error}") from None
    for name in needed:
        if name not in listed:
            raise UsageError(f"`bundle` (={folder}) is not complete: {SUMS} does not list {name}")
    for name, expected in listed.items():
        if not (folder / name).is_file():
            raise UsageError(f"`bundle` (={folder}) is not complete: {name} is missing")
        try:
            found = file_sha256(folder / name)
        except OSError as error:
            raise UsageError(f"{folder / name} cannot be read: {error.strerror or error}") from None
        if found != expected:
            raise UsageError(
                f"`bundle` (={folder}) was changed after it was sealed: {name} is not the file that {SUMS} names; "
                "copy the bundle again, or train or export it again"
            )
    return hashlib.sha256(text).hexdigest(), set(listed)


def _parse_sum(folder: Path, line: str) -> tuple[str, str]:
    """One line of SHA256SUMS -> (name, hex digest); a name that leads out of the bundle is refused."""
    digest, _, name = line.partition("  ")
    parts = PurePosixPath(name).parts
    if len(digest) != 64 or not name or ".." in parts or PurePosixPath(name).is_absolute():
        raise UsageError(f"{folder / SUMS} holds a line that is not `<sha256>  <file>`: {line[:100]!r}")
    return name, digest


def sealed_files(folder: Path) -> list[str]:
    """Every file but SHA256SUMS and hidden ones, relative to `folder`, with forward slashes, sorted."""
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = (name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts))
    return sorted(name for name in kept if name != SUMS)


def file_sha256(path: Path) -> str:
    """64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_text(sums: dict[str, str]) -> str:
    """SHA256SUMS of digests by name."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
