"""Aligned products end to end: found out or asked for, the reference learned, kept, exported and used to inspect."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flawmap.export.bundle import CONTEXT, WHERE_MAP, read_bundle
from flawmap.export.bundle_writer import write_bundle
from flawmap.export.configure_bundle import configure_bundle
from flawmap.export.part_record import read_part
from flawmap.export.where_map import draw_where
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.scorers import open_scorer
from flawmap.inspect.takt import measure
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.context_map import ContextMap
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import read_image, write_image
from flawmap.tiling.look_map import LookMap, WhereToLook
from flawmap.training.alignment import align
from flawmap.training.checkpoint import load
from flawmap.training.config import TrainConfig
from flawmap.training.counting import count
from flawmap.training.fit import train
from flawmap.training.good_images import GoodImages, read_good_images
from tests.look_maps import box, write_labelme, write_part
from tests.products import silent, tiny_config, write_good
from tests.turned_parts import HEIGHT, WIDTH, layout, picture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("aligned")
    paths = [folder / f"{i:02}.png" for i in range(9)]
    for i, path in enumerate(paths):
        write_image(path, picture(i))
    checkpoint = train(paths, tiny_config(alignment=True), folder / "work", device="cpu", report=silent)
    out = folder / "aligned.bundle"
    written = write_bundle(checkpoint, out)
    calibrate_bundle(out, written.held_out, 1.0)
    yield out


def read(paths: list[Path]) -> GoodImages:
    return read_good_images(paths, tile_size=64, multiple=4, border=16, padding="replicate", cache_gib=1)


def test_the_reference_goes_through_checkpoint_and_bundle(bundle: Path) -> None:
    checkpoint = load(bundle.parent / "work" / "model.ckpt")
    band = checkpoint.model.template
    assert band is not None and band.slack == 3
    assert 1 < band.noise * float(checkpoint.model.std) < 3  # grey levels; 2 were drawn
    kept = checkpoint.reference
    assert kept is not None and kept.pixels.shape == (HEIGHT, WIDTH, 2) and kept.pixels.dtype == np.uint8
    np.testing.assert_array_equal(np.load(bundle / CONTEXT), kept.pixels)
    # The reference is the layout where the parts lie in the middle: sharp, with less noise than any of them.
    clean = layout()[20:-20, 20:-20].astype(np.float64)
    shown = kept.image.astype(np.float64)
    assert np.corrcoef(clean.ravel(), shown.ravel())[0, 1] > 0.97
    info = read_bundle(bundle).info
    assert info.alignment is not None and (info.alignment.height, info.alignment.width) == (HEIGHT, WIDTH)


def test_the_model_card_of_a_part_whose_layout_is_known(bundle: Path) -> None:
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "**Not for.** Another product or camera; decisions" in card and "whose layout matters" not in card


def test_inspection_says_where_the_part_lies(bundle: Path) -> None:
    opened = read_bundle(bundle)
    calibration = opened.info.calibration
    assert calibration is not None
    pipeline = Pipeline(opened, open_scorer(opened, "cpu"), Thresholds.of(calibration, 1.0))
    first, second = pipeline.inspect(picture(20)), pipeline.inspect(np.roll(picture(20), (3, -2), (0, 1)))
    assert first.pose is not None and second.pose is not None
    assert second.pose.dy - first.pose.dy == pytest.approx(3, abs=0.2)
    assert second.pose.dx - first.pose.dx == pytest.approx(-2, abs=0.2)
    assert first.heatmap.shape == (HEIGHT, WIDTH) and "align" in first.milliseconds


def test_where_to_look_moves_with_the_part(bundle: Path, tmp_path: Path) -> None:
    """Drawn on one picture, laid on the reference, found again where the part lies in others."""
    shutil.copytree(bundle, tmp_path / "aligned.bundle")
    drawn_on = picture(40)
    write_image(tmp_path / "drawn_on.png", drawn_on)
    shapes = [("include", box(60, 50, 200, 160)), ("exclude", box(100, 80, 140, 120))]
    write_labelme(tmp_path / "regions.json", HEIGHT, WIDTH, shapes, picture="drawn_on.png")
    part = read_part(write_part(tmp_path / "part.yaml", polygons="regions.json"))
    where = draw_where(part.where, tmp_path)
    configure_bundle(tmp_path / "aligned.bundle", part, where)
    opened = read_bundle(tmp_path / "aligned.bundle")
    pipeline = Pipeline(opened, open_scorer(opened, "cpu"))
    assert where.look_map is not None
    found = pipeline.prepare(drawn_on).look
    assert found is not None
    apart = found != where.look_map.pixels
    edges = cv2.morphologyEx(where.look_map.pixels, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    assert not apart[~edges].any()
    moved = pipeline.prepare(np.roll(drawn_on, (3, -2), (0, 1))).look
    assert moved is not None
    np.testing.assert_array_equal(
        (moved != np.roll(found, (3, -2), (0, 1)))[~cv2.dilate(edges.astype(np.uint8), np.ones((9, 9))).astype(bool)],
        False,
    )
    # Drawn on nothing that is there, it lies on the reference as it is.
    (tmp_path / "drawn_on.png").unlink()
    configure_bundle(tmp_path / "aligned.bundle", part, draw_where(part.where, tmp_path))
    np.testing.assert_array_equal(read_image(tmp_path / "aligned.bundle" / WHERE_MAP), where.look_map.pixels)
    reference = load(bundle.parent / "work" / "model.ckpt").reference
    assert reference is not None
    np.testing.assert_array_equal(read_image(bundle / "reference.png"), reference.image)


@pytest.mark.parametrize(
    ("drawn_on", "size", "message"),
    [
        (
            layout(77)[:HEIGHT, :WIDTH],
            (HEIGHT, WIDTH),
            "`where.polygons` were drawn on .*cannot be laid on the product's",
        ),
        (None, (HEIGHT, WIDTH + 8), "`where` was drawn on a picture of 296x224 px, the reference of .* has 288x224 px"),
    ],
)
def test_regions_that_do_not_fit_the_reference(
    bundle: Path, tmp_path: Path, drawn_on: NDArray[np.uint8] | None, size: tuple[int, int], message: str
) -> None:
    if drawn_on is not None:
        write_image(tmp_path / "other.png", drawn_on)
    write_labelme(tmp_path / "a.json", *size, [("include", box(5, 5, 50, 50))], picture="other.png")
    part = read_part(write_part(tmp_path / "part.yaml", polygons="a.json"))
    before = read_bundle(bundle).digest
    with pytest.raises(UsageError, match=message):
        configure_bundle(bundle, part, draw_where(part.where, tmp_path))
    assert read_bundle(bundle).digest == before


def test_training_knows_where_to_look_on_the_reference(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for i, path in enumerate(paths):
        write_image(path, picture(i))
    look = np.zeros((HEIGHT, WIDTH), np.uint8)
    look[50:160, 60:200] = 1
    images, held_out = align(read(paths[:5]), read(paths[5:]), tiny_config(alignment=True), silent)
    images, held_out = count(images, held_out, WhereToLook(LookMap(look), paths[2]), tiny_config().image)
    counted = images.counted
    assert counted is not None and held_out.counted is not None
    seen = counted.look(2, 16, 16, HEIGHT, WIDTH)  # the picture it was drawn on
    edges = cv2.morphologyEx(look, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    assert not (seen != look)[~edges].any()
    assert (counted.look(0, 16, 16, HEIGHT, WIDTH) != look).sum() > 100  # another lies elsewhere


def test_the_score_depends_on_what_the_reference_shows(bundle: Path) -> None:
    opened = read_bundle(bundle)
    scorer = open_scorer(opened, "cpu")
    assert scorer.context_shape is not None
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, scorer.batch_shape).astype(np.uint8)
    context = rng.integers(0, 255, scorer.context_shape).astype(np.uint8)
    first, again = scorer.score(tiles, context)[0], scorer.score(tiles, context)[0]
    other = scorer.score(tiles, 255 - context)[0]
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    with pytest.raises(ValueError, match="`context` must be"):
        scorer.score(tiles)


def test_another_product_is_an_error_and_no_thousand_defects(bundle: Path) -> None:
    opened = read_bundle(bundle)
    pipeline = Pipeline(opened, open_scorer(opened, "cpu"))
    with pytest.raises(ImageError, match="layout"):
        pipeline.heatmap(picture(0, seed=77))
    with pytest.raises(ImageError, match="100x90 px cannot be laid on a reference of 288x224 px"):
        pipeline.heatmap(picture(0)[:90, :100].copy())


def test_alignment_is_found_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(6)]
    for i, path in enumerate(paths):
        write_image(path, picture(i))
    images, held_out = read(paths[:5]), read(paths[5:])
    assert TrainConfig().alignment == "auto"
    config = tiny_config(alignment="auto")
    with caplog.at_level(logging.INFO):
        aligned, aligned_held_out = align(images, held_out, config, silent)
    assert aligned.reference is not None and aligned_held_out.reference is aligned.reference
    assert len(aligned.to_reference) == 5 and len(aligned_held_out.to_reference) == 1
    assert "alignment is on: the images show one layout" in caplog.text
    assert all(shown is aligned.reference for shown in aligned.shown)
    assert "each image is compared with a reference that it is part of: 5 good images to learn from" in caplog.text


def test_a_picture_is_compared_with_what_the_others_show(tmp_path: Path) -> None:
    """Farther from it than from the reference that it is part of, and as far as a picture that nothing was made of."""
    paths = [tmp_path / f"{i:02}.png" for i in range(12)]
    for i, path in enumerate(paths):
        write_image(path, picture(i))
    told: list[str] = []
    images, held_out = align(
        read(paths[:6]), read(paths[6:]), tiny_config(alignment=True), lambda _, text: told.append(text)
    )
    assert told[-1] == "comparing good images with the others, 6 of 6"
    reference = images.reference
    assert reference is not None
    assert all(shown is reference for shown in held_out.shown)
    assert not any(shown is reference for shown in images.shown)

    def apart(aligned: GoodImages, index: int, context: ContextMap) -> float:
        inner = np.s_[20:-20, 20:-20]
        seen, _ = context.laid_on(aligned.image(index), aligned.to_reference[index], 0)
        return float((aligned.image(index)[inner].astype(float) - seen[inner][..., 0]).std())

    own = [apart(images, i, reference) for i in range(6)]
    others = [apart(images, i, images.shown[i]) for i in range(6)]
    unseen = [apart(held_out, i, reference) for i in range(6)]
    assert all(b > a for a, b in zip(own, others, strict=True))
    assert np.mean(own) < 0.93 * np.mean(unseen)
    assert 0.95 * np.mean(unseen) < np.mean(others) < 1.15 * np.mean(unseen)


def test_a_texture_is_not_aligned(tmp_path: Path) -> None:
    paths = write_good(tmp_path, 6, side=224)
    images, held_out = read(paths[:5]), read(paths[5:])
    assert align(images, held_out, tiny_config(alignment="auto"), silent) == (images, held_out)


def test_alignment_that_cannot_be(tmp_path: Path) -> None:
    big, small = write_good(tmp_path / "big", 6, side=160), write_good(tmp_path / "small", 1, side=130)
    images, other, same = read(big[:5]), read(small), read(big[5:])
    on = tiny_config(alignment=True)
    with pytest.raises(UsageError, match=r"`alignment` \(=true\) needs good images of one size: .*160x160.*130x130"):
        align(images, other, on, silent)
    assert align(images, other, tiny_config(alignment="auto"), silent)[0].reference is None
    with pytest.raises(
        UsageError, match=r"`alignment` \(=true\) needs 5 good images to learn from, the split leaves 3"
    ):
        align(read(big[:3]), same, on, silent)
    assert align(images, same, tiny_config(alignment=False), silent)[0].reference is None


def test_a_plan_shows_the_reference(bundle: Path) -> None:
    takt = measure(bundle, f"{WIDTH}x{HEIGHT}")
    assert takt.shown == "the reference picture, saved as PNG" and takt.milliseconds["align"] > 0
    with pytest.raises(UsageError, match=r"`--image` \(=100x100\) must be 288x224: the product is aligned"):
        measure(bundle, "100x100")
