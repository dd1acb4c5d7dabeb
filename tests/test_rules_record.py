"""Rules and sizes in a part description: read, kept in the bundle as written, and what is wrong with them."""

from pathlib import Path

import pytest

from flawmap.export.bundle import read_bundle, update_bundle
from flawmap.export.part_record import Part, read_part
from flawmap.tiling.errors import UsageError
from flawmap.tiling.physical_size import PixelSize, Size
from tests.bundles import make_bundle

CASTING = """
pixel_size: 12.5 µm
rules:
  join: 0.2 mm
  classes:
    - {name: pore, when: {length: {max: 0.5 mm}, elongation: {max: 3}, contrast: darker}}
    - {name: crack, when: {elongation: {min: 3}, area: {min: 0.01 mm²}}}
    - {name: other}
  verdicts:
    - {name: dust, verdict: OK, when: {length: {max: 0.1 mm}, contrast: brighter}}
    - {name: lone pore, verdict: REVIEW, when: {defect_class: pore, distance: {min: 2 mm, to: pore}}}
    - {name: crack, verdict: NG, when: {defect_class: crack, severity: {min: 0.8}, width: {min: 2 px, max: 9 px}}}
"""


def part_of(tmp_path: Path, text: str) -> Part:
    file = tmp_path / "part.yaml"
    file.write_text(text, encoding="utf-8")
    return read_part(file)


def test_a_description_is_understood(tmp_path: Path) -> None:
    part = part_of(tmp_path, CASTING)
    assert part.pixel_size == PixelSize(x_um=12.5, y_um=12.5)
    assert part.rules.join == Size(0.2, "mm")
    assert [one.name for one in part.rules.classes] == ["pore", "crack", "other"]
    assert [str(rule.when) for rule in part.rules.verdicts] == [
        "length at most 0.1 mm, brighter",
        "pore, at least 2 mm from a pore",
        "crack, width 2 px to 9 px, severity at least 0.8",
    ]
    assert part.rules.in_words() == [
        "regions at most 0.2 mm apart are one",
        "pore: length at most 0.5 mm, elongation at most 3, darker",
        "crack: area at least 0.01 mm2, elongation at least 3",
        "other: every other region",
        "OK by `dust`: length at most 0.1 mm, brighter",
        "REVIEW by `lone pore`: pore, at least 2 mm from a pore",
        "NG by `crack`: crack, width 2 px to 9 px, severity at least 0.8",
    ]
    assert [key for key, _ in part.rules.physical_sizes()] == [
        "join",
        "classes.0.when.length",
        "classes.1.when.area",
        "verdicts.0.when.length",
        "verdicts.1.when.distance",
    ]


def test_the_bundle_keeps_it(tmp_path: Path) -> None:
    part = part_of(tmp_path, CASTING)
    bundle = make_bundle(tmp_path / "bundle")
    update_bundle(bundle.folder, part=part)
    again = read_bundle(bundle.folder)
    assert again.info.part == part
    assert again.digest != bundle.digest


@pytest.mark.parametrize(
    ("text", "x_um", "y_um"),
    [("0.0125 mm", 12.5, 12.5), ("{x: 12.5 um, y: 0.014 mm}", 12.5, 14)],
)
def test_pixel_sizes(tmp_path: Path, text: str, x_um: float, y_um: float) -> None:
    size = part_of(tmp_path, f"pixel_size: {text}").pixel_size
    assert isinstance(size, PixelSize)
    assert (size.x_um, size.y_um) == pytest.approx((x_um, y_um))


def test_the_pixel_size_may_be_the_images_own(tmp_path: Path) -> None:
    assert part_of(tmp_path, "pixel_size: image\nrules: {join: 1 mm}").pixel_size == "image"


def test_three_classes_name_what_the_plant_has_not_named(tmp_path: Path) -> None:
    assert [one.name for one in part_of(tmp_path, "rules: {}").rules.classes] == ["line", "dot", "stain"]
    assert part_of(tmp_path, "rules: {classes: []}").rules.classes == []


WHEN = "rules: {verdicts: [{name: a, verdict: NG, when: {%s}}]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: {join: 0.2 mm}", r"`rules.join` \(=0.2 mm\) needs `pixel_size`: what a pixel covers, such as"),
        (WHEN % "area: {min: 1 mm2}", r"`rules.verdicts.0.when.area` \(=at least 1 mm2\) needs `pixel_size`"),
        (WHEN % "distance: {max: 1 mm}", r"`rules.verdicts.0.when.distance` \(=at most 1 mm from another region\) nee"),
        ("rules: {join: 0.2}", r"`rules.join` \(=0.2\): has no unit: a length is written as 0.3 mm, 150 um or 8 px"),
        ("rules: {join: 0 px}", r"`rules.join` \(=0 px\): must be above 0"),
        ("rules: {join: 2 inch}", r"`rules.join` \(=2 inch\): unknown unit `inch`: a length is given in px, um, mm"),
        ("pixel_size: 3 px", r"`pixel_size` \(=3 px\): `3 px` must be in um or mm, and above 0"),
        ("pixel_size: 0 um", r"`pixel_size` \(=0 um\): `0 um` must be in um or mm, and above 0"),
        ("pixel_size: 12", r"`pixel_size` \(=12\): has no unit"),
        ("pixel_size: {x: 1 um}", r"`pixel_size` .*: must be one length, such as 12.5 um, or `x` and `y`, or `image`"),
        (WHEN % "length: {min: 5 px, max: 3 px}", r"when.length` .*: `min` \(=5 px\) must not be above `max` \(=3 px"),
        (WHEN % "severity: {min: 2, max: 1}", r"when.severity` .*: `min` \(=2.0\) must not be above `max` \(=1.0\)"),
        (WHEN % "length: {min: 5 px, max: 3 mm}", r"`min` \(=5 px\) and `max` \(=3 mm\) must both be in px, or neithe"),
        (WHEN % "width: {min: 5 px}, length: {max: 3 px}", r"`width.min` \(=5 px\) must not be above `length.max` \(="),
        (WHEN % "elongation: {max: 0.5}", r"`elongation.max` \(=0.5\) must be at least 1: length / width is"),
        (WHEN % "length: {}", "`rules.verdicts.0.when.length` .*: needs `min` or `max`, or both"),
        (WHEN % "length: 3 px", r"length` \(=3 px\): is no limit: write `\{min: 3 px\}` or `\{max: 3 px\}`"),
        (WHEN % "length: {min: 1 px, mx: 3 px}", "`rules.verdicts.0.when.length.mx`: did you mean `rules.verdicts.whe"),
        (WHEN % "lenth: {min: 1 px}", "unknown setting `rules.verdicts.0.when.lenth`: did you mean `rules.verdicts.wh"),
        (WHEN % "area: {min: 5 um}", r"`rules.verdicts.0.when.area.min` \(=5 um\): unknown unit `um`: an area is give"),
        (WHEN % "contrast: dark", r"`rules.verdicts.0.when.contrast` \(=dark\): input should be 'darker' or 'brighter"),
        (WHEN % "defect_class: dott", r"`verdicts.0.when.defect_class` \(=dott\) is no class: did you mean `dot`\?"),
        (WHEN % "distance: {max: 9 px, to: sten}", r"distance.to` \(=sten\) is no class: did you mean `stain`\?"),
        (WHEN % "defect_class: dot, length: {min: 26 px}", "`verdicts.0.when.length` of the rule `a` fits no `dot`: t"),
        (
            "rules: {classes: [], verdicts: [{name: a, verdict: NG, when: {defect_class: dot}}]}",
            r"`verdicts.0.when.defect_class` \(=dot\) is no class: `classes` names none",
        ),
        ("rules: {verdicts: [{verdict: NG}]}", "`rules.verdicts.0.name` is missing"),
        ("rules: {verdicts: [{name: ' ', verdict: NG}]}", r"`rules.verdicts.0.name` \(= \): string should have at lea"),
        ("rules: {verdicts: [{name: a}]}", "`rules.verdicts.0.verdict` is missing"),
        ("rules: {verdicts: [{name: a, verdict: BAD}]}", r"`rules.verdicts.0.verdict` \(=BAD\): input should be 'OK',"),
        ("rules: {verdicts: [{name: a, verdict: OK}]}", "`when` is missing: without it the rule `a` would drop every"),
        (
            "rules: {verdicts: [{name: a, verdict: NG}, {name: b, verdict: REVIEW}]}",
            r"`verdicts.1` \(`b`\) can never apply: `a` before it fits every region",
        ),
        (
            "rules: {classes: [{name: a, when: {area: {max: 3 px}}}, {name: a}]}",
            "`classes`: two are called `a`: a name must tell which one decided",
        ),
        ("rules: {classes: [{name: a, when: {severity: {min: 1}}}]}", "unknown setting `rules.classes.0.when.severity"),
        ("rules: {verdicts: {name: a}}", "`rules.verdicts` .*: input should be a valid list"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        part_of(tmp_path, text)
