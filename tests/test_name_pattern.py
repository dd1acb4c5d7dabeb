"""How names are read: whatever a name was built from comes back, or the pattern says that it cannot tell."""

import os
import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from flawmap.inspect.recipe.name_pattern import Glob, NamePattern, Reading

# Few letters, so that separators turn up inside of fields; and whatever else a file name may hold.
any_text = st.binary(min_size=1, max_size=12).map(lambda b: os.fsdecode(b.replace(b"/", b"-").replace(b"\0", b"-")))
field_texts = st.one_of(st.text("a_-.1", min_size=1, max_size=8), any_text)
literals = st.text("_-. a", min_size=1, max_size=3).filter(lambda text: text not in (".", ".."))


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """Both fields in either order, in one name or one of them in the folder, perhaps something before them."""
    first, second = draw(st.permutations(["{part}", "{camera}"]))
    gap = draw(literals | st.just("/"))
    return draw(st.just("") | literals.map("*".__add__)) + first + gap + second + ".png"


def made(text: str) -> NamePattern | None:
    try:
        return NamePattern(text)
    except ValueError:
        return None


def every_reading(pattern: str, name: str) -> set[Reading]:
    """By trying every two pieces of `name`, put into the pattern, with a regular expression for what is left."""
    name = "/".join(Path(os.path.normpath(f"/x/y/{name}")).parts[-pattern.count("/") - 1 :])
    stem = name.removesuffix(".png")
    pieces = {stem[i:j] for i in range(len(stem)) for j in range(i + 1, len(stem) + 1)}
    pieces = {piece for piece in pieces if "/" not in piece}
    found = set()
    for part, camera in product(pieces, repeat=2):
        fields = {"{part}": part, "{camera}": camera}
        tokens = re.split(r"(\{part\}|\{camera\}|\*)", pattern)
        expression = "".join("[^/]*" if t == "*" else re.escape(fields.get(t, t)) for t in tokens)
        if re.fullmatch(expression, name, re.DOTALL):
            found.add(Reading(part, camera))
    return found


@given(pattern=patterns(), part=field_texts, camera=field_texts, rest=field_texts)
def test_a_name_built_from_fields_is_read_as_them_or_said_to_be_unclear(
    pattern: str, part: str, camera: str, rest: str
) -> None:
    reader = made(pattern)
    assume(reader is not None)
    assert reader is not None
    values = {"{part}": part, "{camera}": camera, "*": rest}
    text = "/data/" + re.sub(r"\{part\}|\{camera\}|\*", lambda token: values[token[0]], pattern)
    assume(os.path.normpath(text) == text)  # no folder is called "."
    path = Path(text)
    readings = reader.read(path, lambda name: True)
    assert Reading(part, camera) in readings or len(readings) == 2
    # The recipe names its cameras: with this one alone the part is right, or it is unclear.
    readings = reader.read(path, lambda name: name == camera)
    assert Reading(part, camera) in readings or len(readings) == 2
    assert all(reading.camera == camera for reading in readings)


@given(
    pattern=st.sampled_from(
        [
            "{part}_{camera}.png",
            "{camera}_{part}.png",
            "*_{part}-{camera}_*.png",
            "{part}/{camera}_*.png",
            "{camera}/a{part}.png",
        ]
    ),
    name=st.text("a_-/.", min_size=1, max_size=6).map(lambda text: text + ".png"),
)
@settings(max_examples=60)
@example("{part}_{camera}.png", "a__a.png")
def test_readings_are_those_that_trying_everything_finds(pattern: str, name: str) -> None:
    found = NamePattern(pattern).read(Path(f"/x/y/{name}"), lambda camera: True)
    expected = every_reading(pattern, name)
    assert len(found) == min(len(expected), 2) and set(found) <= expected


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{part}_{camera}.png", "/data/SN12_top.png", ("SN12", "top")),
        ("{part}_{camera}.png", "lot 7/SN12_top.PNG", ("SN12", "top")),  # any folder above, the suffix in any case
        ("{camera}/{part}.*", "/line/top/SN12.bmp", ("SN12", "top")),
        ("{camera}/{part}.*", "/line/top/SN12.tar.tiff", ("SN12.tar", "top")),
        ("{part}/img-*-{camera}.jpg", "/SN1/img-0007-top.jpg", ("SN1", "top")),
        ("{part}_{camera}.png", "/data/SN12_top.bmp", None),
        ("{part}_{camera}.*", "/data/SN12_top.txt", None),
        ("{camera}/{part}.png", "/SN12.png", None),
        ("{part}_{camera}.png", "/_top.png", None),  # a field holds something
    ],
)
def test_names_are_read(pattern: str, path: str, expected: tuple[str, str] | None) -> None:
    found = NamePattern(pattern).read(Path(path), lambda camera: camera == "top")
    assert found == ([] if expected is None else [Reading(*expected)])


def test_the_cameras_decide_between_readings() -> None:
    path, pattern = Path("/lot_7_side_1.png"), NamePattern("{part}_{camera}.png")
    assert pattern.read(path, {"side_1"}.__contains__) == [Reading("lot_7", "side_1")]
    assert pattern.read(path, {"side_1", "1"}.__contains__) == [Reading("lot_7", "side_1"), Reading("lot_7_side", "1")]


def test_a_name_made_to_be_slow_is_not() -> None:
    """Every underscore of 250 may be any of five: trying them all would take for ever."""
    readings = NamePattern("*_{part}_*_{camera}_*.png").read(Path("/" + "_" * 250 + ".png"), lambda camera: False)
    assert readings == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{part}.png", r"must hold `{camera}` once, it holds it 0 times"),
        ("{part}_{camera}_{part}.png", r"must hold `{part}` once, it holds it 2 times"),
        ("{part}_{cam}.png", r"`{cam}` is no field: the fields are `{part}` and `{camera}`"),
        ("{part_{camera}.png", r"`{part_` is no field"),
        ("{part}{camera}.png", r"`{part}` and `{camera}` must be apart"),
        ("{part}*_{camera}.png", r"`{part}` and `\*` must be apart"),
        ("{part}_{camera}", r"must end as the pictures do, with `\.\*` or one of \.png"),
        ("{part}_{camera}.txt", r"must end as the pictures do"),
        ("**/{part}_{camera}.png", r"needs no `\*\*`"),
        ("a\\{part}_{camera}.png", r"folders are written with `/`"),
        ("/data/{part}_{camera}.png", r"no whole path"),
        ("../{part}_{camera}.png", r"no whole path"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NamePattern(text)


@given(text=st.text("ab*[?.", min_size=1, max_size=5), name=st.text("ab[?.", max_size=6))
def test_a_glob_is_a_star_and_nothing_else(text: str, name: str) -> None:
    assume("**" not in text and text not in (".", ".."))

    def fits(text: str, name: str) -> bool:
        if not text:
            return not name
        if text[0] == "*":
            return any(fits(text[1:], name[i:]) for i in range(len(name) + 1))
        return name[:1] == text[0] and fits(text[1:], name[1:])

    assert Glob(text).fits_name(name) == fits(text, name)


def test_a_glob_fits_the_end_of_a_path() -> None:
    assert Glob("*_preview.png").fits_end(Path("/a/b/x_preview.png"))
    assert Glob("thumbs/*").fits_end(Path("/a/thumbs/x.png"))
    assert not Glob("thumbs/*").fits_end(Path("/thumbs/a/x.png"))
