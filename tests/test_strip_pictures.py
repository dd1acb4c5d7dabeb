"""Pictures drawn from files of rows, a part at a time, are those drawn from arrays."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flawmap.inspect.report.display import shrink, shrink_box, shrink_keeping_peaks, shrink_peaks_of_box, window_of
from flawmap.inspect.report.pictures import write_heatmap, write_pictures
from flawmap.inspect.run.records import RegionRecord
from flawmap.tiling.strips.row_file import RowFile
from tests.bundles import good_image

AT_ONCE = "flawmap.inspect.report.display.PIXELS_AT_ONCE"


def on_disk(stack: ExitStack, folder: Path, image: NDArray[Any]) -> RowFile:
    file = stack.enter_context(RowFile(folder, image.shape, image.dtype))
    file.append(image)
    return file


def region(number: int, box: tuple[int, int, int, int]) -> RegionRecord:
    y0, x0, y1, x1 = box
    return RegionRecord(
        region=number, x_min=x0, y_min=y0, x_max=x1, y_max=y1, centroid_x=x0, centroid_y=y0, area_px=1, score_max=9.0,
        score_mean=9.0, severity=2.0, verdict="NG",
    )  # fmt: skip


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint8"), (1, "uint16"), (3, "float32")])
def test_the_files_are_the_same(tmp_path: Path, channels: int, dtype: str) -> None:
    image = good_image(1300, 200, channels=channels, dtype=dtype, seed=1, defects=3)
    reconstruction = good_image(1300, 200, channels=channels, dtype=dtype, seed=2)
    heatmap = np.random.default_rng(0).random((1300, 200), np.float32) * 12
    regions = [region(1, (40, 50, 45, 56)), region(2, (100, 3, 1290, 9))]
    with ExitStack() as stack:
        for name, drawn in (
            ("memory", [image, heatmap, reconstruction]),
            ("disk", [on_disk(stack, tmp_path, part) for part in (image, heatmap, reconstruction)]),
        ):
            overview, pictures = write_pictures(tmp_path, name, *drawn, regions, review=3, ng=6)
            assert overview and all(pictures)
            write_heatmap(tmp_path, name, drawn[1])
    memory, disk = (sorted((tmp_path / "overlays").glob(f"{name}*")) for name in ("memory", "disk"))
    assert len(memory) == len(disk) == 4
    for some, others in zip(memory, disk, strict=True):
        assert some.read_bytes() == others.read_bytes(), some
    scores = tifffile.imread(tmp_path / "overlays" / "disk-heatmap.tif")
    np.testing.assert_allclose(scores, heatmap, rtol=2.0**-12)


@settings(max_examples=60)
@given(
    height=st.integers(1, 400), width=st.integers(1, 50), at_once=st.integers(1, 4000), share=st.floats(0.02, 1),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_peaks_and_windows_do_not_depend_on_the_parts(
    height: int, width: int, at_once: int, share: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).random((height, width), np.float32)
    small = max(1, int(height * share)), max(1, int(width * share))
    slow = np.array(
        [
            [
                scores[
                    i * height // small[0] : (i + 1) * height // small[0],
                    j * width // small[1] : (j + 1) * width // small[1],
                ].max()
                for j in range(small[1])
            ]
            for i in range(small[0])
        ]
    )
    whole_window = window_of(scores)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AT_ONCE, at_once)
        np.testing.assert_array_equal(shrink_keeping_peaks(scores, *small), slow)
        inner = scores[height // 3 :, width // 3 :]
        size = min(3, inner.shape[0]), min(3, inner.shape[1])
        box = (height // 3, width // 3, height, width)
        np.testing.assert_array_equal(shrink_peaks_of_box(scores, box, *size), shrink_keeping_peaks(inner, *size))
        assert window_of(scores) == whole_window


@pytest.mark.parametrize("shape", [(3001, 130), (2999, 77, 3), (140, 2500)])
def test_a_large_box_is_averaged_in_bands(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Within two grey levels of what averaging the whole gives, and of its size; a box in its place."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = (100 + 50 * np.sin(y / 200) + 30 * np.sin(x / 90)).astype(np.uint8)
    if len(shape) == 3:
        image = np.dstack([image, image, 255 - image])
    expected = shrink(image, 160)
    monkeypatch.setattr(AT_ONCE, 20_000)
    found = shrink_box(image, (0, 0, *shape[:2]), 160)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 3
    padded = np.pad(image, ((5, 3), (2, 9), *[(0, 0)] * (len(shape) - 2)))
    np.testing.assert_array_equal(shrink_box(padded, (5, 2, 5 + shape[0], 2 + shape[1]), 160), found)
