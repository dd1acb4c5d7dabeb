"""Turns a checkpoint into a bundle: export, parity gate, golden tiles, description, model card, seal."""

import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np

from flawmap.export.bundle import (
    GOLDEN_SCORE,
    GOLDEN_TILES,
    MODEL,
    BundleInfo,
    ImageInfo,
    NetworkInfo,
    NormalisationInfo,
    TileInfo,
    write_info,
)
from flawmap.export.bundle_seal import seal
from flawmap.export.classical_bundle import write_classical_bundle
from flawmap.export.inference_form import InferenceForm, edge_reach, keeps_its_score
from flawmap.export.model_card import CARD, model_card
from flawmap.export.new_bundle import UNNAMED, Written, alignment_info, image_sizes, new_bundle, write_reference
from flawmap.export.onnx_graph import write_onnx
from flawmap.export.parity import Parity, check_parity
from flawmap.export.tile_size import choose_tile_size
from flawmap.tiling.whole_file import write_text
from flawmap.training import checkpoint as checkpoints
from flawmap.training.autoencoder import BottleneckAutoencoder
from flawmap.training.checkpoint import Checkpoint
from flawmap.training.classical.checkpoint import SUFFIX as CLASSICAL_SUFFIX
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.suspicious import DOUBTFUL_PICTURE, DOUBTFUL_TABLE
from flawmap.training.suspicious import PICTURE as SUSPICIOUS_PICTURE
from flawmap.training.suspicious import TABLE as SUSPICIOUS_TABLE
from flawmap.training.tile_geometry import check_tile_settings, score_receptive_field, tile_overlap


def write_bundle(checkpoint_path: Path, out: Path, *, batch_size: int | None = None) -> Written:
    """Writes the bundle folder `out`, which appears whole or not at all; one that stood there is replaced.

    The bundle is not calibrated yet: `flawmap.inspect.calibration.calibrate` does that with the pipeline that inspects.

    Raises:
        UsageError: the checkpoint is none, the tile settings do not fit the network, `out` is something else than a
        bundle.
        ParityError: ONNX Runtime does not agree with torch; nothing is written.
    """
    if checkpoint_path.suffix == CLASSICAL_SUFFIX:
        return write_classical_bundle(checkpoint_path, out)
    checkpoint = checkpoints.load(checkpoint_path)
    tile = tile_info(checkpoint)
    with new_bundle(out) as folder:
        parity = _fill(folder, checkpoint, tile, batch_size)
    return Written(parity, checkpoint.split.calibrate, checkpoint.config.false_alarms)


def tile_info(checkpoint: Checkpoint) -> TileInfo:
    """How the line cuts images: from the settings where they say, else what wastes least on the images trained on."""
    config, network = checkpoint.config, checkpoint.model.network
    check_tile_settings(config, network)
    overlap = tile_overlap(config, network)
    if isinstance(network, BottleneckAutoencoder):
        return TileInfo(size=config.tile.train_size, overlap=overlap, border=0, padding=config.tile.padding)
    border = config.tile.border
    sizes = image_sizes(checkpoint.split, config.image)
    size = config.tile.size or choose_tile_size(sizes, overlap, network.stride, border)
    return TileInfo(size=size, overlap=overlap, border=border, padding=config.tile.padding)


def _fill(folder: Path, checkpoint: Checkpoint, tile: TileInfo, batch_size: int | None) -> Parity:
    model, config = checkpoint.model, checkpoint.config
    info = BundleInfo(
        product=config.product or UNNAMED,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        flawmap_version=version("flawmap"),
        network=NetworkInfo(
            kind=config.network.kind, stride=model.network.stride, receptive_field=score_receptive_field(model.network)
        ),
        tile=tile,
        image=ImageInfo.model_validate(
            {
                "channels": checkpoint.n_channels,
                "dtype": checkpoint.dtype.name,
                **config.image.model_dump(),
            }
        ),
        alignment=alignment_info(checkpoint.reference, config.alignment_slack),
        normalisation=NormalisationInfo(mean=model.mean.flatten().tolist(), std=model.std.flatten().tolist()),
        provenance={
            **checkpoint.provenance,
            "settings": config.model_dump(mode="json"),
            "held_out_to_calibrate": [path.name for path in checkpoint.split.calibrate],
        },
    )
    fast = keeps_its_score(model, tile, checkpoint.proof_tiles.shape[1])
    write_onnx(
        checkpoint,
        folder / MODEL,
        batch_size=batch_size,
        metadata={"flawmap": info.flawmap_version, "product": info.product, "network": info.network.model_dump()},
        form=InferenceForm(model) if fast else None,
    )
    margin = edge_reach(model.network) if fast and isinstance(model.network, RepairNetwork) else 0
    parity = check_parity(model, folder / MODEL, checkpoint.proof_tiles, checkpoint.proof_context, margin=margin)
    info.provenance["form"] = "for inference" if fast else "as trained"
    info.provenance["parity"] = {
        "largest_score_difference": parity.largest_difference,
        "regions_compared": parity.n_regions,
        "tiles": len(checkpoint.proof_tiles),
    }
    (folder / GOLDEN_TILES).parent.mkdir()
    np.save(folder / GOLDEN_TILES, checkpoint.proof_tiles)
    np.save(folder / GOLDEN_SCORE, parity.score)
    if checkpoint.reference is not None and checkpoint.proof_context is not None:
        write_reference(folder, checkpoint.reference, checkpoint.proof_context)
    shown = SUSPICIOUS_TABLE, SUSPICIOUS_PICTURE, DOUBTFUL_TABLE, DOUBTFUL_PICTURE
    for name in ("training.csv", "training.png", *shown):
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, folder / name)
    write_text(folder / CARD, model_card(info))
    write_info(folder, info)
    seal(folder)
    return parity
