"""How far long work has come: a bar on a terminal, a plain line now and then elsewhere.

with progress("inspecting", 30) as step:
    step("part-07.png: NG")
"""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from flawmap.inspect.console import printable

SECONDS_BETWEEN_LINES = 5.0

Step = Callable[[str], None]
ShowProgress = Callable[[str, int], AbstractContextManager[Step]]


@contextmanager
def silent(title: str, total: int) -> Iterator[Step]:
    """Shows nothing."""
    yield lambda _: None


@contextmanager
def progress(
    title: str, total: int, *, stream: TextIO | None = None, seconds: float = SECONDS_BETWEEN_LINES
) -> Iterator[Step]:
    """Shows `title` and how many of `total` steps are done on `stream` (stderr); yields the function that counts one.

    Its argument is a word on the step. Elsewhere than on a terminal a line is written at most every `seconds`, and one
    at the end, also when the work is broken off.
    """
    stream = sys.stderr if stream is None else stream
    shown = _bar if stream.isatty() else _lines
    with shown(title, total, stream, seconds) as step:
        yield step


@contextmanager
def _bar(title: str, total: int, stream: TextIO, seconds: float) -> Iterator[Step]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}", markup=False),  # a file name may hold brackets
    )
    with Progress(*columns, console=Console(file=stream)) as bar:
        task = bar.add_task(title, total=total, text="")
        yield lambda text: bar.update(task, advance=1, text=printable(text))


@contextmanager
def _lines(title: str, total: int, stream: TextIO, seconds: float) -> Iterator[Step]:
    done, said, last = 0, -math.inf, ""

    def say() -> None:
        print(f"{title} {done}/{total}{': ' if last else ''}{last}", file=stream, flush=True)

    def step(text: str) -> None:
        nonlocal done, said, last
        done, last = done + 1, printable(text)
        if time.monotonic() - said >= seconds and done < total:
            said = time.monotonic()
            say()

    try:
        yield step
    finally:
        if done or not total:  # work that was refused before its first step has its own word to say
            say()
