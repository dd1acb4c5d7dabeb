"""The commands of a run: `flawmap inspect` makes one, `evaluate` and `report` read it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.inspect.commands.damaged_records import end_with_damaged
from flawmap.inspect.commands.options import BundleOption, Device, FalseAlarms, Quantile
from flawmap.inspect.console import printable, say
from flawmap.tiling.errors import ImageError

if TYPE_CHECKING:
    from flawmap.inspect.run.records import RunInfo

POD_IMAGES = 6  # good images into which defects are injected


def inspect(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Images and folders of images.")],
    model: BundleOption,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; an interrupted run goes on there.")
    ],
    device: Device = "auto",
    false_alarms: FalseAlarms = None,
    quantile: Quantile = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the results in the output folder.")] = False,
    fail_on_ng: Annotated[bool, typer.Option("--fail-on-ng", help="End with 1 if any image or part is NG.")] = False,
    heatmaps: Annotated[bool, typer.Option("--heatmaps", help="Write every heatmap as TIFF.")] = False,
    zoom: Annotated[bool, typer.Option(help="Show every image at full size in the report.")] = True,
    workers: Annotated[
        int | None, typer.Option(help="Images read ahead in parallel; 1 unless given, more on a GPU.")
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(help="Images scored side by side; 1 unless given, 2 on a GPU with memory for it.")
    ] = None,
    tile_size: Annotated[
        int | None, typer.Option(help="Tiles of so many px; unless given the bundle's, on a GPU as large as fits.")
    ] = None,
) -> None:
    """Inspects images and writes verdicts, regions and a report."""
    from flawmap.export.calibration_record import false_alarms_of
    from flawmap.inspect.folder import inspect_folder
    from flawmap.inspect.progress import progress

    run = inspect_folder(
        paths,
        model,
        output,
        device=device,
        false_alarms=false_alarms_of(false_alarms, quantile),
        fresh=fresh,
        heatmaps=heatmaps,
        zoom=zoom,
        workers=workers,
        lanes=lanes,
        tile_size=tile_size,
        progress=progress,
    )
    tell(run, output)
    # With a recipe a part may be ERROR though none of its images is: one is missing. No part is NG without an image.
    if run.counts["ERROR"] or (run.recipe is not None and run.recipe.parts["ERROR"]):
        raise typer.Exit(ImageError.exit_code)
    if fail_on_ng and run.counts["NG"]:
        raise typer.Exit(1)


def evaluate(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder that `flawmap inspect` wrote.")],
    truth: Annotated[Path, typer.Option(help="Dataset with test/ and ground_truth/ in the MVTec AD layout.")],
    probability_of_detection: Annotated[
        bool,
        typer.Option(
            "--probability-of-detection",
            help="Also inject defects of known size into good images: the smallest found 9 times out of 10.",
        ),
    ] = False,
    images: Annotated[int, typer.Option(help="Good images to inject defects into, at most.")] = POD_IMAGES,
) -> None:
    """Says what a run found, missed and raised for nothing. It is compared with what people marked."""
    from flawmap.inspect.evaluate_run import damaged_in, evaluate_run, pages_of
    from flawmap.inspect.evaluation.summary import summary
    from flawmap.inspect.progress import progress

    not_injected: dict[str, str] = {}
    if probability_of_detection:  # first: the pages of the evaluation lead to it
        from flawmap.inspect.detection_limit_run import detection_limit_run
        from flawmap.inspect.run.layout import DETECTION_LIMIT_PAGE

        limit = detection_limit_run(run_dir, truth, images=images, progress=progress)
        print(limit["sentence"])
        print(run_dir / DETECTION_LIMIT_PAGE)
        not_injected = limit["images_not_inspected"]
        for name, reason in not_injected.items():
            say(f"flawmap: no defects were injected into {printable(name)}: {printable(reason)}")
    metrics = evaluate_run(run_dir, truth, progress=progress)
    print(summary(metrics))
    print(run_dir / "metrics.json")
    print(*pages_of(run_dir, metrics), sep="\n")
    end_with_damaged(damaged_in(metrics))
    if not_injected:
        raise typer.Exit(ImageError.exit_code)


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder that `flawmap inspect` wrote.")],
) -> None:
    """Builds the page of a run again from its records."""
    from flawmap.inspect.report.page import draw_page
    from flawmap.inspect.run.recorded_run import read_recorded_run

    run = read_recorded_run(run_dir)
    print(draw_page(run))
    end_with_damaged(run.damaged)


def tell(run: "RunInfo", run_dir: Path) -> None:
    """Says what came out of an inspection, and where it lies."""
    for note in filter(None, (run.device_note, run.calibration_note)):
        say(f"note: {note}")
    if run.recipe is not None:
        print(f"{run.recipe.parts['parts']} parts: {_by_verdict(run.recipe.parts)}")
        apart = (("without a part", run.recipe.parts["images_without_part"]), ("ignored", run.recipe.ignored))
        for what, count in apart:
            if count:
                print(f"{count} image{'s' if count > 1 else ''} {what}")
    print(f"{run.counts['images']} images on {run.device}: {_by_verdict(run.counts)}")
    if run.counts["ERROR"]:
        say(f"not inspected: {run.counts['ERROR']}; {run_dir / 'images.csv'} says why, in its column `error`")
    dropped = run.counts["dropped"]
    if dropped:
        print(f"{dropped} region{'s' if dropped > 1 else ''} dropped by rules")
    print(run_dir / "index.html")


def _by_verdict(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("OK", "REVIEW", "NG", "ERROR"))
