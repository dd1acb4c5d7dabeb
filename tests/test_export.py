"""Checkpoint in, bundle out: the graph says what torch says, or the gate refuses it; nothing half-made stays."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper

from flawmap.export import bundle_writer
from flawmap.export.bundle import BundleInfo, read_bundle
from flawmap.export.bundle_writer import tile_info, write_bundle
from flawmap.export.model_card import model_card
from flawmap.export.parity import MARGIN, REGION_LEVEL, TOLERANCE, ParityError, check_parity, clear_level, compare
from flawmap.export.tile_size import LARGEST, PIXELS_PER_CALL, SMALLEST, choose_tile_size
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import UsageError
from flawmap.tiling.grid import TileGrid
from flawmap.tiling.images import read_image
from flawmap.training import checkpoint as checkpoints
from flawmap.training.checkpoint import Checkpoint
from tests.products import draw_good, tiny_config, trained, write_untrained

AUTOENCODER = tiny_config(network={"kind": "autoencoder", "latent_size": 8}, tile={"border": 0})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the trained mono uint8 model, any batch."""
    folder = tmp_path_factory.mktemp("export") / "ribs"
    write_bundle(trained()[0], folder)
    return folder


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an RGB uint16 model, batches of two."""
    folder = tmp_path_factory.mktemp("fixed")
    write_bundle(write_untrained(folder, tiny_config(), channels=3, dtype="uint16"), folder / "b", batch_size=2)
    return folder / "b"


@pytest.fixture(scope="module")
def autoencoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an autoencoder for float32 images."""
    folder = tmp_path_factory.mktemp("autoencoder")
    write_bundle(write_untrained(folder, AUTOENCODER, dtype="float32"), folder / "b")
    return folder / "b"


def session(bundle: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(bundle / "model.onnx"), options, providers=["CPUExecutionProvider"])


def both(bundle: Path, checkpoint: Path, tiles: NDArray[Any]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """(score, reconstruction) of ONNX Runtime and of torch."""
    with torch.no_grad():
        expected = [output.numpy() for output in checkpoints.load(checkpoint).model(torch.from_numpy(tiles))]
    return session(bundle).run(["score", "reconstruction"], {"tiles": tiles}), expected


def assert_alike(found: list[NDArray[Any]], expected: list[NDArray[Any]]) -> None:
    np.testing.assert_allclose(found[0], expected[0], rtol=TOLERANCE, atol=TOLERANCE)
    assert found[0].dtype == np.float32
    assert found[1].dtype == expected[1].dtype
    step = 1 if expected[1].dtype.kind == "u" else 1e-4
    np.testing.assert_allclose(found[1].astype(float), expected[1].astype(float), atol=step)


@pytest.mark.parametrize("shape", [(1, 64, 64), (2, 128, 96), (5, 32, 40), (1, 260, 64)])
def test_onnx_runtime_says_what_torch_says(bundle: Path, shape: tuple[int, int, int]) -> None:
    tiles = np.stack([draw_good(*shape[1:], seed=s) for s in range(shape[0])])
    tiles[0, 10:15, 10:15] = 255
    found, expected = both(bundle, trained()[0], tiles)
    assert found[0].shape == shape
    assert_alike(found, expected)


@pytest.mark.parametrize("side", [64, 96])
def test_a_fixed_batch_of_rgb_uint16(fixed: Path, side: int) -> None:
    tiles = np.stack([draw_good(side, side, channels=3, dtype="uint16", seed=s) for s in range(2)])
    assert_alike(*both(fixed, fixed.parent / "model.ckpt", tiles))
    assert session(fixed).get_inputs()[0].shape[0] == 2
    with pytest.raises(Exception, match=r"Got: 1 Expected: 2"):
        session(fixed).run(None, {"tiles": tiles[:1]})


@pytest.mark.parametrize("count", [1, 3])
def test_an_autoencoder_of_float32(autoencoder: Path, count: int) -> None:
    tiles = np.stack([draw_good(64, 64, dtype="float32", seed=s) for s in range(count)])
    assert_alike(*both(autoencoder, autoencoder.parent / "model.ckpt", tiles))
    assert session(autoencoder).get_inputs()[0].shape[1:] == [64, 64]


def test_the_model_is_one_file_that_says_what_it_is(bundle: Path) -> None:
    names = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert names == {
        "model.onnx", "bundle.json", "golden/tiles.npy", "golden/score.npy", "training.csv", "training.png",
        "MODEL_CARD.md", "SHA256SUMS",
    }  # fmt: skip
    model = onnx.load(bundle / "model.onnx", load_external_data=False)
    assert not any(onnx.external_data_helper.uses_external_data(t) for t in model.graph.initializer)
    metadata = {prop.key: prop.value for prop in model.metadata_props}
    assert metadata["product"] == "ribs"
    assert metadata["flawmap"] == read_bundle(bundle).info.flawmap_version
    assert json.loads(metadata["network"]) == {"kind": "repair", "stride": 4, "receptive_field": 48}


@pytest.mark.parametrize("which", ["bundle", "fixed", "autoencoder"])
def test_every_bundle_reads_back_and_passes_its_self_test(which: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(which)
    read = read_bundle(folder)
    scorer = TileScorer(read, "cpu", threads=1)  # scores the golden tiles, or raises
    assert scorer.device == "cpu"
    assert read.info.calibration is None
    assert subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, capture_output=True).returncode == 0
    assert not list(folder.parent.glob(".*"))  # no half-made folder
    golden = np.load(folder / "golden" / "score.npy")
    assert golden.shape == np.load(folder / "golden" / "tiles.npy").shape[:3]


def test_the_bundle_describes_its_training(bundle: Path) -> None:
    info = read_bundle(bundle).info
    assert (info.product, info.image.channels, info.image.dtype) == ("ribs", 1, "uint8")
    assert (info.tile.border, info.tile.padding) == (16, "replicate")
    assert info.provenance["settings"] == trained()[2].model_dump(mode="json")
    assert info.provenance["training_steps"] == 60
    assert len(info.provenance["held_out_to_calibrate"]) == 2
    assert info.provenance["parity"]["largest_score_difference"] < TOLERANCE * 10
    assert info.provenance["parity"]["tiles"] == checkpoints.PROOF_TILES


def test_the_model_card_says_what_matters(bundle: Path, fixed: Path, autoencoder: Path) -> None:
    info = read_bundle(bundle).info
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == model_card(info)
    for words in (
        "# ribs: flawmap bundle", "without pretrained weights", "| images it takes | mono uint8 |",
        "| good images learned from | 5 |", "| held out to calibrate | 2 |", "| steps, seconds | 60,",
        "whose layout matters",
        "**Limits.**", f"| tile | {info.tile.size} px, overlap {info.tile.overlap} px, border 16 px ",
        "(its last pixel repeated) |",
        f"same {info.provenance['parity']['regions_compared']} regions on 4 tiles",
    ):  # fmt: skip
        assert words in card
    assert "| images it takes | RGB uint16 |" in (fixed / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "bottleneck autoencoder, latent size 8" in (autoencoder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_bundle_inspects_and_tiles_agree(bundle: Path, tmp_path: Path) -> None:
    """Through the pipeline that the line runs: any tile size gives the heatmap of another."""
    copy = Path(shutil.copytree(bundle, tmp_path / "bundle"))
    calibrated = calibrate_bundle(copy, trained()[1][:4], 0.1, device="cpu")
    read = read_bundle(copy)
    scorer = TileScorer(read, "cpu", batch_size=1, threads=1)
    image = draw_good(300, 330, seed=99)
    image[150:156, 150:156] = 255
    inspection = Pipeline(read, scorer, Thresholds.of(calibrated, 0.1)).inspect(image)
    assert inspection.heatmap.shape == image.shape
    assert float(inspection.heatmap[148:158, 148:158].max()) == inspection.heatmap.max()
    tile = read.info.tile.model_copy(update={"size": 160})
    other = replace(read, info=read.info.model_copy(update={"tile": tile}))
    again, _ = Pipeline(other, TileScorer(other, "cpu", batch_size=2, threads=1)).heatmap(image)
    np.testing.assert_allclose(again[16:-16, 16:-16], inspection.heatmap[16:-16, 16:-16], atol=1e-4)


# The gate


def answers(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    score = rng.standard_normal((2, 40, 40)).astype(np.float32) * 0.3
    score[:, 10:14, 10:14] = 4.0
    return score, rng.integers(0, 255, (2, 40, 40)).astype(np.uint8)


def test_the_gate_passes_what_differs_by_rounding() -> None:
    score, picture = answers()
    exported = score + np.float32(TOLERANCE / 4) * np.sign(score)
    other = np.where(picture > 100, picture + 1, picture).astype(np.uint8)
    parity = compare(score, exported, picture, other)
    assert parity.n_regions == 2
    assert parity.largest_difference == pytest.approx(TOLERANCE / 4, rel=0.01)
    assert parity.score is exported


@pytest.mark.parametrize("wrong", [0.01, -0.5, np.nan, np.inf, -np.inf])
def test_the_gate_refuses_another_score(wrong: float) -> None:
    score, picture = answers()
    exported = score.copy()
    exported[1, 30, 30] += wrong
    with pytest.raises(
        ParityError, match=r"differs from the trained one: largest score difference .*at most 0\.003 is allowed"
    ):
        compare(score, exported, picture, picture)


def test_the_gate_measures_large_scores_relatively() -> None:
    score, picture = answers()
    compare(score * 1000, score * 1000 * np.float32(1 + TOLERANCE / 4), picture, picture)
    with pytest.raises(ParityError, match="differs"):
        compare(score * 1000, score * 1000 * np.float32(1 + TOLERANCE * 4), picture, picture)


def test_the_gate_refuses_another_reconstruction() -> None:
    score, picture = answers()
    other = picture.copy()
    other[0, 0, 0] += 2 if other[0, 0, 0] < 200 else -2
    with pytest.raises(ParityError, match="reconstructs differently: by 2, at most 1 is allowed"):
        compare(score, score, picture, other)
    real = picture.astype(np.float32) / 255
    changed = real.copy()
    changed[0, 0, 0] += 0.01
    compare(score, score, real, real + np.float32(1e-5))
    with pytest.raises(ParityError, match=r"reconstructs differently: by 0\.01"):
        compare(score, score, real, changed)
    changed[0, 0, 0] = np.nan
    with pytest.raises(ParityError, match="reconstructs differently: by nan"):
        compare(score, score, real, changed)


def test_the_gate_refuses_other_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the tolerance scores cannot cross the clear level: only a wider tolerance lets this check speak."""
    monkeypatch.setattr("flawmap.export.parity.TOLERANCE", 100.0)
    score, picture = answers()
    exported = score.copy()
    exported[0, 30, 30] = 9.0
    with pytest.raises(ParityError, match="finds other regions: 2 instead of 1; no bundle was written"):
        compare(score, exported, picture, picture)


@settings(max_examples=100)
@given(seed=st.integers(0, 10**6), spread=st.floats(0.01, 20), count=st.integers(1, 400))
def test_no_score_comes_near_the_clear_level(seed: int, spread: float, count: int) -> None:
    score = (np.random.default_rng(seed).random((1, count)) * spread).astype(np.float32)
    level = clear_level(score)
    assert level >= REGION_LEVEL - 1e-9
    assert np.abs(score - level).min() >= MARGIN * 0.999


def tampered(bundle: Path, path: Path, change: float) -> Path:
    """The same graph with one weight in its middle changed."""
    model = onnx.load(bundle / "model.onnx")
    weight = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    values = numpy_helper.to_array(weight).copy()
    values.flat[values.size // 2] += np.float32(change)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("change", [0.5, np.nan])
def test_the_gate_refuses_a_tampered_graph(bundle: Path, tmp_path: Path, change: float) -> None:
    loaded = checkpoints.load(trained()[0])
    assert check_parity(loaded.model, bundle / "model.onnx", loaded.proof_tiles).n_regions >= 2
    with pytest.raises(ParityError, match="differs from the trained one"):
        check_parity(loaded.model, tampered(bundle, tmp_path / "bad.onnx", change), loaded.proof_tiles)


def test_nothing_is_written_when_the_gate_refuses(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter is made to give a graph that is a little wrong; the bundle that stood there stays."""
    old = Path(shutil.copytree(bundle, tmp_path / "old"))
    digest = read_bundle(old).digest
    monkeypatch.setattr(bundle_writer, "write_onnx", lambda checkpoint, path, **options: tampered(bundle, path, 0.5))
    for out in (tmp_path / "new", old):
        with pytest.raises(ParityError, match="no bundle was written") as refused:
            write_bundle(trained()[0], out)
        assert refused.value.exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old"]
    assert read_bundle(old).digest == digest


# Where bundles go


@pytest.fixture
def quick(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph of `bundle` again, without tracing it once more."""
    monkeypatch.setattr(
        bundle_writer, "write_onnx", lambda checkpoint, path, **options: shutil.copyfile(bundle / "model.onnx", path)
    )


def test_an_output_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        with pytest.raises(
            UsageError, match=rf"`--output` \(=.*{name}\) is there and is not a bundle: give another name"
        ):
            write_bundle(trained()[0], tmp_path / name)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.usefixtures("quick")
def test_an_old_bundle_is_replaced_and_an_empty_folder_filled(bundle: Path, tmp_path: Path) -> None:
    old = Path(shutil.copytree(bundle, tmp_path / "old"))
    (old / "leftover.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    for out in (old, tmp_path / "empty", tmp_path / "deep" / "er" / "new"):
        written = write_bundle(trained()[0], out)
        assert read_bundle(out).info.product == "ribs"
        assert written.held_out == checkpoints.load(trained()[0]).split.calibrate
        assert written.false_alarms == 0.1
    assert not (old / "leftover.txt").exists()
    assert (old.stat().st_mode & 0o777) == 0o755


@pytest.mark.usefixtures("quick")
def test_images_that_are_gone_do_not_stop_an_export(tmp_path: Path) -> None:
    loaded = checkpoints.load(trained()[0])
    assert tile_info(replace(loaded, split=type(loaded.split)([], [], [tmp_path / "gone.png"]))).size == 1024


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file"):
        write_bundle(tmp_path / "none.ckpt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


# Tiles


def with_tile(**tile: Any) -> Checkpoint:
    loaded = checkpoints.load(trained()[0])
    return replace(loaded, config=tiny_config(tile=tile))


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        (
            {"overlap": 44},
            r"`tile\.overlap` \(=44\) must be at least the network's receptive field \(=48\): tiles would dis",
        ),
        ({"overlap": 90}, r"`tile\.overlap` \(=90\) must be a multiple of the network's stride \(=4\)"),
        ({"size": 202}, r"`tile\.size` \(=202\) must be a multiple of the network's stride \(=4\)"),
        ({"border": 18}, r"`tile\.border` \(=18\) must be a multiple of the network's stride \(=4\)"),
        ({"size": 48}, r"`tile\.overlap` \(=48\) must be smaller than `tile\.size` \(=48\)"),
        ({"size": 128, "overlap": 128}, r"`tile\.overlap` \(=128\) must be smaller than `tile\.size` \(=128\)"),
    ],
)
def test_tiles_that_do_not_fit_the_network(tile: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        tile_info(with_tile(**tile))


def test_tiles_as_configured() -> None:
    tile = tile_info(with_tile(size=200, overlap=100, border=8))
    assert (tile.size, tile.overlap, tile.border) == (200, 100, 8)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        ({"overlap": 18}, r"`tile\.overlap` \(=18\) must be a multiple of the network's stride \(=4\)"),
        ({"overlap": 64}, r"`tile\.overlap` \(=64\) must be smaller than `tile\.size` \(=64\)"),
        (
            {"size": 128},
            r"`tile\.size` \(=128\) must be `tile\.train_size` \(=64\): an autoencoder with a latent vector takes no",
        ),
    ],
)
def test_tiles_that_do_not_fit_the_autoencoder(autoencoder: Path, tile: dict[str, int], message: str) -> None:
    loaded = checkpoints.load(autoencoder.parent / "model.ckpt")
    settings = AUTOENCODER.model_copy(update={"tile": AUTOENCODER.tile.model_copy(update=tile)})
    with pytest.raises(UsageError, match=f"^{message}"):
        tile_info(replace(loaded, config=settings))
    default = tile_info(loaded)
    assert (default.size, default.overlap, default.border) == (64, 16, 0)


@pytest.mark.parametrize(
    ("sizes", "overlap", "stride", "border"),
    [
        ([(5120, 5120)], 200, 8, 48),
        ([(4096, 5120), (300, 200)], 200, 8, 48),
        ([(1, 1)], 88, 4, 16),
        ([(700, 2500)] * 3, 88, 4, 0),
        ([(2048, 2448)], 800, 16, 48),
    ],
)
def test_the_tile_size_is_the_cheapest(sizes: list[tuple[int, int]], overlap: int, stride: int, border: int) -> None:
    """Against every size there is, with the number of tiles by arithmetic of its own."""

    def per_axis(length: int, size: int) -> int:
        padded = max(-(-(length + 2 * border) // stride) * stride, size)
        return 1 + -(-(padded - size) // (size - overlap))

    def work(size: int) -> int:
        return sum(per_axis(h, size) * per_axis(w, size) * (size * size + PIXELS_PER_CALL) for h, w in sizes)

    chosen = choose_tile_size(sizes, overlap, stride, border)
    everything = range(-(-max(SMALLEST, 2 * overlap) // stride) * stride, max(LARGEST, 2 * overlap) + 1, stride)
    assert chosen in everything
    assert work(chosen) == min(map(work, everything))
    for h, w in sizes:
        assert len(TileGrid(h, w, chosen, overlap, multiple=stride, border=border)) >= 1


@pytest.mark.parametrize(
    ("overlap", "stride", "expected"), [(200, 8, 1024), (88, 48, 1008), (600, 16, 1200), (0, 1, 1024)]
)
def test_the_tile_size_without_images(overlap: int, stride: int, expected: int) -> None:
    assert choose_tile_size([], overlap, stride, 0) == expected


def test_proof_images_are_real(bundle: Path) -> None:
    """Golden tiles are cut from images that were held out."""
    loaded = checkpoints.load(trained()[0])
    padded = TileGrid(96, 96, 64, 0, multiple=4, border=16, padding="replicate").pad(
        read_image(loaded.split.standardise[0])
    )
    golden = np.load(bundle / "golden" / "tiles.npy")
    windows = np.lib.stride_tricks.sliding_window_view(padded, golden.shape[1:])
    assert (windows == golden[0]).all(axis=(2, 3)).any()


def test_a_card_needs_only_the_description(bundle: Path) -> None:
    info = BundleInfo.model_validate_json((bundle / "bundle.json").read_text(encoding="utf-8"))
    assert model_card(info) == model_card(read_bundle(bundle).info)
