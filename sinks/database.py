"""One SQLite file or PostgreSQL database of a sink: opened, brought up to date, written in turn."""

import asyncio
import sqlite3
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.schema import Table

from sinks.drivers import DRIVERS
from sinks.drivers import StoreError as StoreError  # noqa: PLC0414 - known here, too

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process to let go of an SQLite file."""
SWITCH_TRIES = 100
SWITCH_PAUSE_SECONDS = 0.02
WRITER_LOCK = 0x746F6373 << 32  # "tocs"; the lower half tells the sinks of one database apart
ENVIRONMENT = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Schema:
    """Whose tables a database holds.

    Parameters
    ----------
    section
        The section of the configuration whose `store` it is; errors name it.
    version_table
        Where Alembic notes how far the migrations are; another for each sink of one database.
    migrations
        The folder of the migrations.
    """

    section: str
    version_table: str
    migrations: Path


class Database:
    """One store. Writers exclude one another, in this process and among processes.

    Do not cancel a task that is in a transaction: the driver's thread may then keep SQLite locked.

    Parameters
    ----------
    url
        SQLAlchemy URL, `sqlite:///path` or `postgresql://user@host/name`; the driver is ours.
    password
        Put into the URL, which itself holds none. PostgreSQL else takes `PGPASSWORD` or
        `~/.pgpass`, as every client of it does.

    Raises `StoreError` for a URL that is neither.
    """

    def __init__(self, schema: Schema, url: str, password: str | None = None) -> None:
        self._schema = schema
        self._key = f"{schema.section}.store"
        self.url = _url(self._key, url, password)
        self.dialect = self.url.get_backend_name()
        self._lock = WRITER_LOCK | zlib.crc32(schema.section.encode())
        self._engine = self._open(foreign_keys=True)
        self._turn = asyncio.Lock()

    def _open(self, *, foreign_keys: bool) -> AsyncEngine:
        if self.dialect == "sqlite":
            engine = create_async_engine(self.url)
            _prepare_sqlite(engine, foreign_keys=foreign_keys)
            return engine
        return create_async_engine(self.url, pool_pre_ping=True)

    async def migrate(self) -> None:
        """Runs the migrations that are missing, all in one transaction.

        Raises `StoreError` if it cannot be opened or was written by a newer version.
        """
        # Batch migrations of SQLite drop and rename tables, which foreign keys would forbid.
        engine = self._open(foreign_keys=False)
        try:
            if self.dialect == "sqlite":
                Path(self.url.database or "").parent.mkdir(parents=True, exist_ok=True)
            async with self._write(engine) as connection:
                await connection.run_sync(self._upgrade)
        except (OSError, SQLAlchemyError) as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            where = self.url.render_as_string(hide_password=True)
            raise StoreError(f"{self._key}: {where} cannot be opened: {reason}") from error
        finally:
            await engine.dispose()

    def _upgrade(self, connection: Connection) -> None:
        configuration = Config()
        for option, folder in (
            ("script_location", ENVIRONMENT),
            ("version_locations", self._schema.migrations),
        ):
            configuration.set_main_option(option, str(folder).replace("%", "%%"))
        configuration.set_main_option("path_separator", "newline")
        configuration.attributes["connection"] = connection
        configuration.attributes["version_table"] = self._schema.version_table
        try:
            command.upgrade(configuration, "head")
        except CommandError as error:
            raise StoreError(
                f"{self._key}: its schema is not one that this version knows ({error}); "
                "was it written by a newer tocsin? Run that version, or restore an older backup"
            ) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads: one consistent view, holding up no writer."""
        async with self._engine.connect() as connection:
            if self.dialect == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that excludes other writers; all of it is written or nothing."""
        # In this process they wait in a row, since SQLite's own waiting is by sleeping.
        async with self._turn, self._write(self._engine) as connection:
            yield connection

    @asynccontextmanager
    async def _write(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as connection:
            await connection.execution_options(immediate=True)
            async with connection.begin():
                if self.dialect == "postgresql":
                    await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({self._lock})")
                yield connection

    async def close(self) -> None:
        """Closes every connection; a second call does nothing."""
        await self._engine.dispose()


def insert(connection: AsyncConnection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """An INSERT that knows ON CONFLICT; both dialects write it alike."""
    is_sqlite = connection.dialect.name == "sqlite"
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


async def upsert(connection: AsyncConnection, table: Table, values: Mapping[str, Any]) -> None:
    """Writes a row, over the one with the same primary key if there is one."""
    statement = insert(connection, table).values(**values)
    keys = [column.name for column in table.primary_key]
    rest = {name: statement.excluded[name] for name in values if name not in keys}
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))


def _url(key: str, text: str, password: str | None) -> URL:
    try:
        url = make_url(text)
        url = url.set(drivername=DRIVERS[url.get_backend_name()])
    except (ArgumentError, KeyError):
        raise StoreError(
            f"{key}: is no store that is known; "
            "write sqlite:///path/to/file or postgresql://user@host/database"
        ) from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreError(f"{key}: SQLite needs a file: write sqlite:///path/to/file")
    return url.set(password=password) if password is not None else url


def _use_write_ahead_log(cursor: Any) -> None:
    """Of several that switch a new file at once, SQLite refuses all but one without waiting."""
    for left in reversed(range(SWITCH_TRIES)):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if not left:
                raise
            time.sleep(SWITCH_PAUSE_SECONDS)


def _prepare_sqlite(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # BEGIN is ours to say, see below
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        _use_write_ahead_log(cursor)
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        # A writer takes the lock at once: one that reads first and then writes could fail midway.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
