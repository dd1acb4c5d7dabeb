"""The commands that make or change a bundle: `flawmap train`, `configure`, `calibrate`, `export` and `optimise`.

They alone reach training and the part of export that needs torch, and load it only once they run.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.inspect.commands.options import BundleOutput, Device, PartOption, Quantile
from flawmap.inspect.console import say
from flawmap.tiling.errors import UsageError

if TYPE_CHECKING:
    from flawmap.export.part_record import Part
    from flawmap.tiling.look_map import WhereToLook

DEFAULT_FALSE_ALARMS = 0.1  # false regions a good image
COMPARED_IMAGES = 4  # good images into which defects are injected, to compare a faster model with


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
    train_bundle(good_dir, output, config, overrides, device, part)


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
        say(f"note: {info.counted_note}")


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
    from flawmap.export.bundle import read_bundle
    from flawmap.export.calibration_record import false_alarms_of
    from flawmap.inspect.scoring.scorers import as_it_runs
    from flawmap.tiling.images import list_images

    asked = false_alarms_of(false_alarms, quantile)
    allowed = DEFAULT_FALSE_ALARMS if asked is None else asked
    earlier = as_it_runs(read_bundle(bundle), device).info.calibration
    _calibrate(bundle, list_images(good_dir), allowed, device)
    if earlier is not None and f"{earlier.false_alarms:g}" != f"{allowed:g}":
        say(
            f"note: the bundle now allows {allowed:g} false regions on a good image, before it was "
            f"{earlier.false_alarms:g} (`--false-alarms {earlier.false_alarms:g}` keeps that)"
        )


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


def train_bundle(
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
    if config.product is None:
        config = config.model_copy(update={"product": output.absolute().name.removesuffix(".bundle")})
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
        say(
            f"exported: torch and ONNX Runtime differ by {written.parity.largest_difference:.1g} at most, "
            f"same {written.parity.n_regions} regions"
        )
    if part is not None:
        configure_bundle(output, *part)
    held_out = [path for path in written.held_out if file_of(path).is_file()]
    if len(held_out) < len(written.held_out):
        say(f"not calibrated: images that training held out are gone, {written.held_out[0].parent} is not as it was")
        return
    _calibrate(output, held_out, written.false_alarms, device)


def _calibrate(bundle: Path, paths: list[Path], false_alarms: float, device: str) -> None:
    from flawmap.export.model_card import renew_model_card
    from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
    from flawmap.inspect.progress import progress

    calibration = calibrate_bundle(bundle, paths, false_alarms, device=device, progress=progress)
    renew_model_card(bundle)
    print(f"Bundle: {bundle}, calibrated on {calibration.n_regions} regions of {calibration.n_images} good images")
    for note in filter(
        None, (calibration.left_out_note(), calibration.hottest_note(), calibration.few_images_note(false_alarms))
    ):
        say(f"note: {note}")


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
