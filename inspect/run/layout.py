"""Where things lie in a run folder.

run.json  images.csv  regions.csv  parts.csv  index.html  metrics.json  regions/<name>.json  overlays/  zoom/<name>/
page/  evaluation/  results/<part>.json  parts/<part>.json  .outgoing/  publish/  received/
"""

import re
from pathlib import Path

RUN_INFO = "run.json"
IMAGES_TABLE = "images.csv"
REGIONS_TABLE = "regions.csv"
PARTS_TABLE = "parts.csv"  # of a run with a recipe
PAGE = "index.html"
METRICS = "metrics.json"  # what `flawmap evaluate` found about these results
RECORDS = "regions"
OVERLAYS = "overlays"
ZOOM = "zoom"  # a folder an image: the whole picture in tiles
ZOOM_TILE = re.compile(r"(picture|heat)-[0-9]+-[0-9]+-[0-9]+\.(jpg|png)")
PAGE_FILES = "page"  # what index.html loads when it is needed
VIEWER = "page/viewer"  # OpenSeadragon, where this flawmap has it
VIEWER_FILES = re.compile(r"openseadragon\.min\.js|LICENSE\.txt")
OUTPUT_FOLDERS = (RECORDS, OVERLAYS, ZOOM, PAGE_FILES)  # of `flawmap inspect`
EVALUATION = "evaluation"  # plots and gallery of `flawmap evaluate`
EVALUATION_FILES = re.compile(r"index\.html|(roc|froc|score_histogram|(missed|false|elsewhere)-[0-9]+)\.png")
EVALUATION_OF_MODEL = re.compile(r"model-[0-9]+")  # the same again, of one model of a recipe
DETECTION_LIMIT = "evaluation/detection_limit"  # the smallest defect that is found, as `flawmap evaluate` measured it
DETECTION_LIMIT_PAGE = f"{DETECTION_LIMIT}.html"  # drawn from the JSON, as the report is from its records
DETECTION_LIMIT_SUFFIXES = (".json", ".csv", ".png", ".html")
DRIFT = "drift.json"  # of `flawmap drift` and of a watcher, with a picture beside it
DRIFT_FILES = re.compile(r"drift\.(json|png)|drift-[0-9]+\.png")
# Of `flawmap watch`: a result for each part.
RESULTS = "results"  # to be read, or taken away, by whoever needs them
PART_RESULTS = "parts"  # the same, kept
OUTGOING = ".outgoing"  # on their way to RESULTS
PUBLISH = "publish"  # until a broker has them
WATCH_FOLDERS = (RESULTS, PART_RESULTS, OUTGOING, PUBLISH)
RECEIVED = "received"  # of `flawmap serve`: the images that were sent, and links to those asked for by path
LOCK = ".flawmap.lock"


def heatmap_path(name: str) -> str:
    """Where the heatmap of the image whose files are called `name` lies, relative to the run folder."""
    return f"{OVERLAYS}/{name}-heatmap.tif"


def zoom_folder(name: str) -> str:
    """Where the tiles of the image whose files are called `name` lie, relative to the run folder."""
    return f"{ZOOM}/{name}"


def image_data_path(name: str) -> str:
    """Where the page looks for the regions of the image whose files are called `name`, relative to the run folder."""
    return f"{PAGE_FILES}/{name}.js"


def evaluation_folder(model: int | None) -> str:
    """Where an evaluation lies, relative to the run folder: that of one model of a recipe, of the run otherwise."""
    return EVALUATION if model is None else f"{EVALUATION}/model-{model + 1}"


def is_run_folder(folder: Path) -> bool:
    """Whether flawmap has written a run into `folder`."""
    return (folder / RUN_INFO).is_file() and (folder / RECORDS).is_dir()
