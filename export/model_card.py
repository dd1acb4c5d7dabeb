"""MODEL_CARD.md: what a bundle is, for the person who finds it on a line PC in three years."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flawmap.export.bundle import BundleInfo, ImageInfo, read_bundle, rewrite_bundle
from flawmap.export.calibration_record import HotImage
from flawmap.tiling.padding import Padding

CARD = "MODEL_CARD.md"
CALIBRATION = "\n## Calibration\n\n"
_PADDINGS: dict[Padding, str] = {"reflect": "the picture reflected", "replicate": "its last pixel repeated"}


def renew_model_card(bundle_dir: Path) -> None:
    """Says in the card of a sound bundle what it is calibrated on now; a bundle without a card stays without.

    The rest of the card is left as it stands: an older flawmap may have written it.
    """
    if not (bundle_dir / CARD).is_file():
        return
    info = read_bundle(bundle_dir).info
    card = (bundle_dir / CARD).read_text(encoding="utf-8").partition(CALIBRATION)[0]
    rewrite_bundle(bundle_dir, info, {CARD: (card + _calibration(info)).encode()})


def model_card(info: BundleInfo) -> str:
    """The card as Markdown, from the bundle's description alone."""
    made = info.provenance
    settings = made["settings"]
    lines = [
        f"# {info.product}: flawmap bundle",
        "",
        f"Made {info.created} by flawmap {info.flawmap_version} from good images only, without pretrained weights.",
        "",
        "| | |",
        "|---|---|",
        f"| model | {_model(info.network.kind, settings)} |",
        f"| images it takes | {_images(info.image)}{_shrunk(info.image.longest_side)} |",
        f"| tile | {info.tile.size} px, overlap {info.tile.overlap} px, border {info.tile.border} px "
        f"({_PADDINGS[info.tile.padding]}) |",
        f"| good images learned from | {made['images_trained_on']} |",
        f"| held out to standardise scores | {made['images_standardised_on']} |",
        f"| held out to calibrate | {made['images_held_out_to_calibrate']} |",
        *_learning(made),
        "",
        "**Use.** `flawmap inspect FOLDER -m BUNDLE -o RUN_DIR`, for the product, camera, optics and light it was",
        "trained on.",
        "",
        *_not_for(info),
        "",
        "**Limits.** It has seen good parts only: what it reports is unlike them, not necessarily a defect. Its rate",
        "of false alarms is calibrated on the good images above and holds as long as good parts look like them.",
        "Calibrate again (`flawmap calibrate`) when the light or the surface changes, train again when the",
        "product does.",
        "",
        "The settings it was trained with stand in bundle.json under `provenance.settings`, the loss curve in",
        "training.csv.",
        "",
    ]
    return "\n".join(lines) + _calibration(info)


def _not_for(info: BundleInfo) -> list[str]:
    if info.alignment is not None:  # it knows what belongs where
        return ["**Not for.** Another product or camera; decisions about people's safety without a person."]
    return [
        "**Not for.** Another product or camera; a part whose layout matters (a missing hole looks good to a model",
        "that only knows texture); decisions about people's safety without a person.",
    ]


def _model(kind: str, settings: dict[str, Any]) -> str:
    network, hog = settings["network"], settings["hog"]
    if kind == "median":
        return f"distance to the local median over {settings['median']['window']} px, nothing learned"
    if kind == "template":
        return f"golden template: distance to what the reference shows within {settings['template']['slack']} px"
    if kind == "hog" and hog["labelled"] is None:
        return f"HOG features and a one-class support vector machine, nu {hog['nu']:g}"
    if kind == "hog":
        return f"HOG features and support vector regression of the defective share, labels of {hog['labelled']}"
    levels = f"channels a level {', '.join(map(str, network['channels']))}"
    if kind == "repair":
        return f"repair network with damage head, trained on synthetic damage of good tiles; {levels}"
    compared = "; compared by SSIM" if network["compare"] == "ssim" else ""
    if network["latent_size"] is None:
        return f"convolutional autoencoder, no bottleneck; {levels}{compared}"
    return f"bottleneck autoencoder, latent size {network['latent_size']}; {levels}{compared}"


def _images(image: ImageInfo) -> str:
    colour = {1: "mono", 3: "RGB"}.get(image.channels, f"{image.channels}-channel")
    if image.pages == "channels":
        colour = f"TIFF stacks of {image.channels} grey pages,"
    bits = "" if image.bits is None else f", of which {image.bits} bits count"
    raw = "" if image.bayer is None else f", from raw pictures behind a Bayer filter {image.bayer}"
    each = ", each page of a TIFF" if image.pages == "pictures" else ""
    return f"{colour} {image.dtype}{bits}{raw}{each}"


def _shrunk(longest_side: int | None) -> str:
    return "" if longest_side is None else f"; larger images are shrunk to {longest_side} px first"


def _calibration(info: BundleInfo) -> str:
    """What the bundle is calibrated on, the last section; empty for one that is not calibrated yet."""
    calibration = info.calibration
    if calibration is None:
        return ""
    lines = [f"{CALIBRATION}On {calibration.n_regions} regions of {calibration.n_images} good images."]
    lines.append("")
    if calibration.left_out:
        lines += ["Left out, for a place that the other images do not show (x, y in px):", ""]
        lines += [*_places(calibration.left_out), ""]
    if calibration.hottest:
        lines += ["The highest scores, where a defect among them would most likely be (x, y in px):", ""]
        lines += _places(calibration.hottest)
    return "\n".join([*lines, ""])


def _places(images: Sequence[HotImage]) -> list[str]:
    return [f"- {found.image}: {found.x}, {found.y}" for found in images]


def _learning(made: dict[str, Any]) -> list[str]:
    """Rows about the training, and where there is a network about its export."""
    if "parity" not in made:
        return [f"| seconds to fit | {made['training_seconds']:g} |"]
    parity = made["parity"]
    return [
        f"| steps, seconds | {made['training_steps']}, {made['training_seconds']:g} |",
        f"| torch against ONNX Runtime | largest score difference {parity['largest_score_difference']:.2g}, "
        f"same {parity['regions_compared']} regions on {parity['tiles']} tiles |",
    ]
