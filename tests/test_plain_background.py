"""A plain background is found by itself: all of it, nothing else, and not where there is none."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flawmap.export.bundle import read_bundle
from flawmap.export.configure_bundle import configure_bundle
from flawmap.export.part_record import read_part
from flawmap.export.where_map import draw_where
from flawmap.inspect.calibration.calibrate_bundle import calibrate_bundle
from flawmap.inspect.pipeline import Pipeline
from flawmap.inspect.scoring.runtime import TileScorer
from flawmap.inspect.thresholds import Thresholds
from flawmap.tiling.errors import ImageError, UsageError
from flawmap.tiling.images import write_image
from flawmap.tiling.look_kernels import block_statistics
from flawmap.tiling.plain_background import BLOCK, RIM, PlainBackground, enlarged
from tests.bundles import make_bundle
from tests.look_maps import write_part

HEIGHT, WIDTH = 320, 400


def part_of(seed: int) -> NDArray[np.bool_]:
    """Where the part lies: a turned plate with a round hole, never twice in the same place."""
    rng = np.random.default_rng(seed)
    plate = np.zeros((HEIGHT, WIDTH), np.uint8)
    centre = (200 + rng.uniform(-15, 15), 160 + rng.uniform(-15, 15))
    corners = cv2.boxPoints((centre, (240, 170), float(rng.uniform(-6, 6))))
    cv2.fillPoly(plate, [np.rint(corners).astype(np.int32)], 1)
    cv2.circle(plate, (int(centre[0]) + 40, int(centre[1])), 22, 0, -1)
    return plate > 0


def picture(seed: int, *, dtype: str = "uint8", channels: int = 1, empty: bool = False) -> NDArray:
    """Ribbed metal on a dark, plain ground, with sensor noise."""
    rng = np.random.default_rng(1000 + seed)
    x = np.arange(WIDTH)
    metal = 140 + 12 * np.sin(x * 2 * np.pi / 9) + rng.normal(0, 6, (HEIGHT, WIDTH))
    ground = 30 + rng.normal(0, 1.5, (HEIGHT, WIDTH))
    image = ground if empty else np.where(part_of(seed), metal, ground)
    image = np.clip(image, 0, 255)
    if dtype == "uint16":
        image = image * 16
    image = (image / 255 if dtype == "float32" else image).astype(dtype)
    return image if channels == 1 else np.dstack([image, image, 255 - image // 2]).astype(dtype)


@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint8", 3), ("uint16", 1), ("float32", 1)])
def test_the_ground_is_left_out_and_the_part_is_not(dtype: str, channels: int) -> None:
    background = PlainBackground.measure(picture(seed, dtype=dtype, channels=channels) for seed in range(6))
    for seed in range(10, 16):
        found = enlarged(background.find(picture(seed, dtype=dtype, channels=channels)), (HEIGHT, WIDTH))
        part = part_of(seed)
        whole = (
            cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((61, 61))) > 0
        )  # the hole is the part's
        assert not found[whole].any()
        rim = cv2.dilate(whole.astype(np.uint8), np.ones((2 * RIM * BLOCK - 1,) * 2)) > 0
        assert not found[rim].any()  # the part's edge is looked at from both sides
        far = cv2.dilate(whole.astype(np.uint8), np.ones((2 * (RIM + 2) * BLOCK + 1,) * 2)) == 0
        assert found[far].all()


def test_dirt_on_the_ground_is_no_part() -> None:
    background = PlainBackground.measure(picture(seed) for seed in range(6))
    image = picture(20)
    image[20:26, 30:36] = 200
    assert enlarged(background.find(image), image.shape)[18:28, 28:38].all()


def test_a_defect_at_the_edge_of_the_part_counts() -> None:
    """A burr that sticks out is the part's; so is what is missing, as far as the rim."""
    background = PlainBackground.measure(picture(seed) for seed in range(6))
    image, part = picture(21), part_of(21)
    y, x = (int(n) for n in np.argwhere(part)[0])
    image[y - 12 : y + 4, x - 3 : x + 4] = 150
    assert not enlarged(background.find(image), image.shape)[y - 12 : y + 4, x - 3 : x + 4].any()


def texture(seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.clip(128 + cv2.GaussianBlur(rng.normal(0, 60, (HEIGHT, WIDTH)), (0, 0), 2) * 3, 0, 255).astype(np.uint8)


def test_where_there_is_no_plain_background() -> None:
    none = r"`where.background` \(=plain\): the good pictures show none: nothing along their edges is of one even tone"
    with pytest.raises(UsageError, match=none):
        PlainBackground.measure(texture(seed) for seed in range(4))
    blank = (np.clip(30 + np.random.default_rng(s).normal(0, 1.5, (HEIGHT, WIDTH)), 0, 255) for s in range(4))
    with pytest.raises(UsageError, match=none):  # one sheet on another
        PlainBackground.measure(image.astype(np.uint8) for image in blank)


def test_a_part_that_looks_like_its_background() -> None:
    """A frame with nothing in it but the ground it lies on."""
    frames = []
    for seed in range(4):
        image = picture(seed, empty=True)
        cv2.rectangle(image, (60, 60), (340, 260), 200, 12)
        frames.append(image)
    with pytest.raises(
        UsageError, match=r"the part cannot be told from its background by tone, .*% of it looks the same"
    ):
        PlainBackground.measure(frames)


@pytest.mark.parametrize("shape", [(16, 24, 1), (17, 9, 3), (5, 40, 1)])
def test_block_statistics(shape: tuple[int, int, int]) -> None:
    """Against numpy, block by block; the last ones are smaller."""
    image = np.random.default_rng(0).integers(0, 65535, shape).astype(np.uint16)
    rows, columns = -(-shape[0] // 8), -(-shape[1] // 8)
    means, spreads = np.empty((rows, columns, shape[2]), np.float32), np.empty((rows, columns), np.float32)
    block_statistics(image, 8, means, spreads)
    for row in range(rows):
        for column in range(columns):
            block = image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].reshape(-1, shape[2]).astype(float)
            np.testing.assert_allclose(means[row, column], block.mean(axis=0), rtol=1e-6)
            np.testing.assert_allclose(spreads[row, column], block.std(axis=0).max(), rtol=1e-5, atol=1e-3)


def test_from_calibration_to_inspection(tmp_path: Path) -> None:
    """Learned from the good images of the calibration, found in every image; an empty fixture is an ERROR."""
    make_bundle(tmp_path / "bundle", calibrated=False)
    (tmp_path / "good").mkdir()
    for seed in range(6):
        write_image(tmp_path / "good" / f"{seed}.png", picture(seed))
    part = read_part(write_part(tmp_path / "part.yaml", background="plain"))
    configure_bundle(tmp_path / "bundle", part, draw_where(part.where, tmp_path))
    record = calibrate_bundle(tmp_path / "bundle", sorted((tmp_path / "good").iterdir()), 0.1, device="cpu")
    assert record.background is not None
    share = record.megapixels_per_image / (HEIGHT * WIDTH / 1e6)
    assert 0.32 < share < 0.75  # the plate is 0.32 of the picture, a rim of 16 to 24 px comes on top
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.info.calibration == record and bundle.info.counted_note == ""
    pipeline = Pipeline(bundle, TileScorer(bundle, "cpu"), Thresholds.of(record, 0.1))
    image = picture(30)
    image[5:7, 5:7] = 255  # dirt on the ground
    found = pipeline.inspect(image)
    assert found.verdict == "OK" and found.look is not None and found.look[0, 0] == 0
    y, x = (int(n) for n in np.argwhere(part_of(30)).mean(axis=0) - (0, 40))
    image[y : y + 2, x : x + 2] = 255
    image[y : y + 2, x + 6 : x + 8] = 0
    assert pipeline.inspect(image).verdict == "NG"
    with pytest.raises(ImageError, match="shows no part: all that should be looked at is plain background"):
        pipeline.inspect(picture(0, empty=True))
