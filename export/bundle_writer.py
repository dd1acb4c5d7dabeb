"""Turns a checkpoint into a bundle: export, parity gate, golden tiles, description, model card, seal."""

import shutil
import tempfile
from dataclasses import dataclass
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
    seal,
    write_info,
)
from flawmap.export.model_card import model_card
from flawmap.export.onnx_graph import write_onnx
from flawmap.export.parity import Parity, check_parity
from flawmap.export.tile_size import choose_tile_size
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image
from flawmap.tiling.whole_file import write_text
from flawmap.training import checkpoint as checkpoints
from flawmap.training.checkpoint import Checkpoint
from flawmap.training.tile_geometry import check_tile_settings, score_receptive_field, tile_overlap

MEASURED_IMAGES = 16  # looked at for their size


@dataclass(frozen=True)
class Written:
    """A bundle that still has to be calibrated, on the images that training held out for it."""

    parity: Parity
    held_out: list[Path]
    false_alarms: float


def write_bundle(checkpoint_path: Path, out: Path, *, batch_size: int | None = None) -> Written:
    """Writes the bundle folder `out`, which appears whole or not at all; one that stood there is replaced.

    The bundle is not calibrated yet: `flawmap.inspect.calibrate` does that with the pipeline that inspects.

    Raises:
        UsageError: the checkpoint is none, the tile settings do not fit the network, `out` is something else than a
        bundle.
        ParityError: ONNX Runtime does not agree with torch; nothing is written.
    """
    checkpoint = checkpoints.load(checkpoint_path)
    if out.exists() and not (out / "bundle.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"`--output` (={out}) is there and is not a bundle: give another name")
    tile = tile_info(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name[:40]}-", dir=out.parent))
    replaced = folder.with_name(f"{folder.name}-replaced")
    try:
        folder.chmod(0o755)
        parity = _fill(folder, checkpoint, tile, batch_size)
        if out.exists():
            out.rename(replaced)  # out of the way in one step: a kill leaves the old bundle or the new one, never half
        folder.rename(out)
    finally:
        for leftover in (folder, replaced):
            shutil.rmtree(leftover, ignore_errors=True)
    return Written(parity, checkpoint.split.calibrate, checkpoint.config.false_alarms)


def tile_info(checkpoint: Checkpoint) -> TileInfo:
    """How the line cuts images: from the settings where they say, else what wastes least on the images trained on."""
    config, network = checkpoint.config, checkpoint.model.network
    check_tile_settings(config, network)
    overlap = tile_overlap(config, network)
    if not checkpoint.model.has_head:
        return TileInfo(size=config.tile.train_size, overlap=overlap, border=0)
    border = config.tile.border
    size = config.tile.size or choose_tile_size(_image_sizes(checkpoint), overlap, network.stride, border)
    return TileInfo(size=size, overlap=overlap, border=border)


def _image_sizes(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Heights and widths of a few good images that are still where training found them."""
    paths = [p for p in checkpoint.split.calibrate + checkpoint.split.train if p.is_file()][:MEASURED_IMAGES]
    return [read_image(path).shape[:2] for path in paths]


def _fill(folder: Path, checkpoint: Checkpoint, tile: TileInfo, batch_size: int | None) -> Parity:
    model, config = checkpoint.model, checkpoint.config
    info = BundleInfo(
        product=config.product,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        flawmap_version=version("flawmap"),
        network=NetworkInfo(
            kind=config.network.kind, stride=model.network.stride, receptive_field=score_receptive_field(model.network)
        ),
        tile=tile,
        image=ImageInfo.model_validate({"channels": checkpoint.n_channels, "dtype": checkpoint.dtype.name}),
        normalisation=NormalisationInfo(mean=model.mean.flatten().tolist(), std=model.std.flatten().tolist()),
        provenance={
            **checkpoint.provenance,
            "settings": config.model_dump(mode="json"),
            "held_out_to_calibrate": [path.name for path in checkpoint.split.calibrate],
        },
    )
    write_onnx(
        checkpoint,
        folder / MODEL,
        batch_size=batch_size,
        metadata={"flawmap": info.flawmap_version, "product": info.product, "network": info.network.model_dump()},
    )
    parity = check_parity(model, folder / MODEL, checkpoint.proof_tiles)
    info.provenance["parity"] = {
        "largest_score_difference": parity.largest_difference,
        "regions_compared": parity.n_regions,
        "tiles": len(checkpoint.proof_tiles),
    }
    (folder / GOLDEN_TILES).parent.mkdir()
    np.save(folder / GOLDEN_TILES, checkpoint.proof_tiles)
    np.save(folder / GOLDEN_SCORE, parity.score)
    for name in ("training.csv", "training.png"):
        if (checkpoint.folder / name).is_file():
            shutil.copyfile(checkpoint.folder / name, folder / name)
    write_text(folder / "MODEL_CARD.md", model_card(info))
    write_info(folder, info)
    seal(folder)
    return parity
