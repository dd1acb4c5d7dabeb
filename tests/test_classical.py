"""Models without a network: the same numbers as scikit-image, scikit-learn and scipy give, and the way to a verdict."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from skimage.feature import hog
from sklearn.svm import SVR, OneClassSVM

from flawmap.export.bundle import CLASSICAL_KINDS, CLASSICAL_MODEL, GOLDEN_SCORE, INFO, read_bundle
from flawmap.export.bundle_seal import SUMS, seal
from flawmap.export.bundle_writer import write_bundle
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.scorers import open_scorer
from flawmap.tiling.classical.hog_features import (
    CELL,
    N_FEATURES,
    STRIDE,
    WINDOW,
    hog_windows,
    map_of_windows,
    share_of_windows,
)
from flawmap.tiling.classical.kernel_machine import CHUNK, KernelMachine
from flawmap.tiling.classical.local_median import BOXES, LocalMedian
from flawmap.tiling.classical.model_file import MODELS, read_model
from flawmap.tiling.errors import DeviceError, UsageError
from flawmap.tiling.images import write_image
from flawmap.training.classical import checkpoint as checkpoints
from flawmap.training.classical.geometry import checked_overlap
from flawmap.training.classical.labelled import labelled_images, labelled_windows
from flawmap.training.config import ImageSettings, TrainConfig, load_config
from flawmap.training.fit import train
from tests.evaluating import assert_defect_stands_out, write_dataset
from tests.products import draw_good, silent, tiny_config, write_good

BASELINES = Path(__file__).parent.parent / "configs" / "baselines"
SKIMAGE = {"orientations": 9, "pixels_per_cell": (CELL, CELL), "cells_per_block": (2, 2), "feature_vector": False}


# HOG features


def slow_hog(tile: NDArray[Any]) -> NDArray[np.float64]:
    """Windows cut from scikit-image's blocks, one by one."""
    options: dict[str, Any] = {**SKIMAGE, "block_norm": "L2-Hys", "channel_axis": 2 if tile.ndim == 3 else None}
    blocks = hog(tile.astype(np.float64), **options)
    side, step = WINDOW // CELL - 1, STRIDE // CELL
    rows = [
        [blocks[y : y + side, x : x + side].ravel() for x in range(0, blocks.shape[1] - side + 1, step)]
        for y in range(0, blocks.shape[0] - side + 1, step)
    ]
    return np.array(rows)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(64, 64), (96, 160)])
def test_features_are_those_of_scikit_image(shape: tuple[int, int], dtype: str, channels: int) -> None:
    tile = draw_good(*shape, channels=channels, dtype=dtype, seed=1)
    found, expected = hog_windows(tile), slow_hog(tile)
    assert found.shape == expected.shape == (shape[0] // 32 - 1, shape[1] // 32 - 1, N_FEATURES)
    assert found.dtype == np.float32
    # An angle on the edge of two bins may be rounded to either.
    assert (np.abs(found - expected) > 1e-3).mean() < 2e-3
    assert np.abs(found - expected).mean() < 1e-4


def test_one_window_is_what_scikit_image_says_of_it_alone() -> None:
    tile = draw_good(64, 64, seed=2)
    expected = hog(tile.astype(np.float64), **{**SKIMAGE, "feature_vector": True}, block_norm="L2-Hys")
    np.testing.assert_allclose(hog_windows(tile)[0, 0], expected, atol=1e-4)


def test_a_blank_tile_has_no_gradients() -> None:
    assert not hog_windows(np.full((64, 64), 7, np.uint8)).any()


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_the_map_is_bilinear_between_centres(rows: int, columns: int, seed: int) -> None:
    scores = np.random.default_rng(seed).random((rows, columns))
    found = map_of_windows(scores)
    height, width = WINDOW + STRIDE * (rows - 1), WINDOW + STRIDE * (columns - 1)
    assert found.shape == (height, width)
    y = np.clip((np.arange(height) - (WINDOW - 1) / 2) / STRIDE, 0, rows - 1)
    x = np.clip((np.arange(width) - (WINDOW - 1) / 2) / STRIDE, 0, columns - 1)
    grid = np.meshgrid(y, x, indexing="ij")
    expected = ndimage.map_coordinates(scores, grid, order=1, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=1e-3)  # OpenCV's weights are coarse


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_shares_are_means_of_the_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random((128, 160)) > 0.7
    found = share_of_windows(mask)
    assert found.shape == (3, 4)
    for r in range(3):
        for c in range(4):
            window = mask[r * STRIDE : r * STRIDE + WINDOW, c * STRIDE : c * STRIDE + WINDOW]
            assert found[r, c] == pytest.approx(window.mean(), abs=1e-6)


# Support vector machines


def points(n: int, seed: int, d: int = 12) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def numbers_of(machine: Any, gamma: float) -> KernelMachine:
    coefficients = machine.dual_coef_[0].astype(np.float32)
    return KernelMachine(machine.support_vectors_.astype(np.float32), coefficients, float(machine.intercept_[0]), gamma)


@pytest.mark.parametrize("n", [0, 1, CHUNK + 3])
def test_decisions_are_those_of_scikit_learn(n: int) -> None:
    machine = OneClassSVM(nu=0.1, gamma=0.05).fit(points(200, 0))
    fresh = 2 * points(n, 1)
    found = numbers_of(machine, 0.05).decide(fresh)
    assert found.shape == (n,)
    np.testing.assert_allclose(found, machine.decision_function(fresh) if n else np.empty(0), atol=1e-4)


def test_regressions_are_those_of_scikit_learn() -> None:
    x = points(200, 2)
    machine = SVR(gamma=0.1).fit(x, np.sin(x[:, 0]))
    np.testing.assert_allclose(
        numbers_of(machine, 0.1).decide(points(50, 3)), machine.predict(points(50, 3)), atol=1e-4
    )


# The local median


def median(window: int, **numbers: Any) -> LocalMedian:
    ones = np.ones(len(BOXES), np.float32)
    return LocalMedian(
        **{"window": window, "low": 0.0, "high": 255.0, "unit": 1.0, "location": 0 * ones, "scale": ones, **numbers}
    )


@pytest.mark.parametrize("window", [3, 21])
def test_the_background_is_the_median(window: int) -> None:
    tile = draw_good(60, 70, seed=3)
    inner = slice(window // 2, -(window // 2))
    expected = ndimage.median_filter(tile, window)
    np.testing.assert_array_equal(median(window).background(tile)[inner, inner], expected[inner, inner])


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint16", 10_000.0, 50_000.0), ("float32", 0.1, 0.9)])
def test_deeper_images_have_the_same_background_to_a_255th(dtype: str, low: float, high: float) -> None:
    tile = draw_good(60, 70, dtype=dtype, channels=3, seed=4)
    found = median(9, low=low, high=high).background(tile)
    assert (found.dtype, found.shape) == (tile.dtype, tile.shape)
    expected = np.stack([ndimage.median_filter(tile[..., c], 9) for c in range(3)], axis=-1).astype(np.float64)
    apart = np.abs(found[4:-4, 4:-4].astype(np.float64) - expected[4:-4, 4:-4]).max()
    assert apart <= 0.6 * (high - low) / 255 + (1 if dtype == "uint16" else 0)


def test_the_residual_is_averaged_over_boxes_with_its_sign() -> None:
    tile = draw_good(60, 70, channels=3, seed=5)
    model = median(21, unit=2.0, location=np.arange(4, dtype=np.float32), scale=np.array([1, 2, 3, 4], np.float32))
    residual = (tile.astype(np.float64) - model.background(tile)) / 2
    evidence = model.evidence(tile)
    for k, box in enumerate(BOXES):
        means = np.stack([ndimage.uniform_filter(residual[..., c], box, mode="mirror") for c in range(3)])
        np.testing.assert_allclose(evidence[k], np.abs(means).max(axis=0), atol=1e-3)
    score, background = model.score(tile)
    expected = ((evidence - np.arange(4).reshape(4, 1, 1)) / np.arange(1, 5).reshape(4, 1, 1)).max(axis=0)
    np.testing.assert_allclose(score, expected, atol=1e-4)
    np.testing.assert_array_equal(background, model.background(tile))


# From good images to a verdict


def settings_of(name: str, *overrides: str) -> TrainConfig:
    return load_config(BASELINES / f"{name}.yaml", ["hog.windows=80", *overrides])


def labelled(folder: Path) -> Path:
    """Two images with a coarse patch, and a good one that must not count."""
    for kind in ("test/patch", "ground_truth/patch", "test/good"):
        (folder / kind).mkdir(parents=True)
    for i in range(2):
        image, mask = draw_good(192, 192, seed=20 + i), np.zeros((192, 192), np.uint8)
        image[64:128, 64:128] = patch(i)
        mask[64:128, 64:128] = 255
        write_image(folder / "test" / "patch" / f"{i}.png", image)
        write_image(folder / "ground_truth" / "patch" / f"{i}_mask.png", mask)
    write_image(folder / "test" / "good" / "0.png", draw_good(192, 192, seed=30))
    return folder


def patch(seed: int) -> NDArray[np.uint8]:
    """Ribs that run across those of the product."""
    return draw_good(64, 64, seed=40 + seed).T


@pytest.fixture(scope="module", params=["local_median", "hog_ocsvm", "hog_regression"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(name, folder with the calibrated bundle `b`, the good images and the checkpoint)."""
    folder = tmp_path_factory.mktemp(request.param)
    overrides = [f"hog.labelled={labelled(folder / 'labelled')}"] if request.param == "hog_regression" else []
    paths = write_good(folder / "good", 6, side=192)
    checkpoint = train(paths, settings_of(request.param, *overrides), folder / "work", device="cpu", report=silent)
    assert checkpoint == folder / "work" / "model.npz"
    written = write_bundle(checkpoint, folder / "b")
    assert written.parity is None
    calibrate_bundle(folder / "b", written.held_out, written.false_alarms)
    return request.param, folder


def test_the_bundle_holds_numbers_and_no_network(made: tuple[str, Path]) -> None:
    name, folder = made
    files = {path.name for path in (folder / "b").iterdir()}
    assert files == {"model.npz", "bundle.json", "golden", "MODEL_CARD.md", "SHA256SUMS"}
    bundle = read_bundle(folder / "b")
    assert bundle.is_classical
    assert bundle.info.network.kind == settings_of(name).network.kind
    model = read_model(bundle.info.network.kind, bundle.model_path)
    arrays = {k: v.tolist() for k, v in model.arrays().items()}
    assert {k: v.tolist() for k, v in type(model).from_arrays(model.arrays()).arrays().items()} == arrays
    card = (folder / "b" / "MODEL_CARD.md").read_text(encoding="utf-8")
    words = {"local_median": "over 21 px", "hog_ocsvm": "one-class support vector", "hog_regression": "regression of"}
    assert words[name] in card
    assert "| seconds to fit |" in card


def test_what_is_wrong_is_found(made: tuple[str, Path]) -> None:
    """A dot for the median, ribs across the others for HOG, as the commands inspect and evaluate a dataset."""
    name, folder = made
    bad = draw_good(192, 192, seed=50)
    if name == "local_median":
        place = np.s_[100:105, 100:105]
        bad[place] = 255
    else:
        place = np.s_[64:128, 64:128]
        bad[place] = patch(9)
    data = write_dataset(folder / "data", [draw_good(192, 192, seed=seed) for seed in (51, 52)], bad, place)
    run = inspect_folder([data / "test"], folder / "b", folder / "run", device="auto", heatmaps=True)
    assert (run.device, run.counts["images"], run.counts["ERROR"]) == ("cpu", 3, 0)
    assert_defect_stands_out(folder / "run", data)
    bundle = read_bundle(folder / "b")
    line = Pipeline(bundle, open_scorer(bundle, "cpu"))
    heatmap, reconstruction = line.heatmap(bad)
    assert reconstruction.shape == bad.shape
    y, x = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    assert 60 <= y < 132
    assert 60 <= x < 132
    assert heatmap.max() > 1.5 * line.heatmap(draw_good(192, 192, seed=51))[0].max()


def test_any_tile_gives_the_same_heatmap(made: tuple[str, Path]) -> None:
    bundle = read_bundle(made[1] / "b")
    image = draw_good(400, 352, seed=52)
    heatmaps = []
    for size in (256, 384):
        bundle.info.tile.size = size
        heatmaps.append(Pipeline(bundle, open_scorer(bundle, "cpu")).heatmap(image)[0])
    np.testing.assert_allclose(heatmaps[0], heatmaps[1], atol=2e-3)


def test_the_checkpoint_reads_back(made: tuple[str, Path]) -> None:
    name, folder = made
    loaded = checkpoints.load(folder / "work" / "model.npz")
    assert loaded.config.network == settings_of(name).network
    assert len(loaded.split.train + loaded.split.standardise + loaded.split.calibrate) == 6
    write_bundle(folder / "work" / "model.npz", folder / "again")
    kept = (folder / "b" / GOLDEN_SCORE).read_bytes()
    assert (folder / "again" / GOLDEN_SCORE).read_bytes() == kept


def test_a_checkpoint_of_before_there_was_a_padding_was_shown_reflections(
    made: tuple[str, Path], tmp_path: Path
) -> None:
    arrays = dict(np.load(made[1] / "work" / "model.npz"))
    about = json.loads(str(arrays["about"]))
    del about["config"]["tile"]["padding"]
    np.savez(tmp_path / "model.npz", **(arrays | {"about": np.array(json.dumps(about))}))
    assert checkpoints.load(tmp_path / "model.npz").config.tile.padding == "reflect"


def copied(made: tuple[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[1] / "b", tmp_path / "b"))


def test_a_bundle_that_was_broken(made: tuple[str, Path], tmp_path: Path) -> None:
    folder = copied(made, tmp_path)
    np.save(folder / GOLDEN_SCORE, np.load(folder / GOLDEN_SCORE) + np.float32(0.1))
    seal(folder)
    with pytest.raises(UsageError, match="fails its self-test on cpu: a golden score differs by"):
        open_scorer(read_bundle(folder), "auto")
    (folder / CLASSICAL_MODEL).write_bytes(b"no numbers")
    seal(folder)
    with pytest.raises(UsageError, match=r"model\.npz cannot be loaded as a (hog|median) model: "):
        open_scorer(read_bundle(folder), "auto")
    (folder / CLASSICAL_MODEL).unlink()
    seal(folder)
    with pytest.raises(UsageError, match=r"is not complete: SHA256SUMS does not list model\.npz"):
        read_bundle(folder)
    assert (folder / INFO).is_file()
    assert (folder / SUMS).is_file()


def test_only_a_cpu_scores_it(made: tuple[str, Path]) -> None:
    bundle = read_bundle(made[1] / "b")
    with pytest.raises(DeviceError, match=r"`--device` \(=cuda\) cannot run this bundle: a (hog|median) model needs"):
        open_scorer(bundle, "cuda")
    with pytest.raises(UsageError, match=r"`--device` \(=gpu\) must be one of auto, cpu, cuda"):
        open_scorer(bundle, "gpu")
    scorer = open_scorer(bundle, "auto")
    wrong = np.zeros((2, *scorer.batch_shape[1:]), np.uint8)
    with pytest.raises(ValueError, match=r"`tiles` \(=uint8 \[2, "):
        scorer.score(wrong)


def test_kinds_have_one_list_each_side() -> None:
    """The bundle knows them without importing what scores them."""
    assert set(CLASSICAL_KINDS) == set(MODELS)


# What is refused


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.kind=hog"], r"`tile\.border` \(=48\) must be a multiple of the network's stride \(=32\)"),
        (["network.kind=median", "tile.overlap=8"], r"`tile\.overlap` \(=8\) must be at least .* \(=32\): tiles would"),
        (
            ["network.kind=median", "tile.overlap=256", "tile.size=256"],
            r"`tile\.overlap` \(=256\) must be smaller than",
        ),
    ],
)
def test_tiles_that_do_not_fit(overrides: list[str], message: str, tmp_path: Path) -> None:
    config = load_config(None, overrides)
    with pytest.raises(UsageError, match=message):
        checked_overlap(config)
    with pytest.raises(UsageError, match=message):
        train(write_good(tmp_path / "good", 4), config, tmp_path / "work", device="cpu", report=silent)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["median.window=20"], r"^`median\.window` \(=20\) must be odd: a pixel stands in its middle$"),
        (["hog.labelled=x"], r"^`hog\.labelled` \(=x\) needs `network\.kind` \(=repair\) to be hog$"),
        (["network.kind=hog", "learning.loss=bce"], r"`learning\.loss` \(=bce\) needs `network\.kind` \(=hog\) to be"),
        (["network.kind=hog", "hog.nu=0"], r"`hog\.nu` \(=0\): .*greater than 0"),
    ],
)
def test_settings_that_do_not_fit(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_config(None, overrides)


def test_labels_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`hog\.labelled` \(=.*\) must hold test/<kind> in the MVTec AD layout"):
        labelled_images(tmp_path, ImageSettings())
    dataset = labelled(tmp_path / "d")
    assert len(labelled_images(dataset, ImageSettings())) == 2
    (dataset / "ground_truth" / "patch" / "1_mask.png").unlink()
    with pytest.raises(UsageError, match=r"1\.png is defective by its folder, but .*1_mask\.png is missing"):
        labelled_images(dataset, ImageSettings())
    write_image(dataset / "ground_truth" / "patch" / "1_mask.png", np.ones((8, 9), np.uint8))
    with pytest.raises(UsageError, match=r"1_mask\.png is 9x8 px, its image .*1\.png 192x192 px"):
        list(labelled_windows(labelled_images(dataset, ImageSettings()), ImageSettings(), "reflect"))
    shutil.rmtree(dataset / "test" / "patch")
    with pytest.raises(UsageError, match=r"has no defective image in .*test"):
        labelled_images(dataset, ImageSettings())


def test_labelled_windows_know_their_share(tmp_path: Path) -> None:
    pairs = labelled_images(labelled(tmp_path / "d"), ImageSettings())
    features, share = next(labelled_windows(pairs, ImageSettings(), "reflect"))
    assert features.shape == (25, N_FEATURES)
    assert share.reshape(5, 5)[2, 2] == 1.0  # the patch is a window
    assert share.reshape(5, 5)[0, 0] == 0.0
    _, small = next(labelled_windows(pairs, ImageSettings(longest_side=96), "reflect"))
    assert small.shape == (4,)


def test_without_scikit_learn_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flawmap.training.classical.hog_fit.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs scikit-learn to learn: pip install 'flawmap\[baselines\]'"):
        train(
            write_good(tmp_path / "good", 4, side=192),
            settings_of("hog_ocsvm"),
            tmp_path / "w",
            device="cpu",
            report=silent,
        )


@pytest.mark.parametrize("content", [b"", b"no numbers"])
def test_a_checkpoint_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.npz"
    with pytest.raises(UsageError, match=r"`CHECKPOINT` \(=.*model\.npz\) must be .*: there is no such file"):
        checkpoints.load(path)
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"`CHECKPOINT` \(=.*model\.npz\) is not a flawmap checkpoint: "):
        checkpoints.load(path)


def test_a_blank_product_can_be_fitted(tmp_path: Path) -> None:
    """Every pixel alike: no range, no gradients, no support vectors worth their name."""
    (tmp_path / "good").mkdir()
    paths = [tmp_path / "good" / f"{i}.png" for i in range(4)]
    for path in paths:
        write_image(path, np.full((192, 192), 90, np.uint8))
    for kind in ("median", "hog"):
        config = tiny_config(network={"kind": kind}, tile={"border": 64, "train_size": 64}, hog={"windows": 20})
        path = train(paths, config, tmp_path / kind, device="cpu", report=silent)
        score, _ = checkpoints.load(path).model.score(np.full((128, 128), 90, np.uint8))
        assert np.isfinite(score).all()
