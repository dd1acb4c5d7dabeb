"""Fits a model without a network on good images: from files to a checkpoint that `export` makes a bundle of."""

import time
from collections.abc import Callable
from pathlib import Path

from flawmap.tiling.classical.model_file import ClassicalModel
from flawmap.tiling.look_map import EVERYWHERE, WhereToLook
from flawmap.training.alignment import align
from flawmap.training.checkpoint import PROOF_SIZE, cut_proof_tiles
from flawmap.training.classical.checkpoint import SUFFIX, ClassicalCheckpoint, save
from flawmap.training.classical.geometry import checked_overlap, stride_of
from flawmap.training.classical.hog_fit import fit_hog
from flawmap.training.classical.median_fit import fit_median
from flawmap.training.classical.template_fit import fit_template
from flawmap.training.config import TrainConfig
from flawmap.training.counting import count
from flawmap.training.good_images import measure_normalisation
from flawmap.training.read_split import as_read, read_split
from flawmap.training.split import split_images


def train_classical(
    paths: list[Path],
    config: TrainConfig,
    work: Path,
    *,
    report: Callable[[float, str], None],
    where: WhereToLook = EVERYWHERE,
) -> Path:
    """Fits `config.network.kind` (of `MODELS`) on the good images `paths`; returns the checkpoint in `work`.

    Nothing is learned from pixels that do not count by `where`.

    Raises:
        UsageError: too few images, images that differ, tile settings or labels that do not fit, no scikit-learn, no
            aligned product for a template.
        ImageError: a good image cannot be read, or registered for a template.
    """
    started = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    split = split_images(paths, config.split, config.learning.seed)
    stride = stride_of(config)
    checked_overlap(config)
    images, held_out = read_split(split, config, multiple=stride, border=config.tile.border, report=report, where=where)
    images, held_out = align(images, held_out, config, report)
    images, held_out = count(images, held_out, where, config.image)
    normalisation = measure_normalisation(images)
    report(0.3, f"fitting {config.network.kind}")
    if config.network.kind == "hog":
        model: ClassicalModel = fit_hog(images, held_out, config)
    elif config.network.kind == "template":
        model = fit_template(images, held_out, normalisation, config)
    else:
        model = fit_median(images, held_out, normalisation, config)
    smallest = min(n for image in held_out.padded for n in image.shape[:2])
    proof = cut_proof_tiles(held_out, min(PROOF_SIZE, smallest - smallest % stride))
    provenance = {
        "images_trained_on": images.n_pictures,
        "images_standardised_on": held_out.n_pictures,
        "images_held_out_to_calibrate": len(split.calibrate),
        "training_seconds": round(time.monotonic() - started, 1),
    }
    checkpoint = ClassicalCheckpoint(
        model=model,
        config=as_read(config, images),
        split=split,
        normalisation=normalisation,
        proof_tiles=proof.pixels,
        proof_context=proof.context,
        reference=images.reference,
        provenance=provenance,
    )
    save(work / f"model{SUFFIX}", checkpoint)
    report(1.0, "fitted")
    return work / f"model{SUFFIX}"
