"""The form of the network that is exported gives the heatmap that the trained one gives, to the last tile edge."""

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from flawmap.export.bundle import TileInfo, read_bundle
from flawmap.export.bundle_writer import write_bundle
from flawmap.export.inference_form import InferenceForm, edge_reach, keeps_its_score, phase_filter
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.training import checkpoint as checkpoints
from flawmap.training.config import TrainConfig
from flawmap.training.good_images import Normalisation
from flawmap.training.repair_network import RepairNetwork
from flawmap.training.scoring import ScoringModel
from flawmap.training.standardisation import Standardisation
from flawmap.training.template_band import TemplateBand
from flawmap.training.tile_geometry import score_receptive_field
from tests.products import draw_good, tiny_config, untrained_model, write_untrained

SMALL = {"channels": [6, 10]}  # of two levels: what its tile's edge reaches is 26 px
WIDE = tiny_config(network=SMALL, tile={"border": 28})


def reach_of(model: ScoringModel) -> int:
    assert isinstance(model.network, RepairNetwork)
    return edge_reach(model.network)


def loud(model: ScoringModel) -> ScoringModel:
    """With weights so large that what an edge changes is seen as far as it reaches."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data *= 3
    return model


@torch.no_grad()
def both(model: ScoringModel, pixels: np.ndarray) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    tiles = torch.from_numpy(pixels)
    return model(tiles), InferenceForm(model)(tiles)


@pytest.mark.parametrize(("channels", "dtype"), list(product((1, 3), ("uint8", "uint16", "float32"))))
@pytest.mark.parametrize("levels", [[6, 10], [4, 6, 8]])
def test_the_score_is_the_trained_models(channels: int, dtype: str, levels: list[int]) -> None:
    model = untrained_model(tiny_config(network={"channels": levels}), channels=channels, dtype=dtype)
    pixels = np.stack([draw_good(128, 160, channels=channels, dtype=dtype, seed=s) for s in (1, 2)])
    pixels[0, 60:65, 70:75] = pixels.max()
    (score, restored), (found, found_restored) = both(model, pixels)
    reach = reach_of(model)
    inner = (slice(None), slice(reach, -reach), slice(reach, -reach))
    np.testing.assert_allclose(found[inner], score[inner], rtol=1e-5, atol=1e-5)
    assert found.shape == score.shape and found_restored.shape == restored.shape and found_restored.dtype == model.dtype
    step = 1 if dtype != "float32" else 1e-5
    np.testing.assert_allclose(found_restored[inner].double(), restored[inner].double(), atol=step)


@pytest.mark.parametrize("band", [None, TemplateBand(2, 0.1)], ids=["two kinds of evidence", "three"])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint16"), (1, "float32")])
def test_of_an_aligned_product_too(channels: int, dtype: str, band: TemplateBand | None) -> None:
    plain = untrained_model(tiny_config(network=SMALL), channels=channels, dtype=dtype)
    normalisation = Normalisation(tuple(plain.mean.flatten().tolist()), tuple(plain.std.flatten().tolist()))
    network = RepairNetwork(channels, (6, 10), channels + 1)
    lines = ((0.1, 0.2, 0.4), (0.5, 0.7, 0.9), (0.6, 2.5, 8.0), (-0.4, -1.0, 0.3))
    standardisation = Standardisation(*(values[: 2 if band is None else 3] for values in lines))
    model = ScoringModel(network, normalisation, standardisation, np.dtype(dtype), template=band).eval()
    tiles = torch.from_numpy(draw_good(128, 128, channels=channels, dtype=dtype, seed=1)[None])
    context = torch.from_numpy(draw_good(128, 128, channels=3, dtype=dtype, seed=2)[None])
    context = torch.cat([context, context], dim=3)[..., : channels + 1]
    with torch.no_grad():
        (score, restored), (found, found_restored) = model(tiles, context), InferenceForm(model)(tiles, context)
    reach = reach_of(model)
    inner = (slice(None), slice(reach, -reach), slice(reach, -reach))
    np.testing.assert_allclose(found[inner], score[inner], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found_restored[inner].double(), restored[inner].double(), atol=1)


@pytest.mark.parametrize("levels", [[6, 10], [4, 6, 8]])
def test_an_edge_reaches_so_far_and_no_farther(levels: list[int]) -> None:
    model = loud(untrained_model(tiny_config(network={"channels": levels})))
    (score, _), (found, _) = both(model, draw_good(128, 128, seed=3)[None])
    difference = (score - found).abs()[0]
    reach = reach_of(model)
    scale = float(score.abs().max())
    assert difference[reach:-reach, reach:-reach].max() < 1e-5 * scale
    ring = difference[reach - 4 : -reach + 4, reach - 4 : -reach + 4]
    assert ring.max() > 1e-4 * scale  # four px nearer it is felt
    assert 2 * reach <= score_receptive_field(model.network)  # so that the overlap is always enough


@given(st.integers(1, 5), st.lists(st.floats(-1, 1), min_size=1, max_size=5), st.integers(0, 1))
def test_a_filter_of_phases_is_the_filter_of_the_image(blocks: int, half: list[float], axis: int) -> None:
    taps = torch.tensor(half[:0:-1] + half, dtype=torch.float32)
    size = 4 * blocks + 12
    image = torch.from_numpy(np.random.default_rng(blocks).standard_normal((1, 1, size, size + 2)).astype(np.float32))
    kernel = taps.view(1, 1, -1, 1) if axis == 0 else taps.view(1, 1, 1, -1)
    expected = torch.nn.functional.conv2d(image, kernel, padding=(kernel.shape[2] // 2, kernel.shape[3] // 2))
    weight = phase_filter(taps, axis)
    padding = weight.shape[2] // 2, weight.shape[3] // 2
    phases = torch.nn.functional.conv2d(torch.nn.functional.pixel_unshuffle(image, 2), weight, padding=padding)
    np.testing.assert_allclose(torch.nn.functional.pixel_shuffle(phases, 2), expected, atol=1e-5)


def test_a_border_too_narrow_leaves_the_model_as_it_was_trained(tmp_path: Path) -> None:
    model = untrained_model(WIDE)
    reach = reach_of(model)
    enough = TileInfo(size=128, overlap=2 * reach, border=reach)
    assert keeps_its_score(model, enough, proof_size=128)
    assert not keeps_its_score(model, enough, proof_size=2 * reach)
    assert not keeps_its_score(model, enough.model_copy(update={"border": reach - 1}), 128)
    assert not keeps_its_score(model, enough.model_copy(update={"overlap": 2 * reach - 1}), 128)
    autoencoder = untrained_model(tiny_config(network={"kind": "autoencoder", "latent_size": None}))
    assert not keeps_its_score(autoencoder, enough, 128)
    narrow = tiny_config(network=SMALL, tile={"border": 16})
    write_bundle(write_untrained(tmp_path, narrow, tile=128), tmp_path / "bundle")
    assert "Pad" in operators(tmp_path / "bundle")
    assert read_bundle(tmp_path / "bundle").info.provenance["form"] == "as trained"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_heatmap_of_a_bundle_is_the_trained_models(tmp_path: Path, channels: int) -> None:
    """Through grid, ONNX Runtime and stitcher, to the image's very corner, against torch on the whole image at once."""
    checkpoint = write_untrained(tmp_path, WIDE, channels=channels, tile=128)
    write_bundle(checkpoint, tmp_path / "bundle")
    assert not {"Pad", "BatchNormalization"} & set(operators(tmp_path / "bundle"))
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.info.provenance["form"] == "for inference"
    image = draw_good(150, 170, channels=channels, seed=5)
    image[:3, :4] = 255  # a defect in the corner
    found, _ = Pipeline(bundle, TileScorer(bundle, "cpu", threads=1)).heatmap(image)
    border = bundle.info.tile.border  # a multiple of the stride, as the grid's tiles are
    widths = ((border, border + 2), (border, border + 6), *([(0, 0)] if channels > 1 else []))
    padded = np.pad(image, widths, mode="edge")
    with torch.no_grad():
        score, _ = checkpoints.load(checkpoint).model(torch.from_numpy(padded[None]))
    expected = score[0, border : border + 150, border : border + 170]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def operators(bundle: Path) -> list[str]:
    return [node.op_type for node in onnx.load(bundle / "model.onnx").graph.node]


def test_the_default_settings_are_exported_for_inference() -> None:
    config = TrainConfig()
    model = untrained_model(config)
    tile = TileInfo(size=1024, overlap=score_receptive_field(model.network), border=config.tile.border)
    assert keeps_its_score(model, tile, checkpoints.PROOF_SIZE)
