"""The command line. Every command says what it does in one line, ends with an exit code of README's table, and loads
torch only where it trains or exports.
"""

import logging
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from flawmap.inspect.commands.bundle import calibrate, configure, export, optimise, train
from flawmap.inspect.commands.convert import convert
from flawmap.inspect.commands.demo import demo
from flawmap.inspect.commands.line import drift, watch
from flawmap.inspect.commands.machine import doctor, plan
from flawmap.inspect.commands.review import review
from flawmap.inspect.commands.run import evaluate, inspect, report
from flawmap.inspect.commands.serve import serve
from flawmap.inspect.console import say
from flawmap.tiling.errors import FlawmapError

INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended


class InterruptedCommandError(FlawmapError):
    """Ctrl-C."""

    exit_code = INTERRUPTED


class Commands(TyperGroup):
    """Typer itself would end an interrupted command with a bare "Aborted!"."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise InterruptedCommandError(
                "interrupted; what is done is kept, the same command goes on from there"
            ) from None


app = typer.Typer(
    cls=Commands,
    help="Finds tiny defects in huge industrial images, trained on good images only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    notes = logging.StreamHandler()
    notes.setFormatter(logging.Formatter("note: %(message)s"))
    logging.getLogger("flawmap").addHandler(notes)
    logging.getLogger("flawmap").setLevel(logging.INFO)
    try:
        app(standalone_mode=True)
    except FlawmapError as error:
        say(f"flawmap: {error}")
        sys.exit(error.exit_code)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # slow to load, and asked for once in a blue moon

        print(f"flawmap {version('flawmap')}")
        raise typer.Exit


@app.callback()
def _flawmap(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which flawmap this is.")
    ] = False,
) -> None:
    """Holds the options that need no command; typer asks for a function to hang them on."""


COMMANDS = (
    train,
    configure,
    calibrate,
    export,
    optimise,
    inspect,
    watch,
    drift,
    serve,
    convert,
    evaluate,
    report,
    plan,
    doctor,
    demo,
)
for command in COMMANDS:  # `flawmap --help` lists them in this order
    app.command()(command)
app.add_typer(review, name="review")
