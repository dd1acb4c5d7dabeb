"""Paths that `POST /api/inspect` may be given: below the roots, whatever is tried."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.inspect.service.allowed_roots import AllowedRoots, PathRefusedError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two roots with images, and everything around them that must not be read."""
    folder = tmp_path_factory.mktemp("place").resolve()
    for path in ("one/a.png", "one/line 1/b.tif", "two/c.png", "two/a.png", "one-secret/a.png", "secret.png"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("secret" if "secret" in path else "image")
    (folder / "one" / "out.png").symlink_to(folder / "secret.png")
    (folder / "one" / "out").symlink_to(folder)
    (folder / "one" / "gone.png").symlink_to(folder / "nothing.png")
    (folder / "one" / "loop.png").symlink_to("loop.png")
    (folder / "one" / "across.png").symlink_to(folder / "two" / "c.png")
    return folder


def roots(place: Path) -> AllowedRoots:
    return AllowedRoots([place / "one", place / "two"])


def test_what_may_be_asked_for(place: Path) -> None:
    found = roots(place).find
    assert found("a.png") == (place / "one/a.png", "a.png")  # the first root that has it
    assert found("c.png") == (place / "two/c.png", "c.png")
    assert found(str(place / "two/a.png")) == (place / "two/a.png", "a.png")
    assert found("line 1/b.tif#3") == (place / "one/line 1/b.tif#3", "line 1/b.tif#3")
    assert found("./line 1//b.tif") == (place / "one/line 1/b.tif", "line 1/b.tif")
    assert found("across.png") == (place / "two/c.png", "across.png")  # from root to root


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        ("", 400, "is empty"),
        (".", 400, "is no file"),
        ("/", 400, "must be a file's name"),
        ("../secret.png", 400, "must not hold `..`"),
        ("line 1/../a.png", 400, "must not hold `..`"),
        ("a.png\0", 400, "holds the character U+0000"),
        ("\ud800.png", 400, "holds the character U+D800"),
        ("a.txt", 400, "must end in one of .png"),
        ("x" * 5000 + ".png", 400, "has 5004 characters; 4000 are allowed"),
        ("missing.png", 404, "no such file"),
        ("/etc/passwd.png", 403, "lies outside the folders that are allowed"),
        ("out.png", 403, "lies outside the folders that are allowed"),
        ("gone.png", 403, "lies outside the folders that are allowed"),
        ("out/secret.png", 403, "lies outside the folders that are allowed"),
        ("out/not_there.png", 403, "lies outside the folders that are allowed"),
    ],
)
def test_what_may_not(place: Path, asked: str, status: int, reason: str) -> None:
    with pytest.raises(PathRefusedError) as refused:
        roots(place).find(asked)
    assert refused.value.status == status
    assert reason in str(refused.value)


def test_beside_a_root_is_not_in_it(place: Path) -> None:
    for asked in (place / "one-secret/a.png", place / "secret.png", place / "one-secret/none.png"):
        with pytest.raises(PathRefusedError, match="lies outside"):
            roots(place).find(str(asked))


def test_without_a_root_nothing_may() -> None:
    with pytest.raises(PathRefusedError, match=r"no folder is allowed: start `flawmap serve` with `--allow ROOT`"):
        AllowedRoots([]).find("a.png")


def test_a_root_given_through_a_link_or_with_dots(place: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(place / "one")
    linked = AllowedRoots([tmp_path / "link"])
    assert linked.find("a.png") == linked.find(str(tmp_path / "link" / "a.png")) == (place / "one/a.png", "a.png")
    assert linked.find(str(place / "one/a.png"))[0] == place / "one/a.png"
    dotted = AllowedRoots([place / "two" / ".." / "one"])
    assert dotted.find(str(place / "one/a.png")) == (place / "one/a.png", "a.png")


PIECES = st.sampled_from(
    ["..", ".", "", "one", "two", "a.png", "c.png", "out", "out.png", "gone.png", "loop.png", "secret.png", "line 1",
     "b.tif", "b.tif#1", "across.png", "one-secret", "\0", "~", "//", "proc", "self", "root", "x" * 260 + ".png"]
)  # fmt: skip


@given(st.lists(PIECES, min_size=1, max_size=7), st.booleans())
@settings(max_examples=400)
def test_nothing_outside_is_ever_found(place: Path, pieces: list[str], absolute: bool) -> None:
    asked = "/".join(pieces)
    if absolute:
        asked = f"{place}/{asked}"
    try:
        path, image = roots(place).find(asked)
    except PathRefusedError as refused:
        assert refused.status in (400, 403, 404)
        return
    file = Path(str(path).split("#")[0])
    assert file.read_text() == "image"
    assert os.path.realpath(file) == str(file)
    assert any(file.is_relative_to(place / root) for root in ("one", "two"))
    assert not image.startswith("/") and ".." not in image
