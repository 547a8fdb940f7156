"""Opens SQLite or PostgreSQL and brings the schema up to date."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql.schema import Table

DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
WRITER_LOCK = 0x746F6373696E  # "tocsin"; PostgreSQL's advisory lock of whoever writes cases


class StoreError(ValueError):
    """The store cannot be opened as configured; the message says how to mend it."""


class Database:
    """One store. Writers exclude one another, so that case numbers have neither gaps nor twins.

    Parameters
    ----------
    url
        SQLAlchemy URL, `sqlite:///path` or `postgresql://user@host/name`; the driver is ours.
    password
        Put into the URL, which itself holds none.

    Raises `StoreError` for a URL that is neither.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        self.url = _url(url, password)
        self.dialect = self.url.get_backend_name()
        self._engine = self._open(foreign_keys=True)

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
        if self.dialect == "sqlite":
            _make_folder(self.url)
        # Batch migrations of SQLite drop and rename tables, which foreign keys would forbid.
        engine = self._open(foreign_keys=False)
        try:
            async with self._write(engine) as connection:
                await connection.run_sync(_upgrade)
        except OperationalError as error:
            raise StoreError(
                f"case_store.store: cannot open {self.url.render_as_string()}: {error.orig}"
            ) from error
        finally:
            await engine.dispose()

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
        async with self._write(self._engine) as connection:
            yield connection

    @asynccontextmanager
    async def _write(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as connection:
            await connection.execution_options(immediate=True)
            async with connection.begin():
                if self.dialect == "postgresql":
                    await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")
                yield connection

    def insert(self, table: Table) -> "sqlite.Insert | postgresql.Insert":
        """An INSERT that knows ON CONFLICT; both dialects write it alike."""
        return sqlite.insert(table) if self.dialect == "sqlite" else postgresql.insert(table)

    async def close(self) -> None:
        """Closes every connection."""
        await self._engine.dispose()


def _url(text: str, password: str | None) -> URL:
    try:
        url = make_url(text)
        driver = DRIVERS[url.get_backend_name()]
    except (ArgumentError, KeyError):
        raise StoreError(
            f"case_store.store: {text!r} is no store that is known; "
            "write sqlite:///path/to/file or postgresql://user@host/database"
        ) from None
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise StoreError("case_store.store: SQLite needs a file: write sqlite:///path/to/file")
    url = url.set(drivername=driver)
    return url.set(password=password) if password is not None else url


def _make_folder(url: URL) -> None:
    folder = Path(url.database or "").parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"case_store.store: cannot make the folder {folder}: {error}") from error


def _prepare_sqlite(engine: AsyncEngine, *, foreign_keys: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # BEGIN is ours to say, see below
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout = 5000")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begun(connection: Connection) -> None:
        # A writer takes the lock at once: one that reads first and then writes could fail midway.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _upgrade(connection: Connection) -> None:
    configuration = Config()
    folder = str(Path(__file__).parent / "migrations")
    configuration.set_main_option("script_location", folder.replace("%", "%%"))
    configuration.attributes["connection"] = connection
    try:
        command.upgrade(configuration, "head")
    except CommandError as error:
        raise StoreError(
            f"case_store.store: its schema is not one that this version knows ({error}); "
            "was it written by a newer tocsin? Run that version, or restore an older backup"
        ) from error
