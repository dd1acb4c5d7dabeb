"""Texts of a run as JSON and HTML can hold them: both are UTF-8, which file names need not be."""

import re
from typing import Any


def plain(text: str) -> str:
    """`text` without lone surrogates: bytes of a file name that are not UTF-8 become \\xe9, as in the report."""
    return re.sub("[\ud800-\udfff]", lambda found: _escaped(ord(found[0])), text)


def plain_values(value: Any) -> Any:
    """The same in all of a JSON value, keys included."""
    if isinstance(value, str):
        return plain(value)
    if isinstance(value, dict):
        return {plain_values(key): plain_values(one) for key, one in value.items()}
    return [plain_values(one) for one in value] if isinstance(value, list | tuple) else value


def _escaped(code: int) -> str:
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
