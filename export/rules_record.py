"""What the plant decides on regions, as it stands in a part description and in bundle.json.

rules:
  join: 0.2 mm                      # fragments of one defect, this near or nearer, are one region
  classes:                          # what a region is called: the first that fits
    - name: dot
      when: {length: {max: 0.3 mm}}
    - name: line
      when: {elongation: {min: 4}}
    - name: stain
  verdicts:                         # the first that fits decides; where none does, severity does
    - name: dust is allowed
      when: {defect_class: dot, length: {max: 0.1 mm}, contrast: brighter}
      verdict: OK

`when` fits where all of its conditions do.
"""

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints, model_validator

from flawmap.export.limits_record import Area, Length, Limit
from flawmap.tiling.physical_size import Size, parse_length

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\r\n]*$")]
Contrast = Literal["darker", "brighter"]  # than the reconstruction, on the average of the region
LIMITS = ("area", "length", "width", "elongation")


def _some_length(text: object) -> Size:
    size = parse_length(text)
    if size.value == 0:
        raise ValueError("must be above 0")
    return size


class Shape(BaseModel):
    """Conditions on what a region looks like; none of them fits everything."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    area: Limit[Area] | None = None
    length: Limit[Length] | None = None  # longer side of the smallest rectangle around the region, at any angle
    width: Limit[Length] | None = None  # its shorter side
    elongation: Limit[float] | None = None  # length / width, from 1 on
    contrast: Contrast | None = None

    @model_validator(mode="after")
    def _possible(self) -> "Shape":
        if self.elongation is not None and self.elongation.highest < 1:
            raise ValueError(f"`elongation.max` (={self.elongation.max:g}) must be at least 1: length / width is")
        width, length = self.width, self.length
        if width is None or length is None or width.in_px != length.in_px:
            return self
        if width.lowest > length.highest:
            raise ValueError(
                f"`width.min` (={width.min}) must not be above `length.max` (={length.max}): "
                "no region is wider than it is long"
            )
        return self

    @property
    def fits_everything(self) -> bool:
        return all(getattr(self, name) is None for name in type(self).model_fields)

    def excludes(self, other: "Shape") -> str:
        """The first measure of which no value fits both, empty where there is none."""
        for name in LIMITS:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine is not None and theirs is not None and mine.excludes(theirs):
                return name
        both_given = self.contrast is not None and other.contrast is not None
        return "contrast" if both_given and self.contrast != other.contrast else ""

    def __str__(self) -> str:
        words = [f"{name} {limit}" for name in LIMITS if (limit := getattr(self, name)) is not None]
        return ", ".join(words if self.contrast is None else [*words, self.contrast])


class DefectClass(BaseModel):
    """What regions that look so are called in the report and the tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    when: Shape = Field(default_factory=Shape)


class Distance(Limit[Length]):
    """To the nearest other region, from edge to edge; `to`: to the nearest of that class."""

    to: Name | None = None

    def __str__(self) -> str:
        return f"{super().__str__()} from {'another region' if self.to is None else f'a {self.to}'}"


class When(Shape):
    """Conditions of a rule."""

    defect_class: Name | None = None
    zone: Name | None = None  # of `where.zones`, that its peak lies in
    severity: Limit[float] | None = None
    distance: Distance | None = None

    def __str__(self) -> str:
        words = [self.defect_class, super().__str__() or None]
        words += [None if self.severity is None else f"severity {self.severity}"]
        words += [None if self.distance is None else str(self.distance)]
        words += [None if self.zone is None else f"in the zone {self.zone}"]
        return ", ".join(word for word in words if word is not None) or "every region"


class VerdictRule(BaseModel):
    """What becomes of the regions that `when` fits: OK drops them, and the report says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    when: When = Field(default_factory=When)
    verdict: Literal["OK", "REVIEW", "NG"]

    @model_validator(mode="after")
    def _says_when(self) -> "VerdictRule":
        if self.verdict == "OK" and self.when.fits_everything:
            raise ValueError(f"`when` is missing: without it the rule `{self.name}` would drop every region")
        return self


def _limited(**limits: dict[str, object]) -> Shape:
    return Shape.model_validate(limits)


# Names to talk by until the plant has its own; nothing is decided by them.
DEFAULT_CLASSES = (
    DefectClass(name="line", when=_limited(elongation={"min": 4.0})),
    DefectClass(name="dot", when=_limited(length={"max": "25 px"})),
    DefectClass(name="stain"),
)


class Rules(BaseModel):
    """Nothing said: every region counts, by its severity alone."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    join: Annotated[Size, BeforeValidator(_some_length), PlainSerializer(str)] | None = None
    classes: list[DefectClass] = list(DEFAULT_CLASSES)
    verdicts: list[VerdictRule] = []

    @model_validator(mode="after")
    def _consistent(self) -> "Rules":
        _check_names("classes", self.classes)
        _check_names("verdicts", self.verdicts)
        classes = {one.name: one for one in self.classes}
        for number, rule in enumerate(self.verdicts):
            key = f"verdicts.{number}.when"
            nearest_to = None if rule.when.distance is None else rule.when.distance.to
            for place, name in (("defect_class", rule.when.defect_class), ("distance.to", nearest_to)):
                if name is not None and name not in classes:
                    raise ValueError(f"`{key}.{place}` (={name}) is no class: {_nearest(name, list(classes))}")
            if rule.when.defect_class is not None:
                measure = rule.when.excludes(classes[rule.when.defect_class].when)
                if measure:
                    raise ValueError(
                        f"`{key}.{measure}` of the rule `{rule.name}` fits no `{rule.when.defect_class}`: "
                        f"that class is {classes[rule.when.defect_class].when}"
                    )
        return self

    def in_words(self) -> list[str]:
        """One line for everything that is said, as it applies."""
        lines = [f"regions at most {self.join} apart are one"] if self.join is not None else []
        lines += [f"{one.name}: {str(one.when) or 'every other region'}" for one in self.classes]
        return lines + [f"{rule.verdict} by `{rule.name}`: {rule.when}" for rule in self.verdicts]

    def physical_sizes(self) -> Iterator[tuple[str, object]]:
        """Key and value of everything that can only be told where the size of a pixel is known."""
        if self.join is not None and not self.join.in_px:
            yield "join", self.join
        conditions: list[tuple[str, Shape]] = [(f"classes.{i}", one.when) for i, one in enumerate(self.classes)]
        conditions += [(f"verdicts.{i}", rule.when) for i, rule in enumerate(self.verdicts)]
        for key, when in conditions:
            for name in type(when).model_fields:
                limit = getattr(when, name)
                if isinstance(limit, Limit) and limit.is_physical:
                    yield f"{key}.when.{name}", limit


def _check_names(key: str, named: Sequence[DefectClass | VerdictRule]) -> None:
    """ValueError for a name given twice, and for what stands behind an entry that leaves nothing over."""
    twice = [name for name, count in Counter(one.name for one in named).items() if count > 1]
    if twice:
        raise ValueError(f"`{key}`: two are called `{twice[0]}`: a name must tell which one decided")
    for number, one in enumerate(named[:-1]):
        if one.when.fits_everything:
            raise ValueError(
                f"`{key}.{number + 1}` (`{named[number + 1].name}`) can never apply: "
                f"`{one.name}` before it fits every region"
            )


def _nearest(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"did you mean `{nearest[0]}`?" if nearest else "`classes` names none"
