"""MODEL_CARD.md: what a bundle is, for the person who finds it on a line PC in three years."""

from flawmap.export.bundle import BundleInfo


def model_card(info: BundleInfo) -> str:
    """The card as Markdown, from the bundle's description alone."""
    made = info.provenance
    settings = made["settings"]
    kind = {
        "repair": "repair network with damage head, trained on synthetic damage of good tiles",
        "autoencoder": f"bottleneck autoencoder, latent size {settings['network']['latent_size']}",
    }[info.network.kind]
    colour = "mono" if info.image.channels == 1 else "RGB"
    lines = [
        f"# {info.product}: flawmap bundle",
        "",
        f"Made {info.created} by flawmap {info.flawmap_version} from good images only, without pretrained weights.",
        "",
        "| | |",
        "|---|---|",
        f"| model | {kind} |",
        f"| channels a level | {', '.join(map(str, settings['network']['channels']))} |",
        f"| images it takes | {colour} {info.image.dtype} |",
        f"| tile | {info.tile.size} px, overlap {info.tile.overlap} px, reflected border {info.tile.border} px |",
        f"| good images learned from | {made['images_trained_on']} |",
        f"| held out to standardise scores | {made['images_standardised_on']} |",
        f"| held out to calibrate | {made['images_held_out_to_calibrate']} |",
        f"| steps, seconds | {made['training_steps']}, {made['training_seconds']:g} |",
        f"| torch against ONNX Runtime | largest score difference {made['parity']['largest_score_difference']:.2g}, "
        f"same {made['parity']['regions_compared']} regions on {made['parity']['tiles']} tiles |",
        "",
        "**Use.** `flawmap inspect FOLDER -m BUNDLE -o RUN_DIR`, for the product, camera, optics and light it was",
        "trained on.",
        "",
        "**Not for.** Another product or camera; a part whose layout matters (a missing hole looks good to a model",
        "that only knows texture); decisions about people's safety without a person.",
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
    return "\n".join(lines)
