"""Where things lie in a run folder.

run.json  images.csv  regions.csv  index.html  metrics.json  regions/<name>.json  overlays/
"""

from pathlib import Path

RUN_INFO = "run.json"
IMAGES_TABLE = "images.csv"
REGIONS_TABLE = "regions.csv"
PAGE = "index.html"
METRICS = "metrics.json"  # what `flawmap evaluate` found about these results
RECORDS = "regions"
OVERLAYS = "overlays"
OUTPUT_FOLDERS = (RECORDS, OVERLAYS)
LOCK = ".flawmap.lock"


def is_run_folder(folder: Path) -> bool:
    """Whether flawmap has written a run into `folder`."""
    return (folder / RUN_INFO).is_file() and (folder / RECORDS).is_dir()
