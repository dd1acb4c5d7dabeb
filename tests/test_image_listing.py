import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.tiling.errors import UsageError
from flawmap.tiling.images import list_images
from tests.image_files import another_user, open_folder


def touch(folder: Path, *files: str) -> None:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def listed(folder: Path) -> list[str]:
    return [image.relative_to(folder).as_posix() for image in list_images(folder)]


def test_natural_order(tmp_path: Path) -> None:
    ordered = ["a1.png", "a2.PNG", "a10.jpg", "A11.tif", "a012.png", "b.jpeg", "b2/1.bmp", "b10/1.tiff", "ä.png"]
    touch(tmp_path, *reversed(ordered))
    assert listed(tmp_path) == ordered


@given(numbers=st.sets(st.integers(0, 10**30), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_numbers_are_ordered_by_value(numbers: set[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), *(f"part {number}.png" for number in numbers))
        assert listed(Path(folder)) == [f"part {number}.png" for number in sorted(numbers)]


@given(stems=st.sets(st.text("aA0129 _-é", min_size=1, max_size=6), min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_every_image_is_listed_once(stems: set[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        touch(Path(folder), *(f"{stem}.png" for stem in stems))
        assert sorted(listed(Path(folder))) == sorted(f"{stem}.png" for stem in stems)
        assert listed(Path(folder)) == listed(Path(folder))


def test_what_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".b.png", ".cache/c.png", "d.txt", "png", "e.png.tmp", "f.webp", "folder.png/g.png")
    (tmp_path / "dangling.png").symlink_to("gone")
    assert listed(tmp_path) == ["a.png", "dangling.png", "folder.png/g.png"]


def test_links_to_folders_are_followed_but_not_in_a_ring(tmp_path: Path) -> None:
    touch(tmp_path, "shots/a.png", "other/b.png")
    (tmp_path / "shots" / "again").symlink_to(tmp_path / "shots")
    (tmp_path / "shots" / "more").symlink_to(tmp_path / "other")
    assert listed(tmp_path / "shots") == ["a.png", "more/b.png"]


def test_folders_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the image folder `.*/gone` does not exist"):
        list_images(tmp_path / "gone")
    touch(tmp_path, "notes.txt")
    with pytest.raises(UsageError, match=r"the image folder `.*/notes\.txt` is not a folder"):
        list_images(tmp_path / "notes.txt")
    with pytest.raises(UsageError, match=r"no image in the folder `.*` \(looked for \.png, \.bmp, \.jpg, \.jpeg,"):
        list_images(tmp_path)


@pytest.mark.parametrize("mode", [0, 0o444])  # with the second its names can be read, but not what they stand for
def test_a_closed_folder_is_not_passed_over(mode: int) -> None:
    with open_folder() as folder:
        touch(folder, "a.png", "closed/inner/b.png")
        (folder / "closed").chmod(mode)
        try:
            with another_user():
                for place in (folder, folder / "closed" / "inner"):
                    with pytest.raises(UsageError, match=r"the image folder `.*` cannot be read: Permission denied"):
                        list_images(place)
        finally:
            (folder / "closed").chmod(0o755)
