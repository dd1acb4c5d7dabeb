"""Results go out exactly once, whenever the process is killed.

1. .outgoing/NAME.json     the result, complete, where nobody looks
2. parts/NAME.json         the same: from here on the part has its result
3. results/NAME.json       1, renamed: for the PLC to read, or to take away

Killed before 2 the part has no result, and the records of its images give it one when the watcher starts again.
Killed between 2 and 3 what lies in .outgoing/ still has to go out. Killed after 3 nothing lies there, so that a result
which the PLC has taken away does not come back. With a publisher the result is also put into publish/ between 2 and 3:
a kill there may publish it twice, under the same `resultId`.
"""

import time
from contextlib import suppress
from pathlib import Path

from flawmap.inspect.line.part_result import PartResult
from flawmap.inspect.run.input_images import file_name
from flawmap.inspect.run.layout import OUTGOING, PART_RESULTS, PUBLISH, RESULTS
from flawmap.tiling.whole_file import write_text


class HandOver:
    """Writes into one run folder; OSError where that fails."""

    def __init__(self, run_dir: Path, *, publish: bool) -> None:
        """`publish`: also keep each result in publish/ until a publisher has taken it away."""
        self._outgoing, self._parts = run_dir / OUTGOING, run_dir / PART_RESULTS
        self._results, self._publish = run_dir / RESULTS, run_dir / PUBLISH if publish else None
        for folder in (self._outgoing, self._parts, self._results, self._publish):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._outgoing.glob("*.json")):
            if (self._parts / path.name).is_file():
                self._send(path.name)
            else:
                path.unlink(missing_ok=True)

    def has(self, part: str) -> bool:
        """Whether `part` has its result."""
        return (self._parts / _file(part)).is_file()

    def give(self, part: str, result: PartResult) -> None:
        """The result of `part`, which has none yet."""
        name, text = _file(part), result.text()
        write_text(self._outgoing / name, text)
        write_text(self._parts / name, text)
        self._send(name)

    def images_of(self, part: str) -> list[str]:
        """The images that the result of `part` is about; none where it has no result."""
        try:
            text = (self._parts / _file(part)).read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        return [image.image for image in PartResult.of_text(text).result_content[0].images]

    def take_back(self, part: str) -> None:
        """`part` comes again: it may have another result. What went out stays out."""
        (self._parts / _file(part)).unlink(missing_ok=True)

    def _send(self, name: str) -> None:
        if self._publish is not None:
            # In the order of their names; a clock that is set back between two starts may mix them up.
            write_text(self._publish / f"{time.time_ns():020d}-{name}", (self._outgoing / name).read_text("utf-8"))
        (self._outgoing / name).replace(self._results / name)


def waiting_results(publish: Path) -> list[Path]:
    """What waits in publish/, the first that went out first."""
    with suppress(FileNotFoundError):
        return sorted(path for path in publish.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    return []


def _file(part: str) -> str:
    return f"{file_name(part)}.json"
