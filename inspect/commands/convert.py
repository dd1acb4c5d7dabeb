"""`flawmap convert`."""

from pathlib import Path
from typing import Annotated

import typer

from flawmap.inspect.commands.damaged_records import end_with_damaged
from flawmap.inspect.console import printable, say
from flawmap.inspect.exchange.formats import Format


def convert(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder that `flawmap inspect` wrote.")],
    to: Annotated[Format, typer.Option(help="What to write.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File (coco, pdf) or folder (the others) to write.")],
) -> None:
    """Writes a run as COCO, LabelMe, Parquet, OME-TIFF or PDF. Other programs read it there."""
    from flawmap.inspect.convert import convert as convert_run
    from flawmap.inspect.progress import progress
    from flawmap.tiling.errors import ImageError

    converted = convert_run(run_dir, to, output, progress=progress)
    for note in converted.notes:
        say(f"note: {note}")
    for failure in converted.failures:
        say(f"flawmap: {printable(failure)}")
    print(output if len(converted.paths) == 1 else f"{output}: {len(converted.paths)} files")
    end_with_damaged(converted.damaged)
    if converted.failures:
        raise typer.Exit(ImageError.exit_code)
