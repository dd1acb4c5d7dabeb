"""Which pictures have come and are complete: files on a real disk, and a clock that a busy machine cannot disturb."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flawmap.inspect.line.arrivals import AFTER_CLOSING, Arrival, Arrivals, Patience, Stamp
from flawmap.tiling.errors import UsageError

SETTLE, GIVE_UP = 0.5, 10.0
After = Callable[..., list[Arrival]]


class Clock:
    """Stands still but for `pass_by`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def after(clock: Clock) -> Callable[..., list[Arrival]]:
    """What is complete so many seconds later, and was not when the time began to pass."""

    def wait(seconds: float, arrivals: Arrivals) -> list[Arrival]:
        arrivals.look()
        assert take_all(arrivals) == []
        clock.now += seconds
        arrivals.look()
        return take_all(arrivals)

    return wait


def arrivals_in(folder: Path, patience: Patience | None = None, done: dict[str, Stamp] | None = None) -> Arrivals:
    return Arrivals(folder, folder.parent / "run", patience or Patience(SETTLE, GIVE_UP), (done or {}).get)


def take_all(arrivals: Arrivals) -> list[Arrival]:
    taken = []
    while (arrival := arrivals.take()) is not None:
        taken.append(arrival)
    return taken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "camera").mkdir()
    return tmp_path / "camera"


def test_a_picture_is_complete_once_it_stands_still(folder: Path, after: After) -> None:
    arrivals = arrivals_in(folder)
    (folder / "a.png").write_bytes(b"1")
    arrivals.look()
    assert take_all(arrivals) == [] and arrivals.unsettled
    (arrival,) = after(SETTLE, arrivals)
    assert (arrival.image, arrival.path, arrival.last_chance, arrival.again) == (
        "a.png",
        folder / "a.png",
        False,
        False,
    )
    assert arrival.stamp.size_bytes == 1
    assert after(SETTLE, arrivals) == []  # nobody takes it twice, also while it is being inspected
    arrivals.done(arrival, arrival.stamp)
    assert after(SETTLE, arrivals) == [] and not arrivals.unsettled


def test_one_that_grows_is_left_alone(folder: Path, after: After) -> None:
    arrivals = arrivals_in(folder)
    for size in range(1, 12):
        (folder / "a.png").write_bytes(b"x" * size)
        assert after(SETTLE * 0.99, arrivals) == []
    (arrival,) = after(SETTLE, arrivals)
    assert arrival.stamp.size_bytes == 11


def test_a_closed_file_is_taken_soon(folder: Path, after: After) -> None:
    arrivals = arrivals_in(folder, Patience(30.0, 60.0))
    (folder / "a.png").write_bytes(b"1")
    arrivals.look({str(folder / "a.png")})
    assert take_all(arrivals) == []  # who copies a file sets its time after it was closed
    os.utime(folder / "a.png", (1, 1))
    assert after(AFTER_CLOSING, arrivals) == []  # changed since: it is as if it had never been closed
    arrivals.look({str(folder / "a.png")})
    (arrival,) = after(AFTER_CLOSING, arrivals)
    assert arrival.stamp == Stamp(1, 10**9)


def test_one_that_cannot_be_read_gets_a_last_chance(folder: Path, after: After) -> None:
    arrivals = arrivals_in(folder)
    (folder / "a.png").write_bytes(b"half")
    (first,) = after(SETTLE, arrivals)
    arrivals.not_yet(first)
    assert after(GIVE_UP - 2 * SETTLE, arrivals) == []
    (last,) = after(SETTLE, arrivals)
    assert not first.last_chance and last.last_chance


def test_one_that_is_completed_in_the_meantime_is_taken_as_new(folder: Path, after: After) -> None:
    arrivals = arrivals_in(folder)
    (folder / "a.png").write_bytes(b"half")
    (first,) = after(SETTLE, arrivals)
    arrivals.not_yet(first)
    (folder / "a.png").write_bytes(b"the whole")
    (whole,) = after(SETTLE, arrivals)
    assert (whole.stamp.size_bytes, whole.last_chance, whole.again) == (9, False, False)


def test_another_content_under_an_old_name_is_another_picture(folder: Path, after: After) -> None:
    (folder / "a.png").write_bytes(b"1")
    status = (folder / "a.png").stat()
    arrivals = arrivals_in(folder, done={"a.png": Stamp(1, status.st_mtime_ns)})
    assert after(SETTLE, arrivals) == []
    os.utime(folder / "a.png", ns=(0, status.st_mtime_ns + 1))
    (arrival,) = after(SETTLE, arrivals)
    assert arrival.again


@pytest.mark.parametrize("restarted", [False, True])
def test_a_copy_that_gets_its_original_time_late_is_no_other_picture(
    folder: Path, after: After, restarted: bool
) -> None:
    """`cp -p` on a busy machine: the picture was inspected between closing the file and setting its time."""
    (folder / "a.png").write_bytes(b"1")
    arrivals = arrivals_in(folder)
    (arrival,) = after(SETTLE, arrivals)
    arrivals.done(arrival, arrival.stamp)
    os.utime(folder / "a.png", (5, 5))
    if restarted:
        arrivals = arrivals_in(folder, done={"a.png": arrival.stamp})
    assert after(SETTLE, arrivals) == [] and not arrivals.unsettled
    (folder / "a.png").write_bytes(b"22")  # of another size, whatever its time
    os.utime(folder / "a.png", (5, 5))
    (arrival,) = after(SETTLE, arrivals)
    assert arrival.again


@pytest.mark.parametrize("marker", ["a.png.done", "a.done"])
def test_markers(folder: Path, after: After, marker: str) -> None:
    arrivals = arrivals_in(folder, Patience(SETTLE, GIVE_UP, done_marker=True))
    (folder / "a.png").write_bytes(b"1")
    assert after(GIVE_UP, arrivals) == [] and not arrivals.unsettled
    (folder / marker).touch()
    arrivals.look()
    (arrival,) = take_all(arrivals)
    assert arrival.last_chance  # whoever sets a marker has nothing to add


def test_oldest_first_then_by_name(folder: Path, after: After) -> None:
    for name, moment in [("a10.png", 5), ("a9.png", 5), ("z.png", 1), ("b/a.png", 3), ("b/c/new.TIF", 9)]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
        os.utime(folder / name, (moment, moment))
    taken = after(SETTLE, arrivals_in(folder))
    assert [arrival.image for arrival in taken] == ["z.png", "b/a.png", "a9.png", "a10.png", "b/c/new.TIF"]


def test_what_is_no_picture_of_a_camera(folder: Path, after: After) -> None:
    for name in (".hidden.png", "a.png.tmp", "notes.txt", ".trash/a.png", "old_run/overlays/a.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"1")
    (folder / "old_run" / "run.json").touch()
    (folder / "old_run" / "regions").mkdir()
    (folder / "lost.png").symlink_to("nowhere.png")
    assert [arrival.image for arrival in after(SETTLE, arrivals_in(folder))] == ["lost.png"]


def test_a_share_that_is_gone_for_a_while_loses_nothing(folder: Path, after: After) -> None:
    (folder / "a.png").write_bytes(b"1")
    arrivals = arrivals_in(folder)
    (arrival,) = after(SETTLE, arrivals)
    arrivals.done(arrival, arrival.stamp)
    folder.rename(folder.parent / "away")
    arrivals.look()
    assert arrivals.lost == "No such file or directory"
    (folder.parent / "away" / "b.png").write_bytes(b"1")
    (folder.parent / "away").rename(folder)
    assert [arrival.image for arrival in after(SETTLE, arrivals)] == ["b.png"]
    assert arrivals.lost == ""


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"`FOLDER` \(=.*none\) does not exist"):
        arrivals_in(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"`FOLDER` \(=.*file\) must be a folder"):
        arrivals_in(tmp_path / "file")
