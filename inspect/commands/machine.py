"""The commands about a machine: `flawmap plan` and `flawmap doctor`."""

from pathlib import Path
from typing import Annotated

import typer

from flawmap.inspect.commands.options import Device
from flawmap.inspect.console import say


def plan(
    model: Annotated[Path, typer.Option("--model", "-m", help="Bundle that `flawmap train` wrote.")],
    image: Annotated[str, typer.Option(help="WIDTHxHEIGHT in px, or an image file of yours.")],
    takt: Annotated[str | None, typer.Option(help="Time between two images, such as 2s or 500ms.")] = None,
    device: Device = "auto",
) -> None:
    """Measures what an image takes on this machine. It goes stage by stage, and says whether a takt is met."""
    from flawmap.inspect.progress import progress
    from flawmap.inspect.takt import in_words, measure, takt_seconds

    allowed = None if takt is None else takt_seconds(takt)
    measured = measure(model, image, device=device, progress=progress)
    if measured.device_note:
        say(f"note: {measured.device_note}")
    print(in_words(measured, allowed))


def doctor() -> None:
    """Says what this machine can run, and what is wrong with it."""
    from flawmap.inspect.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{finding.level.upper():8} {finding.name}: {finding.text}")
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(2)
