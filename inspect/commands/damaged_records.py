"""What commands that read a run do about records that cannot be read: they go on, name them, and end with 3.

One damaged record must not take the report of 500 images down, and nobody may take 499 for all of them.
"""

from collections.abc import Sequence

import typer

from flawmap.inspect.console import printable, say
from flawmap.tiling.errors import ImageError

NAMED_MAX = 5


def end_with_damaged(damaged: Sequence[str]) -> None:
    """`damaged`: a sentence each, as in `RecordedRun.damaged`; nothing happens where there is none."""
    if not damaged:
        return
    for sentence in damaged[:NAMED_MAX]:
        say(f"flawmap: {printable(sentence)}")
    say(
        f"flawmap: records left out: {len(damaged)}; the command that made the run, given again, inspects their images "
        "again"
    )
    raise typer.Exit(ImageError.exit_code)
