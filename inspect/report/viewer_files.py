"""OpenSeadragon, which shows a 5120x5120 picture as a map is shown: https://openseadragon.github.io (BSD-3-Clause).

It is not in the repository: `make viewer` brings it from npm, at the version and the checksum that package-lock.json
names, into viewer/ beside this file, and a wheel built then carries it. Without it pages show plain pictures.
"""

import shutil
from pathlib import Path

from flawmap.inspect.run.layout import VIEWER
from flawmap.tiling.whole_file import write_whole

SOURCE = Path(__file__).parent / "viewer"
SCRIPT, LICENCE = "openseadragon.min.js", "LICENSE.txt"


def bring_viewer(run_dir: Path) -> str | None:
    """Copies the viewer into the run, so that the folder opens anywhere; its script relative to `run_dir`.

    None where this flawmap was built without it and the run has none from another one. OSError where it cannot be
    written.
    """
    here = run_dir / VIEWER
    for name in (LICENCE, SCRIPT):  # the script last: where it is, its licence is
        source = SOURCE / name
        if source.is_file() and not _same(source, here / name):
            here.mkdir(parents=True, exist_ok=True)
            with write_whole(here / name) as temporary:
                shutil.copyfile(source, temporary)
    return f"{VIEWER}/{SCRIPT}" if (here / SCRIPT).is_file() else None


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
