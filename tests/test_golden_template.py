"""The golden template: the band that a slow reference gives, what it hides, and the way from good images to figures."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from flawmap.export.bundle import CONTEXT, GOLDEN_CONTEXT, GOLDEN_SCORE, read_bundle
from flawmap.export.bundle_seal import seal
from flawmap.export.bundle_writer import write_bundle
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.evaluate_run import evaluate_run
from flawmap.inspect.folder import inspect_folder
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.scorers import open_scorer
from flawmap.tiling.classical.golden_template import GoldenTemplate
from flawmap.tiling.classical.model_file import read_model
from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import read_image, write_image
from flawmap.training.classical import checkpoint as checkpoints
from flawmap.training.classical.template_fit import LEAST_NOISE, fit_template
from flawmap.training.config import TrainConfig, load_config
from flawmap.training.fit import train
from flawmap.training.good_images import measure_normalisation
from tests.products import SCALE, good_images, silent, tiny_config, write_good
from tests.turned_parts import HEIGHT, WIDTH, picture

CONFIG = Path(__file__).parent.parent / "configs" / "baselines" / "golden_template.yaml"
DOT = 7  # px


def template(slack: int, noise: float = 1.0) -> GoldenTemplate:
    return GoldenTemplate(slack, noise, np.zeros(1, np.float32), np.ones(1, np.float32))


def without_spread(reference: NDArray[np.generic]) -> NDArray[np.generic]:
    return ContextMap.of(reference, np.zeros(reference.shape[:2], np.float32)).pixels


# The band


def slow_evidence(
    tile: NDArray[np.generic], context: NDArray[np.generic], slack: int, noise: float
) -> NDArray[np.float64]:
    """Pixel by pixel, channel by channel."""
    tiles = tile[..., None] if tile.ndim == 2 else tile
    steps = 1 if tile.dtype == np.float32 else 8
    out = np.zeros(tiles.shape)
    for y, x, c in np.ndindex(tiles.shape):
        around = context[max(0, y - slack) : y + slack + 1, max(0, x - slack) : x + slack + 1, c].astype(float)
        value = float(tiles[y, x, c])
        departure = value - around.max() if value > around.max() else min(0.0, value - around.min())
        out[y, x, c] = departure / (noise + float(context[y, x, -1]) / steps)
    means = [ndimage.uniform_filter(out[..., c], 3, mode="mirror") for c in range(out.shape[2])]
    return np.abs(means).max(axis=0)


@settings(max_examples=40, deadline=None)
@given(
    side=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    slack=st.integers(0, 4),
    channels=st.sampled_from([1, 3, 5]),
    dtype=st.sampled_from(sorted(SCALE)),
    noise=st.floats(0.1, 5),
    seed=st.integers(0, 10**6),
)
def test_evidence_is_how_far_out_of_the_band(
    side: tuple[int, int], slack: int, channels: int, dtype: str, noise: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shape = side if channels == 1 else (*side, channels)
    tile = (rng.random(shape) * SCALE[dtype]).astype(dtype)
    context = (rng.random((*side, channels + 1)) * 0.6 * SCALE[dtype]).astype(dtype)
    noise *= SCALE[dtype] / 255
    found = template(slack, noise).evidence(tile, context)
    assert (found.dtype, found.shape) == (np.float32, (1, *side))
    np.testing.assert_allclose(found[0], slow_evidence(tile, context, slack, noise), rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(slack=st.integers(0, 3), shift=st.tuples(st.integers(-3, 3), st.integers(-3, 3)), seed=st.integers(0, 99))
def test_what_lies_beside_its_place_within_the_slack_is_good(slack: int, shift: tuple[int, int], seed: int) -> None:
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 6)).astype(np.uint8).repeat(9, 0).repeat(9, 1)
    seen = np.roll(blocks, shift, (0, 1))
    inner = np.s_[8:-8, 8:-8]  # what a roll brings in from the other side is none of the layout
    score, nearest = template(slack).score(seen, without_spread(blocks))
    if max(map(abs, shift)) <= slack:
        assert not score[inner].any()
        np.testing.assert_array_equal(nearest[inner], seen[inner])
    else:
        assert score[inner].any()


@pytest.mark.parametrize("slack", [0, 1, 2, 3])
@pytest.mark.parametrize("value", [0, 200])
def test_a_missing_line_of_twice_the_slack_is_hidden(slack: int, value: int) -> None:
    """The price of the tolerance, as the page on baselines says it."""
    ground = np.full((40, 40), 90, np.uint8)
    for width in range(1, 2 * slack + 4):
        reference = ground.copy()
        reference[:, 15 : 15 + width] = value
        assert bool(template(slack).evidence(ground, without_spread(reference)).any()) == (width > 2 * slack)


def test_spread_and_noise_divide_what_leaves_the_band() -> None:
    reference, tile = np.full((20, 20), 90, np.uint8), np.full((20, 20), 120, np.uint8)
    spread = np.zeros((20, 20), np.float32)
    spread[:, 10:] = 4.0
    model = replace(template(2, noise=2.0), location=np.float32([5]), scale=np.float32([2]))
    score, nearest = model.score(tile, ContextMap.of(reference, spread).pixels)
    np.testing.assert_allclose(score[:, :9], (30 / 2 - 5) / 2)
    np.testing.assert_allclose(score[:, 11:], (30 / 6 - 5) / 2)
    assert (nearest == 90).all()


# Fitted


@pytest.mark.parametrize("dtype", sorted(SCALE))
def test_a_blank_product_has_the_noise_of_rounding(dtype: str) -> None:
    images = good_images(5, dtype=dtype)
    blank = np.full_like(images.padded[0], SCALE[dtype])
    reference = ContextMap.of(images.image(0), np.zeros(images.sizes[0], np.float32))
    blanks = replace(
        images, padded=[blank] * 5, reference=reference, shown=[reference] * 5,
        to_reference=[np.eye(2, 3)] * 5, local=[None] * 5,
    )  # fmt: skip
    model = fit_template(blanks, blanks, measure_normalisation(blanks), tiny_config(network={"kind": "median"}))
    assert model.noise == pytest.approx(LEAST_NOISE * SCALE[dtype], rel=1e-3)
    assert np.isfinite(model.location).all() and (model.scale > 0).all()


# From good images to figures


def config_of(*overrides: str) -> TrainConfig:
    return load_config(CONFIG, list(overrides))


def write_pictures(folder: Path, numbers: range) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{number:02}.png" for number in numbers]
    for number, path in zip(numbers, paths, strict=True):
        write_image(path, picture(number))
    return paths


def write_dots(dataset: Path, numbers: range) -> None:
    """Defective parts, a dark or bright dot on each at another place, and their masks."""
    masks = dataset / "ground_truth" / "dot"
    masks.mkdir(parents=True)
    for path, number in zip(write_pictures(dataset / "test" / "dot", numbers), numbers, strict=True):
        image, mask = read_image(path), np.zeros((HEIGHT, WIDTH), np.uint8)
        y, x = 40 + 17 * (number % 8), 50 + 23 * (number % 8)
        image[y : y + DOT, x : x + DOT] = 255 if number % 2 else 5
        mask[y : y + DOT, x : x + DOT] = 255
        write_image(path, image)
        write_image(masks / f"{path.stem}_mask.png", mask)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The calibrated bundle `b`, the checkpoint in `work`, and `data` to evaluate on; `alignment` is found out."""
    folder = tmp_path_factory.mktemp("template")
    paths = write_pictures(folder / "data" / "train" / "good", range(14))
    write_pictures(folder / "data" / "test" / "good", range(20, 23))
    write_dots(folder / "data", range(30, 34))
    checkpoint = train(paths, config_of(), folder / "work", device="cpu", report=silent)
    assert checkpoint == folder / "work" / "model.npz"
    written = write_bundle(checkpoint, folder / "b")
    assert written.parity is None
    calibrate_bundle(folder / "b", written.held_out, written.false_alarms)
    return folder


def test_the_bundle_holds_the_reference(made: Path) -> None:
    files = {path.name for path in (made / "b").iterdir()}
    described = {"bundle.json", "golden", "MODEL_CARD.md", "SHA256SUMS"}
    assert files == {"model.npz", "context.npy", "reference.png", *described}
    bundle = read_bundle(made / "b")
    alignment = bundle.info.alignment
    assert bundle.is_classical
    assert alignment is not None and (alignment.height, alignment.width, alignment.slack) == (HEIGHT, WIDTH, 12)
    assert bundle.info.tile.padding == "reflect"
    assert bundle.info.network.receptive_field == 2 * 3 + 3
    kept = checkpoints.load(made / "work" / "model.npz").reference
    assert kept is not None
    np.testing.assert_array_equal(np.load(made / "b" / CONTEXT), kept.pixels)
    model = read_model("template", bundle.model_path)
    assert isinstance(model, GoldenTemplate)
    assert model.slack == 3
    assert 1 < model.noise < 3  # 2 were drawn
    card = (made / "b" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| model | golden template: distance to what the reference shows within 3 px |" in card


def test_dots_stand_out_from_all_that_good_parts_show(made: Path) -> None:
    run = inspect_folder([made / "data" / "test"], made / "b", made / "run", device="auto")
    assert (run.device, run.counts["images"], run.counts["ERROR"]) == ("cpu", 7, 0)
    metrics = evaluate_run(made / "run", made / "data")
    assert (metrics["region_recall"], metrics["image_auroc"]) == (1.0, 1.0)
    fewest = metrics["froc"]["points"][0]
    assert (fewest["false_regions_per_good_image"], fewest["region_recall"]) == (0.0, 1.0)


def test_the_reconstruction_is_good_where_the_dot_was(made: Path) -> None:
    bundle = read_bundle(made / "b")
    bad, good = picture(40), picture(40)
    bad[100 : 100 + DOT, 140 : 140 + DOT] = 255
    heatmap, reconstruction = Pipeline(bundle, open_scorer(bundle, "cpu")).heatmap(bad)
    y, x = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    assert 100 <= y < 100 + DOT and 140 <= x < 140 + DOT
    assert (reconstruction.shape, reconstruction.dtype) == (bad.shape, bad.dtype)
    at_dot = np.s_[101:106, 141:146]
    assert np.abs(reconstruction[at_dot].astype(float) - good[at_dot]).mean() < 20
    away = np.s_[150:]
    assert np.abs(reconstruction[away].astype(float) - good[away]).mean() < 2


def test_any_tile_gives_the_same_heatmap(made: Path) -> None:
    bundle, image = read_bundle(made / "b"), picture(41)
    heatmaps = []
    for size in (64, 96, 336):
        bundle.info.tile.size = size
        heatmaps.append(Pipeline(bundle, open_scorer(bundle, "cpu")).heatmap(image)[0])
    for other in heatmaps[1:]:
        np.testing.assert_allclose(heatmaps[0], other, atol=2e-3)


def test_the_checkpoint_can_be_exported_again(made: Path) -> None:
    write_bundle(made / "work" / "model.npz", made / "again")
    for name in (GOLDEN_SCORE, GOLDEN_CONTEXT, CONTEXT):
        assert (made / "again" / name).read_bytes() == (made / "b" / name).read_bytes()


def test_colour_in_sixteen_bits(tmp_path: Path) -> None:
    """A dot that only one of three channels shows, in pictures that OpenCV and the context hold in other shapes."""

    def colour(number: int) -> NDArray[np.uint16]:
        grey = picture(number).astype(np.uint16) * 256
        return np.dstack([grey, grey // 2, 60_000 - grey // 2])

    paths = [tmp_path / f"{number}.tif" for number in range(9)]
    for number, path in enumerate(paths):
        write_image(path, colour(number))
    write_bundle(train(paths, config_of(), tmp_path / "work", device="cpu", report=silent), tmp_path / "b")
    bundle, bad = read_bundle(tmp_path / "b"), colour(40)
    bad[100 : 100 + DOT, 140 : 140 + DOT, 1] = 65_535
    heatmap, reconstruction = Pipeline(bundle, open_scorer(bundle, "cpu")).heatmap(bad)
    y, x = np.unravel_index(int(heatmap.argmax()), heatmap.shape)
    assert 100 <= y < 100 + DOT and 140 <= x < 140 + DOT
    assert (reconstruction.shape, reconstruction.dtype) == (bad.shape, bad.dtype)


# What is refused


def test_a_tile_without_its_context(made: Path) -> None:
    scorer = open_scorer(read_bundle(made / "b"), "auto")
    assert scorer.context_shape == (*scorer.batch_shape, 2)
    tiles, context = np.zeros(scorer.batch_shape, np.uint8), np.zeros(scorer.context_shape, np.uint8)
    assert scorer.score(tiles, context)[0].shape == scorer.batch_shape
    with pytest.raises(ValueError, match=r"`context` must be \(1, .*, 2\), not None"):
        scorer.score(tiles)


def test_another_reference_fails_the_self_test(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "b", tmp_path / "b"))
    np.save(folder / GOLDEN_CONTEXT, 255 - np.load(folder / GOLDEN_CONTEXT))
    seal(folder)
    with pytest.raises(UsageError, match="fails its self-test on cpu: a golden score differs by"):
        open_scorer(read_bundle(folder), "auto")


def test_another_layout_is_an_error(made: Path) -> None:
    bundle = read_bundle(made / "b")
    with pytest.raises(ImageError, match="layout"):
        Pipeline(bundle, open_scorer(bundle, "cpu")).heatmap(picture(0, seed=77))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["alignment=false"], r"^`network\.kind` \(=template\) needs `alignment` \(=false\) to be true or auto$"),
        (["template.slack=-1"], r"`template\.slack` \(=-1\): .*greater than or equal to 0"),
        (["template.slack=33"], r"`template\.slack` \(=33\): .*less than or equal to 32"),
        (
            ["network.kind=median", "alignment=true"],
            r"^`alignment` \(=true\) needs `network\.kind` \(=median\) to be repair or template$",
        ),
    ],
)
def test_settings_that_do_not_fit(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config_of(*overrides)


def test_a_product_that_is_not_aligned(tmp_path: Path) -> None:
    """A texture, too few images, images of two sizes: each is refused where a network would do without a reference."""

    def refused(paths: list[Path], message: str) -> None:
        with pytest.raises(UsageError, match=rf"^`network\.kind` \(=template\) needs {message}"):
            train(paths, config_of(), tmp_path / "work", device="cpu", report=silent)

    ribs = write_good(tmp_path / "ribs", 10, side=224)
    refused(ribs, "an aligned product, one layout in every picture: .*; `alignment: true` takes it for one all the")
    refused(ribs[:6], "5 good images to learn from, the split leaves 3: give more, or lower `split.calibrate_share`")
    refused([*ribs[:9], *write_good(tmp_path / "small", 1, side=200)], "good images of one size: .*224x224.*200x200 px")


def test_pictures_too_large_to_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_good(tmp_path / "good", 8, side=224)
    monkeypatch.setattr("flawmap.tiling.strips.open_rows.STRIP_PIXELS", 20_000)
    monkeypatch.setattr("flawmap.training.padded_pictures.WHOLE_PIXELS", 30_000)
    said = r"224x224 px is too large to be held as a whole, which `network\.kind` \(=template\) needs"
    with pytest.raises(ImageError, match=said):
        train(paths, config_of(), tmp_path / "work", device="cpu", report=silent)
