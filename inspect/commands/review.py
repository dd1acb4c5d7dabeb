"""`flawmap review figures`, `export` and `calibrate`: what follows from marks, without a server."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.inspect.commands.options import Device
from flawmap.inspect.console import printable, say
from flawmap.inspect.review.formats import ReviewFormat
from flawmap.tiling.errors import UsageError

if TYPE_CHECKING:
    from flawmap.inspect.review.reviewed_run import ReviewedRun

RunsArgument = Annotated[
    Path, typer.Argument(metavar="RUNS_DIR", help="Folder of runs that were reviewed, or one run in it.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="A run that was reviewed.")]
Database = Annotated[
    str | None,
    typer.Option(
        envvar="FLAWMAP_DATABASE", help="Where marks are kept: review.sqlite beside the runs, or postgresql://..."
    ),
]

review = typer.Typer(help="Says what follows from the marks of a review.", no_args_is_help=True, rich_markup_mode=None)


@review.command()
def figures(
    runs_dir: RunsArgument,
    recall: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Share of the marked defects that a threshold must keep.")
    ] = 1.0,
    false_alarms: Annotated[
        float | None,
        typer.Option(min=0.0001, max=100.0, help="NG regions a good image may show; as the run allowed unless given."),
    ] = None,
    database: Database = None,
) -> None:
    """Says recall and false alarms with 95 % intervals. It proposes thresholds."""
    _need_database()
    from flawmap.inspect.after_review.reviewed_folder import reviewed_runs
    from flawmap.inspect.after_review.words import in_words

    for name, run in reviewed_runs(runs_dir, database):
        print(printable(name))
        for line in in_words(run, recall, false_alarms):
            print(f"  {printable(line)}")


@review.command()
def export(
    run_dir: RunArgument,
    to: Annotated[ReviewFormat, typer.Option(help="What to write.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File (coco) or new folder (masks, tiles) to write.")],
    database: Database = None,
) -> None:
    """Writes marked defects, or good pictures to train with."""
    from flawmap.inspect.after_review.export import export_review
    from flawmap.inspect.progress import progress

    exported = export_review(_one_run(run_dir, database), to, output, progress=progress)
    for note in exported.notes:
        say(f"note: {printable(note)}")
    print(output if len(exported.paths) == 1 else f"{output}: {len(exported.paths)} files")


@review.command()
def calibrate(
    run_dir: RunArgument,
    model: Annotated[Path, typer.Option("--model", "-m", help="Bundle to take a copy of.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bundle folder to write; must not be there.")],
    false_alarms: Annotated[
        float | None,
        typer.Option(help="False regions a good image may show on average; the bundle's own unless given."),
    ] = None,
    device: Device = "auto",
    database: Database = None,
) -> None:
    """Calibrates a copy of a bundle on the images found good."""
    from flawmap.inspect.after_review.calibrate import calibrate_on_review
    from flawmap.inspect.progress import progress

    run = _one_run(run_dir, database)
    done = calibrate_on_review(run, model, output, false_alarms=false_alarms, device=device, progress=progress)
    for note in done.notes:
        say(f"note: {note}")
    found = done.calibration
    print(f"Bundle: {output}, calibrated on {found.n_regions} regions of {found.n_images} reviewed good images")


def _need_database() -> None:
    if find_spec("sqlalchemy") is None:
        raise UsageError("`flawmap review` needs sqlalchemy: pip install 'flawmap[serve]'")


def _one_run(run_dir: Path, database: str | None) -> "ReviewedRun":
    _need_database()
    from flawmap.inspect.after_review.reviewed_folder import one_reviewed_run

    return one_reviewed_run(run_dir, database)
