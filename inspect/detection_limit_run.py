"""What `flawmap evaluate --probability-of-detection` does first: measures the smallest defect found and shows it."""

from pathlib import Path
from typing import Any

from flawmap.inspect.detection_limit.injection import Design
from flawmap.inspect.detection_limit.measure import DEFAULT_DESIGN, measure_detection_limit
from flawmap.inspect.progress import ShowProgress, silent
from flawmap.inspect.report.detection_limit_page import draw_detection_limit
from flawmap.inspect.report.page import write_page
from flawmap.inspect.run.layout import PAGE
from flawmap.inspect.run.record_files import read_run_info
from flawmap.tiling.errors import UsageError


def detection_limit_run(
    run_dir: Path, dataset: Path, *, images: int = 6, design: Design = DEFAULT_DESIGN, progress: ShowProgress = silent
) -> dict[str, Any]:
    """Measures with the bundle of the run in `run_dir`, and lets its report lead to what came out.

    The page of an evaluation leads there once `evaluate_run` writes it. Returns what detection_limit.json says; errors
    as of `measure_detection_limit`.
    """
    result = measure_detection_limit(run_dir, dataset, images=images, design=design, progress=progress)
    run = read_run_info(run_dir)
    assert run is not None  # or nothing had been measured
    try:
        if (run_dir / PAGE).is_file():
            write_page(run_dir)  # which draws the limit's too
        else:
            draw_detection_limit(run_dir, run)
    except OSError as error:
        where = error.filename or run_dir
        raise UsageError(f"`RUN_DIR` (={run_dir}) cannot be written: {error.strerror or error} ({where})") from error
    return result
