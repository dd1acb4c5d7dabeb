import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flawmap.tiling.whole_file import write_text, write_whole

# Text as Python has it from file names too: any character, and bytes that are not UTF-8 as U+DC80..U+DCFF.
texts = st.text(st.characters(codec="utf-8") | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for 256 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@given(text=texts)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_text_is_written_to_the_byte(tmp_path: Path, text: str) -> None:
    file = tmp_path / "text"
    write_text(file, text)
    assert file.read_bytes() == text.encode("utf-8", "surrogateescape")
    assert names(tmp_path) == ["text"]


@given(before=st.none() | st.binary(), after=st.binary(), fails=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_old_file_or_the_new_one_and_nothing_else(
    tmp_path: Path, before: bytes | None, after: bytes, fails: bool
) -> None:
    file = tmp_path / "file.bin"
    file.unlink(missing_ok=True)
    if before is not None:
        file.write_bytes(before)
    try:
        with write_whole(file) as temporary:
            temporary.write_bytes(after)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    expected = before if fails else after
    assert (file.read_bytes() if file.exists() else None) == expected
    assert names(tmp_path) == ([] if expected is None else ["file.bin"])


def test_line_ends_are_left_alone(tmp_path: Path) -> None:
    write_text(tmp_path / "t.csv", "a\r\nb\nc\r")
    assert (tmp_path / "t.csv").read_bytes() == b"a\r\nb\nc\r"


def test_the_old_file_is_whole_while_the_new_one_is_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with write_whole(file) as temporary:
        temporary.write_bytes(b"new")
        assert file.read_bytes() == b"old"
        assert temporary.parent == tmp_path and temporary.name.startswith(".")
    assert file.read_bytes() == b"new"


def test_the_temporary_file_has_the_suffix_for_writers_that_choose_by_it(tmp_path: Path) -> None:
    with write_whole(tmp_path / "curve.PNG") as temporary:
        assert temporary.suffix == ".PNG"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    write_text(tmp_path / "whole", "")
    assert stat.S_IMODE((tmp_path / "whole").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize(
    "name", ["a" * 255, "a." + "b" * 253, "ü" * 127, "検査.csv", ".hidden", "no suffix", os.fsdecode(b"\xff")]
)
def test_any_name_that_the_file_system_takes(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "x")
    assert names(tmp_path) == [name]


def test_a_name_too_long_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"File name too long: .*/a{256}'$"):
        write_text(tmp_path / ("a" * 256), "x")
    assert names(tmp_path) == []


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(IsADirectoryError, match=r"Is a directory: '.*/taken'$"):
        write_text(tmp_path / "taken", "x")
    assert names(tmp_path) == ["taken"]


def test_a_missing_folder_is_named_by_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*/gone/run\.json'$"):
        write_text(tmp_path / "gone" / "run.json", "x")


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert not (tmp_path / "link").is_symlink()
    assert ((tmp_path / "link").read_text(), (tmp_path / "target").read_text()) == ("new", "old")


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), write_whole(tmp_path / "file"):
        (tmp_path / "other").read_bytes()
    assert names(tmp_path) == []


def test_a_block_that_removes_its_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"'.*/file'$"), write_whole(tmp_path / "file") as temporary:
        temporary.unlink()
    assert names(tmp_path) == []


def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    user = os.geteuid()
    os.seteuid(65534 if user == 0 else user)  # root may write everywhere
    try:
        with pytest.raises(PermissionError, match=r"Permission denied: '.*/file'$"):
            write_text(tmp_path / "file", "x")
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)
    assert names(tmp_path) == []


def test_a_read_only_disk(tiny_disk: Path) -> None:
    write_text(tiny_disk / "file", "old")
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    with pytest.raises(OSError, match=r"Read-only file system: '.*/file'$"):
        write_text(tiny_disk / "file", "new")
    assert (tiny_disk / "file").read_text() == "old"
    assert names(tiny_disk) == ["file"]


def test_a_full_disk_keeps_the_old_file(tiny_disk: Path) -> None:
    write_text(tiny_disk / "file", "old")
    with pytest.raises(OSError, match=r"No space left on device: '.*/file'$"):
        write_text(tiny_disk / "file", "x" * 1_000_000)
    assert (tiny_disk / "file").read_text() == "old"
    assert names(tiny_disk) == ["file"]
    write_text(tiny_disk / "file", "room again")
    assert (tiny_disk / "file").read_text() == "room again"
