"""Marks that are kept: against a plain dictionary, by two processes at once, in SQLite and in a real PostgreSQL."""

import getpass
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from flawmap.inspect.review.mark_record import MARKS, Box, LookEntry, Mark, MarkEntry, Source
from flawmap.inspect.review.mark_store import DATABASE, MarkStore, open_marks
from flawmap.tiling.errors import UsageError

INITDB = Path("/usr/lib/postgresql/15/bin/initdb")
BOXES: list[Box] = [(0, 0, 5, 5), (0, 0, 5, 6), (10, 20, 30, 40)]


def entry(box: Box, mark: Mark | None, *, run: str = "monday", image: str = "a.png", note: str = "") -> MarkEntry:
    return MarkEntry(
        run=run, image=image, box=box, drawn=False, mark=mark, reviewer="Ann", note=note,
        source=Source(size_bytes=2**40, modified_ns=2**62), region=1, severity=1.25, verdict="NG", bundle_sha256="ab",
    )  # fmt: skip


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server of our own, in a folder of its own, reached by a socket there."""
    if not INITDB.is_file():
        pytest.skip("no PostgreSQL 15 on this machine")
    with tempfile.TemporaryDirectory(prefix="flawmap-pg-") as name:  # a socket's path has 107 bytes at most
        folder = Path(name)
        as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(folder, "nobody", "nogroup")
        user = "nobody" if as_user else getpass.getuser()
        control = [*as_user, str(INITDB.with_name("pg_ctl")), "-D", f"{folder}/data", "-w", "-l", f"{folder}/log"]
        subprocess.run(
            [*as_user, str(INITDB), "-D", f"{folder}/data", "-A", "trust", "-N"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        options = f"-k {folder} -c listen_addresses='' -c fsync=off"
        subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd=folder)
        try:
            yield f"postgresql://{user}@/postgres?host={folder}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd=folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MarkStore]:
    if request.param == "sqlite":
        opened = open_marks(tmp_path)
    else:
        opened = open_marks(tmp_path, request.getfixturevalue("postgresql"))
    yield opened
    opened.close()


@st.composite
def entries(draw: st.DrawFn) -> MarkEntry:
    return entry(
        draw(st.sampled_from(BOXES)),
        draw(st.sampled_from([*MARKS, None])),
        run=draw(st.sampled_from(["monday", "tuesday"])),
        image=draw(st.sampled_from(["a.png", "b.png", "' OR 1=1 --"])),
        note=draw(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(entries(), max_size=25))
def test_the_last_mark_of_a_place_counts(store: MarkStore, added: list[MarkEntry]) -> None:
    """A dictionary says the same; what was there before this example was added by the ones before."""
    expected = {(m.run, m.image, m.box): m for run in ("monday", "tuesday") for m in store.history(run)}
    length = len(store.history("monday")) + len(store.history("tuesday"))
    state = store.state("monday")
    for one in added:
        kept = store.add_mark(one)
        assert (kept.id > 0, kept.at > "2026") == (True, True)
        expected[one.run, one.image, one.box] = kept
    for run in ("monday", "tuesday"):
        of_run = [m for m in expected.values() if m.run == run and m.mark is not None]
        assert store.marks(run) == sorted(of_run, key=lambda m: m.id)
        assert store.marks(run, "a.png") == [m for m in store.marks(run) if m.image == "a.png"]
    assert len(store.history("monday")) + len(store.history("tuesday")) == length + len(added)
    assert (store.state("monday") > state) == any(m.run == "monday" for m in added)


def test_everything_comes_back_after_a_restart(tmp_path: Path) -> None:
    first = open_marks(tmp_path)
    mark = first.add_mark(entry((1, 2, 3, 4), "defect", note="a scratch, perhaps – ünï 裂"))
    look = first.add_look(LookEntry("monday", "a.png", True, "Ann", Source(5, 6)))
    first.close()
    again = open_marks(tmp_path)
    assert again.history("monday") == again.marks("monday") == [mark]
    assert again.looks("monday") == {"a.png": look} and again.looks("tuesday") == {}
    assert again.runs() == ["monday"]
    again.add_look(LookEntry("monday", "a.png", False, "Bob", Source(5, 6)))
    assert again.looks("monday", "a.png")["a.png"].complete is False
    again.close()
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


MARKER = """
import sys
from pathlib import Path
from flawmap.inspect.review.mark_store import open_marks
from tests.test_mark_store import entry
store = open_marks(Path(sys.argv[1]), sys.argv[3] if len(sys.argv) > 3 else None)
for number in range(60):
    store.add_mark(entry((number, 0, number + 1, 1), "defect", run=sys.argv[2]))
    store.add_mark(entry((number, 0, number + 1, 1), "false_alarm", run="both"))
print(len(store.marks(sys.argv[2])))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_mark_at_once(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The tables are made by whichever comes first; nothing is lost, and none is told that the file is busy."""
    url = [] if kind == "sqlite" else [request.getfixturevalue("postgresql")]
    root = Path(__file__).parent.parent
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": root}
    code = [sys.executable, "-c", MARKER, str(tmp_path)]
    started = [subprocess.Popen([*code, name, *url], **pipes) for name in ("one", "two")]
    for process in started:
        said, complaint = process.communicate(timeout=120)
        assert (process.returncode, said.strip()) == (0, "60"), complaint
    store = open_marks(tmp_path, *url)
    assert [len(store.marks(run)) for run in ("one", "two", "both")] == [60, 60, 60]
    assert len(store.history("both")) == 120
    store.close()


def test_tables_of_another_version_are_refused(tmp_path: Path) -> None:
    open_marks(tmp_path).close()
    engine = create_engine(f"sqlite:///{tmp_path / DATABASE}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE review_schema SET version = 2"))
    engine.dispose()
    with pytest.raises(UsageError, match=r"review\.sqlite holds marks in version 2 of the tables.* knows version 1"):
        open_marks(tmp_path)


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ("mysql://localhost/x", r"`--database` \(=mysql://localhost/x\) must be postgresql:// or sqlite://"),
        ("no url", "`--database` is no URL such as postgresql://"),
        ("sqlite:////nowhere/at/all.sqlite", r"cannot be opened in sqlite:////nowhere/at/all\.sqlite: unable to open"),
        (
            "postgresql://ann:secret@127.0.0.1:1/x",
            r"cannot be opened in postgresql\+psycopg://ann:\*\*\*@127\.0\.0\.1:1/x",
        ),
    ],
)
def test_a_database_that_is_none_is_refused(database: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        open_marks(tmp_path, database)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("these are my notes, not a database at all" * 99)
    with pytest.raises(UsageError, match=r"review\.sqlite: file is not a database"):
        open_marks(tmp_path)
    assert (tmp_path / DATABASE).read_text().startswith("these are my notes")
