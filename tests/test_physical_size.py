"""Sizes as people write them: read back as written, and refused with a reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.tiling.physical_size import AREA_UNITS, LENGTH_UNITS, Size, parse_area, parse_length

values = st.floats(0, 1e9, allow_subnormal=False)


@given(value=values, unit=st.sampled_from([*LENGTH_UNITS]))
def test_a_length_reads_back_as_written(value: float, unit: str) -> None:
    assert parse_length(str(Size(value, unit))) == Size(value, unit)


@given(value=values, unit=st.sampled_from([*AREA_UNITS]))
def test_an_area_reads_back_as_written(value: float, unit: str) -> None:
    assert parse_area(str(Size(value, unit))) == Size(value, unit)


@pytest.mark.parametrize(
    ("text", "magnitude"),
    [("0.3 mm", 300), ("0.3mm", 300), (" 150 um ", 150), ("150 \u00b5m", 150), ("150 \u03bcm", 150), (".5 mm", 500),
     ("1e3 um", 1000), ("8 px", 8), ("0 px", 0), ("2. mm", 2000)],
)  # fmt: skip
def test_lengths(text: str, magnitude: float) -> None:
    assert parse_length(text).magnitude == magnitude
    assert parse_length(text).in_px == text.endswith("px")


@pytest.mark.parametrize(
    ("text", "magnitude"),
    [("0.04 mm2", 40_000), ("0.04 mm²", 40_000), ("0.04 mm^2", 40_000), ("9 µm²", 9), ("20 px", 20)],
)
def test_areas(text: str, magnitude: float) -> None:
    assert parse_area(text).magnitude == pytest.approx(magnitude, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (3, "has no unit: a length is written as 0.3 mm, 150 um or 8 px"),
        ("3", "has no unit: a length is written as"),
        ("3 inch", "unknown unit `inch`: a length is given in px, um, mm"),
        ("3 mm2", "unknown unit `mm2`: a length"),
        ("0,3 mm", "unknown unit `,3 mm`"),
        ("-3 mm", "must be at least 0, and finite"),
        ("1e999 mm", "must be at least 0, and finite"),
        ("mm", "is not a length: write a number and a unit, such as 0.3 mm"),
        ("", "is not a length"),
        (None, "is not a length"),
        (True, "is not a length"),
        ([3], "is not a length"),
    ],
)
def test_what_is_no_length_says_why(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_length(text)


def test_an_area_is_no_length() -> None:
    with pytest.raises(ValueError, match="unknown unit `mm`: an area is given in px, um2, mm2"):
        parse_area("0.2 mm")
