"""A bundle of the default network with weights that nobody trained."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.untrained import MEAN, STD, write_untrained_model
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
from flawmap.export.tile_size import choose_tile_size
from flawmap.sample_data.dataset import Product
from flawmap.training.config import TrainConfig
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.scoring import build_network
from flawmap.training.tile_geometry import score_receptive_field, tile_overlap


def write_untrained_bundle(folder: Path, size: int) -> None:
    """A bundle for images of `size` x `size` px, mono, 8 bits; not calibrated yet."""
    (folder / GOLDEN_TILES).parent.mkdir(parents=True)
    write_untrained_model(folder / MODEL)
    config = TrainConfig()
    network = build_network(config, 1)
    assert isinstance(network, RepairNetwork)
    overlap, border = tile_overlap(config, network), config.tile.border
    tile = choose_tile_size([(size, size)], overlap, network.stride, border)
    golden = Product("metal", (256, 256)).good(1)[None]
    session = onnxruntime.InferenceSession(str(folder / MODEL), providers=["CPUExecutionProvider"])
    np.save(folder / GOLDEN_TILES, golden)
    np.save(folder / GOLDEN_SCORE, session.run(["score"], {"tiles": golden})[0])
    info = BundleInfo(
        product="untrained",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        flawmap_version=version("flawmap"),
        network=NetworkInfo(
            kind=config.network.kind, stride=network.stride, receptive_field=score_receptive_field(network)
        ),
        tile=TileInfo(size=tile, overlap=overlap, border=border, padding=config.tile.padding),
        image=ImageInfo(channels=1, dtype="uint8"),
        normalisation=NormalisationInfo(mean=[MEAN], std=[STD]),
    )
    write_info(folder, info)
    seal(folder)
