"""The command line. Every command says what it does in one line, ends with the exit code of DESIGN section 4, and loads
torch only where it trains or exports.
"""

import logging
import sys
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from flawmap.inspect.convert_command import convert
from flawmap.inspect.line_commands import drift, watch
from flawmap.tiling.errors import FlawmapError, ImageError, UsageError

if TYPE_CHECKING:
    from flawmap.export.part_record import Part
    from flawmap.inspect.records import RunInfo
    from flawmap.tiling.look_map import WhereToLook

DEFAULT_FALSE_ALARMS = 0.1  # false regions a good image
POD_IMAGES = 6  # good images into which defects are injected
COMPARED_IMAGES = 4  # the same, to compare a faster model with
DEMO_MINUTES = 8.0
DEMO_IMAGES = {"train_good": 10, "test_good": 4, "test_defect": 6}
DEMO_FALSE_ALARMS = 0.05  # four good images: at the usual 0.1 one demo in three would show a false alarm, as it should
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

BundleOption = Annotated[
    Path, typer.Option("--model", "-m", help="Bundle that `flawmap train` wrote, or a recipe (YAML) of several.")
]
BundleOutput = Annotated[Path, typer.Option("--output", "-o", help="Bundle folder to write.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, openvino or tensorrt.")]
FalseAlarms = Annotated[
    float | None, typer.Option(help="False regions a good image may show on average; the bundle's own unless given.")
]
PartOption = Annotated[Path | None, typer.Option(help="YAML file: where to look, pixel size, rules of the plant.")]
Quantile = Annotated[
    float | None, typer.Option(help="Instead of --false-alarms: share of good images that show none, such as 0.95.")
]


def main() -> None:
    """Runs the command line; ends the process with its exit code."""
    notes = logging.StreamHandler()
    notes.setFormatter(logging.Formatter("note: %(message)s"))
    logging.getLogger("flawmap").addHandler(notes)
    logging.getLogger("flawmap").setLevel(logging.INFO)
    try:
        app(standalone_mode=True)
    except FlawmapError as error:
        _say(f"flawmap: {error}")
        sys.exit(error.exit_code)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"flawmap {installed_version('flawmap')}")
        raise typer.Exit


@app.callback()
def _flawmap(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which flawmap this is.")
    ] = False,
) -> None:
    """Holds the options that need no command; typer asks for a function to hang them on."""


@app.command()
def train(
    good_dir: Annotated[Path, typer.Argument(metavar="GOOD_DIR", help="Folder of good images.")],
    output: BundleOutput,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="YAML file of settings.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting; wins over the file; may be given again."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Let the network learn so long at most.")] = None,
    part: PartOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Learns a product from good images and writes a finished bundle."""
    overrides = list(settings or [])
    if minutes is not None:
        overrides.append(f"learning.minutes={minutes}")
    _train(good_dir, output, config, overrides, device, part)


@app.command()
def configure(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to change.")],
    part: Annotated[
        Path, typer.Argument(metavar="PART", help="YAML file: where to look, pixel size, rules of the plant.")
    ],
) -> None:
    """Gives a bundle another part description, without training."""
    from flawmap.export.configure_bundle import configure_bundle

    described = _read_part(part)
    assert described is not None
    info = configure_bundle(bundle, *described)
    print(f"Bundle: {bundle}")
    if info.counted_note:
        _say(f"note: {info.counted_note}")


@app.command()
def calibrate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to calibrate.")],
    good_dir: Annotated[Path, typer.Argument(metavar="GOOD_DIR", help="Good images that training did not see.")],
    false_alarms: Annotated[
        float | None, typer.Option(help="False regions a good image may show on average; 0.1 unless given.")
    ] = None,
    quantile: Quantile = None,
    device: Device = "auto",
) -> None:
    """Sets the thresholds of a bundle by good images.

    It learns at which score a region is one false alarm in ten parts, or in a hundred.
    """
    from flawmap.export.calibration_record import false_alarms_of
    from flawmap.tiling.images import list_images

    allowed = false_alarms_of(false_alarms, quantile)
    _calibrate(bundle, list_images(good_dir), DEFAULT_FALSE_ALARMS if allowed is None else allowed, device)


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="model.ckpt that `flawmap train` left beside its bundle.")
    ],
    output: BundleOutput,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="The only batch the model takes; any, unless given.")
    ] = None,
    part: PartOption = None,
) -> None:
    """Writes a bundle again from a checkpoint. It is calibrated on the images that training held out."""
    _export(checkpoint, output, batch_size, "auto", _read_part(part))


@app.command()
def optimise(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle to make faster.")],
    good_dir: Annotated[Path, typer.Argument(metavar="GOOD_DIR", help="Good images that training did not see.")],
    device: Annotated[str, typer.Option(help="openvino, cuda or tensorrt.")] = "openvino",
    precision: Annotated[
        str | None,
        typer.Option(
            help="On openvino int8, int8-bf16 or bf16; on cuda tf32 or fp16; on tensorrt fp16; the first unless given."
        ),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Also look for the defects of this dataset in the MVTec AD layout.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Good images to inject defects into, at most.")] = COMPARED_IMAGES,
) -> None:
    """Adds a faster model to a bundle. It is refused where a detection would be lost."""
    _need_training()
    from flawmap.export.faster_model import write_faster_model
    from flawmap.inspect.optimise_bundle import candidate_folder, check_precision, keep_if_as_good, tiles_as_scored
    from flawmap.inspect.progress import progress
    from flawmap.tiling.images import list_images

    wanted = check_precision(device, precision)
    paths = list_images(good_dir)
    tiles = tiles_as_scored(bundle, paths)
    with candidate_folder(bundle) as folder:
        write_faster_model(bundle / "model.onnx", folder / "model.onnx", wanted, tiles)
        kept = keep_if_as_good(
            bundle, folder / "model.onnx", device, wanted, paths, truth=truth, images=images, progress=progress
        )
    figures = kept.comparison
    print(
        f"Bundle: {bundle}, {figures['injected_after']} of {figures['injected']} injected defects found on {device} "
        f"{wanted}, {figures['injected_before']} before; false regions on {figures['good_images']} good images "
        f"{figures['false_after']}, {figures['false_before']} before"
    )
    print("; ".join(f"{name}: {ms:g} ms a tile" for name, ms in figures["milliseconds_a_tile"].items()))


@app.command()
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
    workers: Annotated[int, typer.Option(help="Images read ahead in parallel.")] = 1,
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
        progress=progress,
    )
    _tell(run, output)
    # With a recipe a part may be ERROR though none of its images is: one is missing. No part is NG without an image.
    if run.counts["ERROR"] or (run.recipe is not None and run.recipe.parts["ERROR"]):
        raise typer.Exit(ImageError.exit_code)
    if fail_on_ng and run.counts["NG"]:
        raise typer.Exit(1)


app.command()(watch)
app.command()(drift)
app.command()(convert)


@app.command()
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
    from flawmap.inspect.evaluate_run import evaluate_run, pages_of
    from flawmap.inspect.evaluation.summary import summary
    from flawmap.inspect.progress import progress

    metrics = evaluate_run(run_dir, truth, progress=progress)
    print(summary(metrics))
    print(run_dir / "metrics.json")
    print(*pages_of(run_dir, metrics), sep="\n")
    if probability_of_detection:
        from flawmap.inspect.detection_limit.measure import measure_detection_limit
        from flawmap.inspect.run_layout import DETECTION_LIMIT

        print(measure_detection_limit(run_dir, truth, images=images, progress=progress)["sentence"])
        print((run_dir / DETECTION_LIMIT).with_suffix(".png"))


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder that `flawmap inspect` wrote.")],
) -> None:
    """Builds the page of a run again from its records."""
    from flawmap.inspect.report.page import write_page

    print(write_page(run_dir))


@app.command()
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
        _say(f"note: {measured.device_note}")
    print(in_words(measured, allowed))


@app.command()
def doctor() -> None:
    """Says what this machine can run, and what is wrong with it."""
    from flawmap.inspect.doctor import examine

    findings = examine()
    for finding in findings:
        print(f"{finding.level.upper():8} {finding.name}: {finding.text}")
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(2)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for everything the demo makes.")] = Path(
        "demo"
    ),
    surface: Annotated[str, typer.Option(help="metal, cloth or board.")] = "metal",
    size: Annotated[int, typer.Option(help="Height and width of the images in px.")] = 5120,
    minutes: Annotated[float, typer.Option(help="Let the network learn so long at most.")] = DEMO_MINUTES,
) -> None:
    """Draws a product, learns it, inspects it and reports. The whole way, on generated images."""
    from flawmap.inspect.evaluate_run import evaluate_run
    from flawmap.inspect.evaluation.summary import summary
    from flawmap.inspect.folder import inspect_folder
    from flawmap.inspect.progress import progress
    from flawmap.sample_data.dataset import write_dataset

    data, bundle, run = output / surface, output / f"{surface}.bundle", output / f"{surface}.run"
    with progress("drawing images", sum(DEMO_IMAGES.values())) as step:
        write_dataset(data, surface=surface, size=(size, size), report=lambda done, total: step(""), **DEMO_IMAGES)
    settings = [f"learning.minutes={minutes}", f"product=sample {surface}", f"false_alarms={DEMO_FALSE_ALARMS}"]
    _train(data / "train" / "good", bundle, None, settings, "auto", None)
    _tell(inspect_folder([data / "test"], bundle, run, fresh=True, progress=progress), run)
    print(summary(evaluate_run(run, data)))
    print(f"Report: {(run / 'index.html').resolve()}")


def _train(
    good_dir: Path, output: Path, config_file: Path | None, overrides: list[str], device: str, part_file: Path | None
) -> None:
    """Good images in, finished bundle out; the checkpoint stays in `output`.work."""
    from flawmap.tiling.images import list_images
    from flawmap.tiling.pages import pictures_of

    files = list_images(good_dir)
    _need_training()
    from flawmap.inspect.progress import progress
    from flawmap.tiling.look_map import EVERYWHERE
    from flawmap.training.config import load_config
    from flawmap.training.fit import train

    config = load_config(config_file, overrides)
    paths = pictures_of(files, config.image.pages)
    described = _read_part(part_file)
    where = EVERYWHERE if described is None else described[1]
    work = output.with_name(output.name + ".work")
    with progress("learning", 100) as step:
        percent = 0

        def show(share: float, text: str) -> None:
            nonlocal percent
            while percent < int(share * 100):
                percent += 1
                step(text)

        checkpoint = train(paths, config, work, device=device, report=show, where=where)
    _export(checkpoint, output, None, device, described)


def _read_part(file: Path | None) -> "tuple[Part, WhereToLook] | None":
    """The part description in `file`, and the pixels that it says count."""
    from flawmap.export.part_record import read_part
    from flawmap.export.where_map import draw_where

    if file is None:
        return None
    part = read_part(file)
    return part, draw_where(part.where, file.parent)


def _export(
    checkpoint: Path, output: Path, batch_size: int | None, device: str, part: "tuple[Part, WhereToLook] | None"
) -> None:
    _need_training()
    from flawmap.export.bundle_writer import write_bundle
    from flawmap.export.configure_bundle import configure_bundle
    from flawmap.tiling.pages import file_of

    written = write_bundle(checkpoint, output, batch_size=batch_size)
    if written.parity is not None:
        _say(
            f"exported: torch and ONNX Runtime differ by {written.parity.largest_difference:.1g} at most, "
            f"same {written.parity.n_regions} regions"
        )
    if part is not None:
        configure_bundle(output, *part)
    held_out = [path for path in written.held_out if file_of(path).is_file()]
    if len(held_out) < len(written.held_out):
        _say(f"not calibrated: images that training held out are gone, {written.held_out[0].parent} is not as it was")
        return
    _calibrate(output, held_out, written.false_alarms, device)


def _calibrate(bundle: Path, paths: list[Path], false_alarms: float, device: str) -> None:
    from flawmap.inspect.calibrate_bundle import calibrate_bundle
    from flawmap.inspect.progress import progress

    calibration = calibrate_bundle(bundle, paths, false_alarms, device=device, progress=progress)
    print(f"Bundle: {bundle}, calibrated on {calibration.n_regions} regions of {calibration.n_images} good images")
    note = calibration.few_images_note(false_alarms)
    if note:
        _say(f"note: {note}")


def _tell(run: "RunInfo", run_dir: Path) -> None:
    """Says what came out of an inspection, and where it lies."""
    for note in filter(None, (run.device_note, run.calibration_note)):
        _say(f"note: {note}")
    if run.recipe is not None:
        print(f"{run.recipe.parts['parts']} parts: {_by_verdict(run.recipe.parts)}")
        apart = (("without a part", run.recipe.parts["images_without_part"]), ("ignored", run.recipe.ignored))
        for what, count in apart:
            if count:
                print(f"{count} image{'s' if count > 1 else ''} {what}")
    print(f"{run.counts['images']} images on {run.device}: {_by_verdict(run.counts)}")
    if run.counts["ERROR"]:
        _say(f"not inspected: {run.counts['ERROR']}; {run_dir / 'images.csv'} says why, in its column `error`")
    dropped = run.counts["dropped"]
    if dropped:
        print(f"{dropped} region{'s' if dropped > 1 else ''} dropped by rules")
    print(run_dir / "index.html")


def _by_verdict(counts: dict[str, int]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("OK", "REVIEW", "NG", "ERROR"))


def _need_training() -> None:
    """Says what is missing instead of a traceback where only inspection was installed."""
    missing = [
        name
        for name in ("torch", "pytorch_lightning", "albumentations", "onnx", "onnxscript")
        if find_spec(name) is None
    ]
    if missing:
        raise UsageError(
            f"training is not installed here ({', '.join(missing)} missing): pip install 'flawmap[cpu,train]'"
        )


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
