import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from flawmap.inspect.pipeline import Prepared
from flawmap.inspect.read_ahead import read_ahead, source_of
from flawmap.inspect.run.input_images import InputImage
from flawmap.tiling.errors import ImageError
from flawmap.tiling.images import write_image
from tests.bundles import good_image


class Counted(list[InputImage]):
    """Counts how many entries were drawn, that is: given to a reader."""

    drawn = 0

    def __iter__(self) -> Iterator[InputImage]:
        for entry in super().__iter__():
            self.drawn += 1
            yield entry


@pytest.fixture
def entries(tmp_path: Path) -> Counted:
    paths = [tmp_path / f"part{number}.png" for number in range(9)]
    for number, path in enumerate(paths):
        write_image(path, good_image(20, 30, seed=number))
    return Counted(InputImage(path, path.name, path.name) for path in paths)


@pytest.mark.parametrize("workers", [1, 2, 4, 20])
def test_images_come_in_order_and_not_too_early(entries: Counted, workers: int) -> None:
    earlier: weakref.ref[NDArray] | None = None
    number = -1
    for number, decoded in enumerate(read_ahead(entries, workers)):
        if earlier is not None:
            assert earlier() is None  # the reader keeps nothing that the caller has let go
        assert decoded.error is None and decoded.image is not None
        assert decoded.entry.path.name == f"part{number}.png"
        np.testing.assert_array_equal(decoded.image, good_image(20, 30, seed=number))
        assert decoded.source == source_of(decoded.entry.path) and decoded.milliseconds > 0
        assert entries.drawn == min(number + 1 + workers, 9)  # the caller's, and `workers` more
        earlier = weakref.ref(decoded.image)
        del decoded
    assert number == 8


def test_a_bad_image_comes_in_its_turn(entries: Counted) -> None:
    entries[3].path.write_bytes(b"")
    entries[5].path.unlink()
    found = [(decoded.image is not None, decoded.error) for decoded in read_ahead(entries, 2)]
    assert [there for there, _ in found] == [True, True, True, False, True, False, True, True, True]
    assert isinstance(found[3][1], ImageError) and "0 bytes" in found[3][1].reason
    assert isinstance(found[5][1], ImageError)
    assert source_of(entries[5].path).size_bytes == 0


def test_images_are_prepared_where_they_are_read(entries: Counted) -> None:
    entries[3].path.write_bytes(b"")
    main_thread = threading.get_ident()

    def prepare(number: int, image: NDArray) -> Prepared:
        assert threading.get_ident() != main_thread
        if number == 5:
            raise ImageError("image", "cannot be aligned")
        return Prepared(image, image.shape[:2], None, None, None, {"align": float(number)})

    found = list(read_ahead(entries, 2, prepare))
    for number, decoded in enumerate(found):
        if number in (3, 5):
            assert decoded.prepared is None and isinstance(decoded.error, ImageError)
        else:
            assert decoded.prepared is not None and decoded.error is None
            assert decoded.prepared.image is decoded.image
            assert decoded.prepared.milliseconds == {"align": number}
    assert found[3].image is None and found[5].image is not None  # its size can be told


def test_breaking_off_leaves_no_reader_behind(entries: Counted) -> None:
    reader = read_ahead(entries, 2)
    next(reader)
    reader.close()
    assert entries.drawn == 3


def test_nothing_to_read() -> None:
    assert list(read_ahead([], 3)) == []


def test_a_file_is_written_on_where_it_lies_or_replaced(entries: Counted, tmp_path: Path) -> None:
    """Another content in the same file makes what was read doubtful; another file in its place does not."""
    (decoded,) = read_ahead(entries[:1], 1)
    assert not decoded.changed and not decoded.written_on()
    other = tmp_path / "other.png"
    write_image(other, good_image(20, 30, seed=20))
    other.replace(entries[0].path)
    assert not decoded.written_on()
    (decoded,) = read_ahead(entries[:1], 1)
    with entries[0].path.open("ab") as file:
        file.write(b"more")
    assert decoded.written_on()
    entries[0].path.unlink()
    assert not decoded.written_on()
