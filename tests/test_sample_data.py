"""The sample data: same seed same bytes, masks that tell what changed, contrasts that mean what they say."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.sample_data.__main__ import main
from flawmap.sample_data.dataset import SURFACES, Product, write_dataset
from flawmap.sample_data.defects import SHAPES, SMALLEST_DOT, dot
from flawmap.sample_data.placing import GRADES, grade_of
from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import read_image


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*"))}


def smooth(image: NDArray[Any]) -> NDArray[np.float32]:
    return cv2.GaussianBlur(image.astype(np.float32), (0, 0), 16)


@pytest.fixture(scope="module", params=list(SURFACES))
def product(request: pytest.FixtureRequest) -> Product:
    return Product(request.param, (512, 512), seed=5)


@settings(max_examples=12, deadline=None)
@given(
    surface=st.sampled_from(list(SURFACES)),
    size=st.tuples(st.integers(256, 400), st.integers(256, 400)),
    seed=st.integers(0, 2**31),
)
def test_any_size_and_seed_gives_an_image_a_mask_and_boxes_that_hold_it(
    surface: str, size: tuple[int, int], seed: int
) -> None:
    image, mask, defects = Product(surface, size, seed).defective(seed % 7)
    assert image.shape == mask.shape == size
    assert image.dtype == mask.dtype == np.uint8
    assert set(np.unique(mask)) <= {0, 255}
    held = np.zeros(size, bool)
    for defect in defects:
        y0, x0, y1, x1 = defect.box
        assert 0 <= y0 < y1 <= size[0] and 0 <= x0 < x1 <= size[1]
        piece = mask[y0:y1, x0:x1] > 0
        assert np.count_nonzero(piece) >= defect.area_px > 0
        assert piece[0].any() and piece[-1].any() and piece[:, 0].any() and piece[:, -1].any()  # the box is tight
        held[y0:y1, x0:x1] = True
    assert not (mask.astype(bool) & ~held).any()
    assert defects


def test_same_arguments_give_the_same_bytes_and_a_seed_more_others(tmp_path: Path) -> None:
    counts = {"train_good": 1, "test_good": 1, "test_defect": 1}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_dataset(tmp_path / name, surface="cloth", size=(320, 256), seed=seed, **counts)
    first, again, other = (files_of(tmp_path / name) for name in "abc")
    assert first == again
    assert list(first) == [
        "ground_truth/defect/000_mask.png",
        "test/defect/000.png",
        "test/good/000.png",
        "train/good/000.png",
        "truth.json",
    ]
    assert all(first[name] != other[name] for name in first)
    assert first["test/good/000.png"] != first["train/good/000.png"]


@pytest.mark.parametrize("surface", list(SURFACES))
def test_an_image_does_not_depend_on_how_many_are_asked_for(surface: str, tmp_path: Path) -> None:
    write_dataset(tmp_path / "few", surface=surface, size=(256, 320), train_good=1, test_good=0, test_defect=1)
    write_dataset(tmp_path / "more", surface=surface, size=(256, 320), train_good=2, test_good=1, test_defect=3)
    few, more = files_of(tmp_path / "few"), files_of(tmp_path / "more")
    assert len(few) == 4
    assert all(more[name] == content for name, content in few.items() if name != "truth.json")
    images = [json.loads(content["truth.json"])["images"] for content in (few, more)]
    assert images[0].items() <= images[1].items()


def test_the_written_images_are_those_of_the_product(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_dataset(
        tmp_path,
        surface="metal",
        size=(320, 256),
        train_good=1,
        test_good=1,
        test_defect=1,
        seed=1,
        report=lambda done, total: seen.append((done, total)),
    )
    product = Product("metal", (320, 256), seed=1)
    image, mask, defects = product.defective(0)
    assert np.array_equal(read_image(tmp_path / "train/good/000.png"), product.good(0, train=True))
    assert np.array_equal(read_image(tmp_path / "test/good/000.png"), product.good(0))
    assert np.array_equal(read_image(tmp_path / "test/defect/000.png"), image)
    assert np.array_equal(read_image(tmp_path / "ground_truth/defect/000_mask.png"), mask)
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth["images"]["test/good/000.png"] == []
    assert [tuple(d["box"]) for d in truth["images"]["test/defect/000.png"]] == [d.box for d in defects]
    assert set(truth["images"]["test/defect/000.png"][0]) == {"kind", "box", "area_px", "grade", "contrast"}
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_two_good_images_differ_but_look_alike(product: Product) -> None:
    first, second = product.good(0), product.good(1)
    assert np.mean(first != second) > 0.5
    assert abs(float(first.mean()) - float(second.mean())) < 8
    assert abs(float(first.std()) - float(second.std())) < 0.2 * float(first.std()) + 2


def test_a_board_is_aligned_and_cloth_and_metal_are_not() -> None:
    likeness = {}
    for surface in SURFACES:
        drawn = Product(surface, (512, 512), seed=2)
        # A little blur forgives the board its shift of a px or two.
        pictures = [cv2.GaussianBlur(drawn.good(i), (0, 0), 2.5)[40:-40, 40:-40] for i in (0, 1)]
        first, second = (picture.astype(np.float32) - smooth(picture) for picture in pictures)
        likeness[surface] = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    assert likeness["board"] > 0.75
    assert abs(likeness["cloth"]) < 0.3 and abs(likeness["metal"]) < 0.3


def test_the_mask_is_where_the_defect_changed_the_picture(product: Product) -> None:
    for index in range(3):
        image, mask, defects = product.defective(index)
        clean, empty, none = product.defective(index, defects=False)
        assert not empty.any() and none == [] and defects
        change = np.abs(image.astype(int) - clean.astype(int))
        marked = mask > 0
        assert np.mean(change[marked] > 1) > 0.8  # a closed mask holds a few pixels that did not change
        assert change[cv2.dilate(mask, np.ones((3, 3), np.uint8)) == 0].max() <= 8  # below half a deviation
        assert np.mean(change[~marked] > 2) < 0.02


def test_every_image_holds_a_dot_of_the_smallest_size(product: Product) -> None:
    for index in range(4):
        first = product.defective(index)[2][0]
        assert first.kind == "dot"
        height, width = first.box[2] - first.box[0], first.box[3] - first.box[1]
        # A faint dot's rim sinks below what the mask counts; a strong one's is carried a pixel out by the lens.
        assert max(height, width) <= SMALLEST_DOT + 2
        if first.grade != "faint":
            assert min(height, width) >= SMALLEST_DOT - 1


def test_a_dot_is_as_large_as_asked() -> None:
    rng = np.random.default_rng(0)
    for size in (5, 7, 12, 16):
        inside = dot(size, rng) > 0.2
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        assert 0.75 * size <= rows[-1] - rows[0] + 1 <= size + 1
        assert 0.75 * size <= columns[-1] - columns[0] + 1 <= size + 1


def test_all_kinds_and_grades_occur(product: Product) -> None:
    found = [defect for index in range(12) for defect in product.defective(index)[2]]
    structures = {kind for kind in {d.kind for d in found} if kind not in SHAPES}
    assert {d.kind for d in found} >= set(SHAPES)
    assert len(structures) >= 2
    assert {d.grade for d in found} == set(GRADES)
    assert all(d.grade == grade_of(d.contrast) for d in found)


@pytest.mark.parametrize("surface", ["metal", "cloth"])
def test_a_moderate_defect_stands_out_as_far_as_its_contrast_says(surface: str) -> None:
    """Second formula: the picture's own change in the middle of the mask, over the deviation around the defect."""
    product = Product(surface, (512, 512), seed=8)
    ratios = []
    for index in range(10):
        image, mask, defects = product.defective(index)
        clean = product.defective(index, defects=False)[0].astype(np.float32)
        for defect in defects:
            if defect.grade != "moderate":
                continue
            y0, x0, y1, x1 = defect.box
            around = (slice(max(y0 - 40, 0), y1 + 40), slice(max(x0 - 40, 60), x1 + 40))
            deviation = float(np.std((clean - smooth(clean))[around][mask[around] == 0]))
            change = np.abs(image.astype(np.float32) - clean)[y0:y1, x0:x1][mask[y0:y1, x0:x1] > 0]
            ratios.append(float(np.percentile(change, 80)) / deviation / defect.contrast)
    assert len(ratios) >= 5
    assert 0.8 < float(np.median(ratios)) < 1.25
    assert min(ratios) > 0.5 and max(ratios) < 2


def test_sixteen_bit_images_show_the_same_in_finer_steps(product: Product) -> None:
    fine, coarse = product.good(0, dtype=np.uint16), product.good(0)
    assert fine.dtype == np.uint16 and fine.shape == (512, 512)
    assert np.abs(fine / 257.0 - coarse).max() <= 0.51
    assert len(np.unique(fine)) > 4 * len(np.unique(coarse))


def test_defects_of_a_large_image_are_many_and_far_apart() -> None:
    product = Product("metal", (2048, 2048), seed=0)
    defects = product.defective(0)[2]
    assert 6 <= len(defects) <= 10
    assert len({defect.kind for defect in defects}) >= 5
    for number, a in enumerate(defects):
        for b in defects[:number]:
            rows = max(a.box[0] - b.box[2], b.box[0] - a.box[2])
            columns = max(a.box[1] - b.box[3], b.box[1] - a.box[3])
            assert max(rows, columns) >= 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"surface": "wood"}, r"`surface` \(=wood\) must be one of metal, cloth, board"),
        ({"surface": "metal", "size": (255, 600)}, r"`size` \(=255x600\) must be at least 256 px on each side"),
        ({"surface": "metal", "seed": -1}, r"`seed` \(=-1\) must not be negative"),
        ({"surface": "metal", "size": (256, 256), "test_good": -2}, r"`test_good` \(=-2\) must not be negative"),
    ],
)
def test_wrong_use_is_told_with_value_and_rule(arguments: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        write_dataset(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_the_command_writes_a_product_and_tells_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = ["--train-good", "1", "--test-good", "0", "--test-defect", "1"]
    assert main(["--surface", "board", "--out", str(tmp_path), "--size", "256x300", "--seed", "7", *counts]) == 0
    assert read_image(tmp_path / "train/good/000.png").shape == (256, 300)
    assert capsys.readouterr().err == "image 1 of 2\nimage 2 of 2\n"
    assert main(["--surface", "board", "--out", str(tmp_path), "--size", "10x10"]) == 2
    assert "must be at least 256 px" in capsys.readouterr().err
