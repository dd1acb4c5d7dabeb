"""A page of a report, read strictly."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote


class Page(HTMLParser):
    """Every element with its text; unclosed or wrongly closed ones fail."""

    VOID = frozenset({"meta", "img", "input", "br", "link"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.names: list[str] = []
        self.text = path.read_text("utf-8")  # strict: the page is UTF-8
        self.feed(self.text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "bdi":
            self.names.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open, self.getpos())
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "bdi" in self.open:
            self.names[-1] += data

    def links(self) -> list[str]:
        names = ("src", "href", "data-file", "data-viewer")
        return [
            str(value) for tag, attrs in self.elements for key, value in attrs.items() if key in names and tag != "link"
        ]


def anchors_of(page: Path) -> list[str]:
    """Where the links of `page` lead to."""
    return [unquote(str(attrs["href"])) for tag, attrs in Page(page).elements if tag == "a"]
