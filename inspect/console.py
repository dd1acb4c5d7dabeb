"""What the commands say beside their results."""

import sys


def say(text: str) -> None:
    """Prints `text` on stderr at once."""
    print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """`text` on one line of any console: bytes that are no UTF-8 as `\\xff`, line ends and other controls as `?`."""
    text = text.encode(errors="surrogateescape").decode(errors="backslashreplace")
    return "".join(c if c.isprintable() else "?" for c in text)
