"""Files of several pages: refused, as pictures of their own, or as the channels of one picture."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import describe, read_image, read_picture
from flawmap.tiling.pages import file_of, mask_name, page_path, pictures_of, split_page
from flawmap.tiling.reading import Reading
from flawmap.tiling.strips.open_rows import picture_size
from tests.image_files import COLOUR, GREY, Array, in_a_shared_folder, sample, saved
from tests.tiff_by_hand import CFA, DEFLATE, LONG, RGB, SHORT, Page, tiff_by_hand

PICTURES, CHANNELS = Reading(pages="pictures"), Reading(pages="channels")
LIGHTS = [sample(37, 41, seed=seed) for seed in range(4)]
SMALLER_COPY, MASK = {254: (LONG, 1)}, {254: (LONG, 4)}


def by_pillow(images: list[Array], **options: Any) -> bytes:
    first, *others = (PIL.Image.fromarray(image) for image in images)
    stream = BytesIO()
    first.save(stream, "tiff", save_all=True, append_images=others, **options)
    return stream.getvalue()


def by_imagej(images: list[Array]) -> bytes:
    stream = BytesIO()
    tifffile.imwrite(stream, np.stack(images), imagej=True, photometric="minisblack")
    return stream.getvalue()


STACKS = {
    "Pillow": by_pillow(LIGHTS),
    "Pillow, LZW": by_pillow(LIGHTS, compression="tiff_lzw"),
    "Pillow, BigTIFF": by_pillow(LIGHTS, big_tiff=True),
    "ImageJ": by_imagej(LIGHTS),
    "by hand": tiff_by_hand(*(Page(light, rows=9) for light in LIGHTS)),
    "by hand, tiles, BigTIFF": tiff_by_hand(*(Page(light, tile=16, compression=DEFLATE) for light in LIGHTS), big=True),
    "by hand, with small copies": tiff_by_hand(
        *(page for light in LIGHTS for page in (Page(light), Page(light[::4, ::4].copy(), tags=SMALLER_COPY)))
    ),
    "by hand, with a mask": tiff_by_hand(*map(Page, LIGHTS), Page(GREY, tags=MASK)),
}  # fmt: skip


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Four pages in one file."""
    path = tmp_path / "stack.tif"
    path.write_bytes(STACKS[request.param])
    return path


def test_one_page_is_needed_unless_the_setting_says_otherwise(stack: Path) -> None:
    with pytest.raises(
        ImageError,
        match=r"a TIFF with 4 pages; one is needed \(`image\.pages`: pictures or channels would take them all\)$",
    ):
        read_image(stack)


def test_every_page_is_a_picture(stack: Path) -> None:
    paths = pictures_of([stack], "pictures")
    assert [path.name for path in paths] == ["stack.tif#1", "stack.tif#2", "stack.tif#3", "stack.tif#4"]
    for path, light in zip(paths, LIGHTS, strict=True):
        image = read_image(path, PICTURES)
        assert image.flags.c_contiguous
        np.testing.assert_array_equal(image, light)


def test_the_size_of_a_page_is_known_before_it_is_read(stack: Path) -> None:
    assert [picture_size(path) for path in pictures_of([stack], "pictures")] == [GREY.shape] * 4


def test_pages_are_channels(stack: Path) -> None:
    image = read_image(stack, CHANNELS)
    assert image.flags.c_contiguous and describe(image) == "4-channel uint8"
    np.testing.assert_array_equal(image, np.stack(LIGHTS, axis=-1))
    assert pictures_of([stack], "channels") == pictures_of([stack], "one") == [stack]


def test_a_page_that_is_not_there(stack: Path) -> None:
    with pytest.raises(ImageError, match=r"stack\.tif#5: no page 5: the TIFF has 4 pages$"):
        read_image(page_path(stack, 5), PICTURES)
    with pytest.raises(ImageError, match=r"stack\.tif: a TIFF with 4 pages: say which one, such as `#1` behind its"):
        read_image(stack, PICTURES)
    with pytest.raises(ImageError, match=r"stack\.tif#1: page 1 was asked for, but `image\.pages` is channels$"):
        read_image(page_path(stack, 1), CHANNELS)


def test_grey_samples_of_one_page_are_channels(tmp_path: Path) -> None:
    samples = np.stack(LIGHTS, axis=-1)
    (tmp_path / "a.tif").write_bytes(tiff_by_hand(Page(samples, tags={338: (SHORT, [0, 0, 0])})))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", CHANNELS), samples)
    with pytest.raises(ImageError, match=r"an image with 4 channels, marked as grey, is not supported"):
        read_image(tmp_path / "a.tif", PICTURES)


def test_12_bits_of_several_lights(tmp_path: Path) -> None:
    lights = [sample(20, 30, dtype="uint16", seed=seed) >> 4 for seed in range(3)]
    (tmp_path / "a.tif").write_bytes(tiff_by_hand(*(Page(light, bits=12) for light in lights)))
    picture = read_picture(tmp_path / "a.tif", CHANNELS)
    assert picture.bits == 12
    np.testing.assert_array_equal(picture.pixels, np.stack(lights, axis=-1))


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        (tiff_by_hand(Page(GREY)), r"a TIFF with 1 page; `image\.pages` \(=channels\) needs 2 or more"),
        (saved(GREY, "png"), r"not a TIFF: `image\.pages` \(=channels\) needs TIFF files of 2 pages or more"),
        (tiff_by_hand(Page(GREY), Page(COLOUR, photometric=RGB)), r"page 2 is RGB; `image\.pages` \(=chan"),
        (tiff_by_hand(Page(COLOUR, photometric=RGB)), r"page 1 is RGB; `image\.pages` \(=channels\)"),
        (tiff_by_hand(Page(GREY), Page(GREY, photometric=CFA)), r"page 2 is raw; `image\.pages` \(=chan"),
        (
            tiff_by_hand(Page(GREY), Page(GREY[:30])),
            r"page 2 is 41x30 px, uint8, page 1 is 41x37 px, uint8; the pages of a stack must be alike",
        ),
        (
            tiff_by_hand(Page(GREY), Page(GREY.astype(np.uint16))),
            r"page 2 is 41x37 px, uint16, page 1 is 41x37 px, uint8; the pages of a stack must be alike",
        ),
        (
            tiff_by_hand(*(Page(GREY.astype(np.uint16), bits=bits) for bits in (12, 10))),
            r"page 2 is 41x37 px, uint16 of 10 bits, page 1 is 41x37 px, uint16 of 12 bits; the pages of",
        ),
        (tiff_by_hand(Page(GREY), Page(GREY, photometric=5)), r"page 2 is of kind SEPARATED; `image\.pages` \(=ch"),
    ],
)  # fmt: skip
def test_pages_that_cannot_be_channels(tmp_path: Path, contents: bytes, reason: str) -> None:
    (tmp_path / "a.tif").write_bytes(contents)
    with pytest.raises(ImageError, match=rf"a\.tif: {reason}"):
        read_image(tmp_path / "a.tif", CHANNELS)


def test_pages_that_differ_are_pictures_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff_by_hand(Page(GREY), Page(COLOUR, photometric=RGB), Page(GREY[:9])))
    found = [read_image(path, PICTURES) for path in pictures_of([tmp_path / "a.tif"], "pictures")]
    for image, expected in zip(found, (GREY, COLOUR, GREY[:9]), strict=True):
        np.testing.assert_array_equal(image, expected)


def test_a_damaged_page_leaves_the_others(tmp_path: Path) -> None:
    contents = bytearray(tiff_by_hand(*(Page(light, compression=DEFLATE) for light in LIGHTS)))
    with tifffile.TiffFile(BytesIO(contents)) as whole:
        third: Any = whole.pages[2]
        start, length = third.dataoffsets[0], third.databytecounts[0]
    contents[start + length // 2 : start + length] = bytes(length - length // 2)
    (tmp_path / "a.tif").write_bytes(contents)
    first, second, third_path, fourth = pictures_of([tmp_path / "a.tif"], "pictures")
    for path, light in ((first, LIGHTS[0]), (second, LIGHTS[1]), (fourth, LIGHTS[3])):
        np.testing.assert_array_equal(read_image(path, PICTURES), light)
    with pytest.raises(ImageError, match=r"a\.tif#3: the TIFF is damaged: "):
        read_image(third_path, PICTURES)
    with pytest.raises(ImageError, match=r"a\.tif: the TIFF is damaged: "):
        read_image(tmp_path / "a.tif", CHANNELS)


@given(cut=st.integers(1, 2000))
@in_a_shared_folder
def test_a_cut_stack_is_never_a_shorter_one(tmp_path: Path, cut: int) -> None:
    contents = STACKS["by hand"]
    (tmp_path / "a.tif").write_bytes(contents[:-cut])
    assert pictures_of([tmp_path / "a.tif"], "pictures") == [tmp_path / "a.tif"]  # read, it says why
    with pytest.raises(ImageError, match=r"a\.tif: the file is cut off"):
        read_image(tmp_path / "a.tif", PICTURES)


def test_files_that_are_no_stacks_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "one.tif").write_bytes(tiff_by_hand(Page(GREY)))
    (tmp_path / "a.png").write_bytes(saved(GREY, "png"))
    (tmp_path / "junk.tif").write_bytes(b"II*\0junk")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "link.tif").symlink_to("gone.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    files = sorted(tmp_path.iterdir())
    assert pictures_of(files, "pictures") == files
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", PICTURES), GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "one.tif", PICTURES), GREY)


def test_only_a_tiff_has_pages(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(saved(GREY, "png"))
    with pytest.raises(ImageError, match=r"a\.tif#2: not a TIFF \(starts with b'\\x89PNG.*\): it has no page 2$"):
        read_image(tmp_path / "a.tif#2", PICTURES)
    with pytest.raises(ImageError, match=r"gone\.tif#2: no such file$"):
        read_image(tmp_path / "gone.tif#2", PICTURES)


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1), page=st.integers(1, 10**6))
@settings(deadline=None, max_examples=50)
def test_names_of_pages_lead_back(name: str, page: int) -> None:
    for suffix in (".tif", ".TIFF"):
        file = Path("folder") / f"{name}{suffix}"
        assert split_page(page_path(file, page)) == (file, page)
        assert file_of(page_path(file, page)) == file
        assert split_page(file) == (file, None)  # whatever stands before its suffix


def test_names_that_are_no_pages() -> None:
    for name in ("a.png#2", "a.tif#0", "a.tif#02", "a.tif#", "a.tif#x", "#3", "a#3.tif"):
        assert split_page(Path(name)) == (Path(name), None)
    assert mask_name(Path("x/stack.tif")) == "stack_mask.png"
    assert mask_name(Path("x/stack.tif#12")) == "stack#12_mask.png"


def test_the_other_pages_are_not_read(tmp_path: Path) -> None:
    """A stack of hundreds of pictures costs a picture's time for each, not the file's."""
    pages = tiff_by_hand(*(Page(sample(200, 200, seed=seed)) for seed in range(30)))
    (tmp_path / "long.tif").write_bytes(pages)
    counter = Path("/proc/self/io")
    start = _bytes_read(counter)
    read_image(tmp_path / "long.tif#17", PICTURES)
    assert _bytes_read(counter) - start < len(pages) / 3


def _bytes_read(counter: Path) -> int:
    if not counter.is_file():
        pytest.skip("this system does not count what a process reads")
    return int(counter.read_text().splitlines()[0].split()[1])
