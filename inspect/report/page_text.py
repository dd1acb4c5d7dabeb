"""Text as pages show it: escaped, numbers as people write them, links that stay inside the run folder."""

from pathlib import PurePosixPath
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from flawmap.inspect.shown_severity import shown_severity


def environment() -> Environment:
    """Everything put into a page is escaped; a name the template does not know is an error."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(link=link, severity=severity, number=number, counted=counted, whole=whole)
    return environment


def link(path: str) -> str:
    """A path of the run folder as a relative URL; whatever it holds, it cannot lead out of the folder."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "//", "..")]
    return "./" + quote("/".join(parts).encode("utf-8", "surrogateescape"))


def severity(severity: float) -> str:
    """Two decimals, a real minus sign; `>99` beyond that."""
    return shown_severity(severity).replace("-", "−")


def number(value: float) -> str:
    """Four significant digits, no exponent that a person would stumble over."""
    return f"{value + 0.0:.4g}".replace("-", "−")  # + 0.0: no minus zero


def counted(value: float, what: str) -> str:
    """A number and what there are so many of, which is in the plural unless it is one."""
    return f"{number(value)} {what}{'' if value == 1 else 's'}"


def whole(value: float) -> str:
    """A whole number, thousands apart."""
    return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
