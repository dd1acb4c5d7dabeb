"""The rows of the page of a run with a recipe: a part each, its images below it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from flawmap.inspect.recipe.parts import PartResult, Parts
from flawmap.inspect.report.severity_axis import SeverityAxis, worst_first
from flawmap.inspect.run.records import ImageRecord, RecipeInfo, Verdict


@dataclass(frozen=True)
class PartRow:
    """A part and its images, the worst first."""

    result: PartResult
    records: list[ImageRecord]

    @property
    def verdict(self) -> Verdict:
        return self.result.verdict

    @property
    def severity(self) -> float:
        return self.result.severity

    @property
    def name(self) -> str:
        return self.result.part

    @property
    def milliseconds(self) -> dict[str, float]:
        """Of all images together, by stage."""
        stages: dict[str, float] = defaultdict(float)
        for record in self.records:
            for stage, milliseconds in record.milliseconds.items():
                stages[stage] += milliseconds
        return stages

    @property
    def picture(self) -> str | None:
        """Of the worst region."""
        worst = next(record for record in self.records if record.image == self.result.worst_image)
        return worst.regions[0].picture if worst.regions else None


def part_rows(recipe: RecipeInfo, records: Sequence[ImageRecord]) -> list[PartRow]:
    """The parts, worst first; images whose names did not tell their part are in none of them."""
    parts = Parts(recipe)
    images: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in worst_first(records, lambda record: record.image):
        parts.add(record)
        images[record.part].append(record)
    rows = [PartRow(result, images[result.part]) for result in parts.results(recipe.unfinished)]
    return worst_first(rows, lambda row: row.name)


def axis_of_parts(recipe: RecipeInfo, rows: Sequence[PartRow], records: Sequence[ImageRecord]) -> SeverityAxis:
    """One axis for parts and images, with the lines of most parts: one of fewer or more images has its own."""
    lines = Counter((round(row.result.severity_review, 6), round(row.result.severity_ng, 6)) for row in rows)
    thresholds = recipe.models[0].thresholds
    review, ng = next(iter(lines.most_common(1)), ((thresholds["severity_review"], thresholds["severity_ng"]), 0))[0]
    own = [value for m in recipe.models for value in (m.thresholds["severity_review"], m.thresholds["severity_ng"])]
    own += [value for line in lines for value in line]
    return SeverityAxis.around([*rows, *records], review, ng, also=own)
