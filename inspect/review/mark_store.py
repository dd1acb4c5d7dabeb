"""Where marks are kept: a SQLite file beside the runs, or a PostgreSQL database, through SQLAlchemy.

Nothing is ever changed: a new mark is a new row, and the last row of a place counts. Any number of threads and
processes may mark at once. SQLite writes ahead (WAL), so whoever reads never waits for whoever marks; its file must lie
on a disk of this machine (https://sqlite.org/wal.html), several machines share a PostgreSQL.
"""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    create_engine,
    event,
    exists,
    func,
    insert,
    inspect,
    literal,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from flawmap.inspect.review.mark_record import LookEntry, MarkEntry, Source
from flawmap.tiling.errors import UsageError

SCHEMA_VERSION = 1
DATABASE = "review.sqlite"  # in the folder of runs
BUSY_SECONDS = 30  # that one process waits for another to have written
SETTING_UP = 0x666C6177  # PostgreSQL's lock while tables are made

_tables = MetaData()
_schema = Table("review_schema", _tables, Column("version", Integer, primary_key=True, autoincrement=False))
_marks = Table(
    "review_marks",
    _tables,
    Column("id", Integer, primary_key=True),
    Column("run", Text, nullable=False),
    Column("image", Text, nullable=False),
    *(Column(name, Integer, nullable=False) for name in ("x_min", "y_min", "x_max", "y_max")),
    Column("drawn", Boolean, nullable=False),
    Column("mark", Text),
    Column("reviewer", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("source_size_bytes", BigInteger, nullable=False),
    Column("source_modified_ns", BigInteger, nullable=False),
    Column("region", Integer),
    Column("severity", Float),
    Column("verdict", Text, nullable=False),
    Column("bundle_sha256", Text, nullable=False),
    Column("at", Text, nullable=False),
    Index("review_marks_of_image", "run", "image"),
)
_looks = Table(
    "review_looks",
    _tables,
    Column("id", Integer, primary_key=True),
    Column("run", Text, nullable=False),
    Column("image", Text, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("reviewer", Text, nullable=False),
    Column("source_size_bytes", BigInteger, nullable=False),
    Column("source_modified_ns", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
    Index("review_looks_of_image", "run", "image"),
)
_BOX = (_marks.c.x_min, _marks.c.y_min, _marks.c.x_max, _marks.c.y_max)


class MarksUnreachableError(UsageError):
    """The database that was there at the start is not any more."""


def open_marks(runs_dir: Path, database: str | None = None) -> "MarkStore":
    """The marks on the runs in `runs_dir`: in its file DATABASE, or in `database`, a URL of SQLAlchemy's.

    UsageError: no such database, one that cannot be reached or written, or one of another flawmap.
    """
    if database is None:
        return MarkStore(URL.create("sqlite", database=str(runs_dir / DATABASE)))
    try:
        url = make_url(database)
    except ArgumentError as error:
        raise UsageError(
            "`--database` is no URL such as postgresql://user@host/flawmap or sqlite:////data/review.sqlite"
        ) from error
    kind = url.get_backend_name()
    if kind in ("postgresql", "postgres"):  # the driver that the extra `postgres` brings, which SQLAlchemy's own is not
        url = url.set(drivername="postgresql+psycopg")
    elif kind != "sqlite":
        raise UsageError(
            f"`--database` (={url.render_as_string(hide_password=True)}) must be postgresql:// or sqlite://"
        )
    return MarkStore(url)


class MarkStore:
    """All marks of one database."""

    def __init__(self, url: URL) -> None:
        self._name = url.render_as_string(hide_password=True)
        try:
            self._engine = _engine(url)
            self._set_up()
        except NoSuchModuleError as error:
            raise UsageError(f"`--database` (={self._name}): {error}") from error
        except ModuleNotFoundError as error:
            raise UsageError(
                f"`--database` (={self._name}) needs {error.name}: pip install 'flawmap[postgres]'"
            ) from error
        except SQLAlchemyError as error:
            raise UsageError(f"the marks cannot be opened in {self._name}: {_reason(error)}") from error

    def close(self) -> None:
        self._engine.dispose()

    def add_mark(self, mark: MarkEntry) -> MarkEntry:
        """Writes a line of history; returns it with its number and time."""
        values = asdict(mark) | {"at": _now()}
        y0, x0, y1, x1 = values.pop("box")
        values |= {"x_min": x0, "y_min": y0, "x_max": x1, "y_max": y1}
        return replace(mark, at=values["at"], id=self._insert(_marks, values))

    def add_look(self, look: LookEntry) -> LookEntry:
        """The same of a picture that was looked at."""
        values = asdict(look) | {"at": _now()}
        return replace(look, at=values["at"], id=self._insert(_looks, values))

    def marks(self, run: str, image: str | None = None) -> list[MarkEntry]:
        """The marks on a run, or on an image of it, that count, in the order in which they were set."""
        last = select(func.max(_marks.c.id)).where(_marks.c.run == run).group_by(_marks.c.image, *_BOX)
        wanted = select(_marks).where(_marks.c.id.in_(last), _marks.c.mark.is_not(None))
        return [_mark(row) for row in self._rows(_of_image(wanted, _marks, image))]

    def history(self, run: str, image: str | None = None) -> list[MarkEntry]:
        """Every line, marks that were changed or taken back included."""
        wanted = select(_marks).where(_marks.c.run == run)
        return [_mark(row) for row in self._rows(_of_image(wanted, _marks, image))]

    def looks(self, run: str, image: str | None = None) -> dict[str, LookEntry]:
        """By image, the last thing said of it as a whole."""
        wanted = _of_image(select(_looks).where(_looks.c.run == run), _looks, image)
        return {row.image: _look(row) for row in self._rows(wanted)}

    def state(self, run: str) -> tuple[int, int]:
        """Numbers that grow with every mark on a run and every picture of it looked at."""
        with self._connected() as connection:
            newest = [
                connection.scalar(select(func.coalesce(func.max(table.c.id), 0)).where(table.c.run == run))
                for table in (_marks, _looks)
            ]
        return int(newest[0] or 0), int(newest[1] or 0)

    def runs(self) -> list[str]:
        """Those with a mark or a look, by name."""
        return sorted({row.run for table in (_marks, _looks) for row in self._rows(select(table.c.run).distinct())})

    def _insert(self, table: Table, values: dict[str, Any]) -> int:
        source, _ = values.pop("source"), values.pop("id")
        values |= {f"source_{name}": value for name, value in source.items()}
        with self._connected() as connection:
            return int(connection.scalar(insert(table).values(**values).returning(table.c.id)) or 0)

    def _rows(self, wanted: Select[Any]) -> Sequence[Row[Any]]:
        with self._connected() as connection:
            return connection.execute(wanted).all()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """One transaction; MarksUnreachableError where the database does not answer."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise MarksUnreachableError(f"the marks in {self._name} cannot be reached: {_reason(error)}") from error

    def _set_up(self) -> None:
        """Makes the tables of an empty database; UsageError for those of another version."""
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                connection.execute(select(func.pg_advisory_xact_lock(SETTING_UP)))
            if not inspect(connection).has_table(_schema.name):
                for table in (_marks, _looks, _schema):  # that one last: whoever finds it finds all of them
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
            # In one statement: SQLite lets another process in between two.
            none_yet = select(literal(SCHEMA_VERSION)).where(~exists(select(_schema.c.version)))
            connection.execute(insert(_schema).from_select(["version"], none_yet))
            found = connection.scalar(select(_schema.c.version))
        if found != SCHEMA_VERSION:
            raise UsageError(
                f"{self._name} holds marks in version {found} of the tables, this flawmap knows version "
                f"{SCHEMA_VERSION}: use the flawmap that wrote them, or give another `--database`"
            )


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)  # a server that was restarted meanwhile
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def write_ahead(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000}")
        _switch_to_wal(cursor)
        cursor.execute("PRAGMA synchronous = FULL")  # a mark that was answered for is on the disk
        cursor.close()

    return engine


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Waits for another process that does the same: SQLite's own patience does not cover this one statement."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return


def _of_image(wanted: Select[Any], table: Table, image: str | None) -> Select[Any]:
    return (wanted if image is None else wanted.where(table.c.image == image)).order_by(table.c.id)


def _mark(row: Row[Any]) -> MarkEntry:
    return MarkEntry(
        run=row.run,
        image=row.image,
        box=(row.y_min, row.x_min, row.y_max, row.x_max),
        drawn=row.drawn,
        mark=row.mark,
        reviewer=row.reviewer,
        note=row.note,
        source=Source(row.source_size_bytes, row.source_modified_ns),
        region=row.region,
        severity=row.severity,
        verdict=row.verdict,
        bundle_sha256=row.bundle_sha256,
        at=row.at,
        id=row.id,
    )


def _look(row: Row[Any]) -> LookEntry:
    source = Source(row.source_size_bytes, row.source_modified_ns)
    return LookEntry(row.run, row.image, row.complete, row.reviewer, source, row.at, row.id)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _reason(error: SQLAlchemyError) -> str:
    """In one line, without SQL."""
    text = str(error.orig) if isinstance(error, DBAPIError) and error.orig is not None else str(error)
    return " ".join(text.split())
