"""Turns the checkpoint of a model without a network into a bundle: fitted numbers instead of an ONNX graph."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from flawmap.export.bundle import (
    CLASSICAL_MODEL,
    GOLDEN_SCORE,
    GOLDEN_TILES,
    BundleInfo,
    ImageInfo,
    NetworkInfo,
    NormalisationInfo,
    TileInfo,
    write_info,
)
from flawmap.export.bundle_seal import seal
from flawmap.export.model_card import CARD, model_card
from flawmap.export.new_bundle import UNNAMED, Written, alignment_info, image_sizes, new_bundle, write_reference
from flawmap.export.tile_size import choose_tile_size
from flawmap.tiling.classical.model_file import write_model
from flawmap.tiling.whole_file import write_text
from flawmap.training.classical import checkpoint as checkpoints
from flawmap.training.classical.checkpoint import ClassicalCheckpoint
from flawmap.training.classical.geometry import checked_overlap, receptive_field_of, stride_of


def write_classical_bundle(checkpoint_path: Path, out: Path) -> Written:
    """Writes the bundle folder `out`, not calibrated yet; UsageError as `write_bundle`."""
    checkpoint = checkpoints.load(checkpoint_path)
    with new_bundle(out) as folder:
        _fill(folder, checkpoint)
    return Written(None, checkpoint.split.calibrate, checkpoint.config.false_alarms)


def _fill(folder: Path, checkpoint: ClassicalCheckpoint) -> None:
    config, tiles = checkpoint.config, checkpoint.proof_tiles
    stride, overlap, border = stride_of(config), checked_overlap(config), config.tile.border
    sizes = image_sizes(checkpoint.split, config.image)
    info = BundleInfo(
        product=config.product or UNNAMED,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        flawmap_version=version("flawmap"),
        network=NetworkInfo(kind=config.network.kind, stride=stride, receptive_field=receptive_field_of(config)),
        tile=TileInfo(
            size=config.tile.size or choose_tile_size(sizes, overlap, stride, border),
            overlap=overlap,
            border=border,
            padding=config.tile.padding,
        ),
        image=ImageInfo.model_validate(
            {
                "channels": 1 if tiles.ndim == 3 else tiles.shape[3],
                "dtype": tiles.dtype.name,
                **config.image.model_dump(),
            }
        ),
        alignment=alignment_info(checkpoint.reference, config.alignment_slack),
        normalisation=NormalisationInfo(
            mean=list(checkpoint.normalisation.mean), std=list(checkpoint.normalisation.std)
        ),
        provenance={
            **checkpoint.provenance,
            "settings": config.model_dump(mode="json"),
            "held_out_to_calibrate": [path.name for path in checkpoint.split.calibrate],
        },
    )
    write_model(folder / CLASSICAL_MODEL, checkpoint.model)
    (folder / GOLDEN_TILES).parent.mkdir()
    np.save(folder / GOLDEN_TILES, tiles)
    inputs = [tiles]
    if checkpoint.reference is not None and checkpoint.proof_context is not None:
        write_reference(folder, checkpoint.reference, checkpoint.proof_context)
        inputs.append(checkpoint.proof_context)
    scores = [checkpoint.model.score(*golden)[0] for golden in zip(*inputs, strict=True)]
    np.save(folder / GOLDEN_SCORE, np.stack(scores))
    write_text(folder / CARD, model_card(info))
    write_info(folder, info)
    seal(folder)
