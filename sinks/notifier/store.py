"""The notifier's own database: SQLite in a file, or PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from schemas.incidents import Delivery, Incident
from sinks.notifier.tables import delivery, incident, position, setting

BUSY_TIMEOUT_MS = 30_000


class StoreUrlError(ValueError):
    """The store's URL is of a kind that the notifier has no driver for."""


class StoreOpenError(ValueError):
    """The store cannot be opened; says which and why, without its password."""


class Store:
    """Opens the database and holds what every part needs: transactions and a few records."""

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = async_url(url)
        if password is not None:
            self._url = self._url.set(password=password)
        self._engine: AsyncEngine | None = None
        self._turns = asyncio.Lock()

    async def open(self) -> None:
        """Connects and brings the schema up to date. Raises StoreOpenError."""
        try:
            await self._open()
        except (OSError, SQLAlchemyError) as error:
            await self.close()
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            where = self._url.render_as_string(hide_password=True)
            raise StoreOpenError(f"notifier.store: {where} cannot be opened: {reason}") from error

    async def _open(self) -> None:
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_async_engine(self._url)
        if self._url.get_backend_name() == "sqlite":
            sa.event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine.sync_engine, "begin", _begin_immediate)
        async with self._engine.begin() as connection:
            await connection.run_sync(_migrate)

    async def close(self) -> None:
        """Closes all connections."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end and rolls back on any error.

        One at a time, since SQLite has one writer and its own waiting is by sleeping. Do not
        cancel a task that is in one: a driver's thread may then keep the database locked.
        """
        if self._engine is None:
            raise RuntimeError("the notifier's store is not open; call start() first")
        async with self._turns, self._engine.begin() as connection:
            yield connection


def async_url(url: str) -> sa.URL:
    """The URL with the driver that we use. Raises StoreUrlError for other databases."""
    made = sa.make_url(url)
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}
    name = made.get_backend_name()
    if name not in drivers:
        raise StoreUrlError(f"notifier.store: {name!r} is not known; use sqlite or postgresql")
    return made.set(drivername=drivers[name])


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # SQLAlchemy, not the driver, says when to begin
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", f"busy_timeout={BUSY_TIMEOUT_MS}", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_immediate(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")  # a later upgrade to writing could be refused


def _migrate(connection: sa.Connection) -> None:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


async def upsert(connection: AsyncConnection, table: sa.Table, values: Mapping[str, Any]) -> None:
    """Writes a row, over the one with the same primary key if there is one."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    insert = dialect.insert(table).values(**values)
    keys = [column.name for column in table.primary_key]
    rest = {name: insert.excluded[name] for name in values if name not in keys}
    await connection.execute(insert.on_conflict_do_update(index_elements=keys, set_=rest))


async def read_positions(connection: AsyncConnection) -> dict[tuple[str, int], int]:
    """The next offset to read by topic and partition."""
    rows = await connection.execute(sa.select(position))
    return {(row.topic, row.partition): row.next_offset for row in rows}


async def write_position(
    connection: AsyncConnection, topic: str, partition: int, next_offset: int
) -> None:
    """Notes the next offset to read."""
    await upsert(
        connection,
        position,
        {"topic": topic, "partition": partition, "next_offset": next_offset},
    )


async def read_incident(connection: AsyncConnection, incident_id: str) -> Incident | None:
    """The latest state of an incident, None if it is not known."""
    row = (
        await connection.execute(
            sa.select(incident.c.state).where(incident.c.incident_id == incident_id)
        )
    ).first()
    return None if row is None else msgspec.json.decode(row.state, type=Incident)


async def read_version(connection: AsyncConnection, incident_id: str) -> int:
    """The version of an incident's latest state, 0 if it is not known."""
    found = await connection.scalar(
        sa.select(incident.c.version).where(incident.c.incident_id == incident_id)
    )
    return int(found or 0)


async def write_incident(connection: AsyncConnection, state: Incident, version: int) -> None:
    """Notes the latest state of an incident."""
    values = {
        "incident_id": state.id,
        "version": version,
        "state": msgspec.json.encode(state),
    }
    await upsert(connection, incident, values)


async def add_deliveries(connection: AsyncConnection, deliveries: Iterable[Delivery]) -> None:
    """Puts delivery records into the outbox, in order."""
    rows = [
        {"incident_id": made.incident_id, "value": msgspec.json.encode(made)} for made in deliveries
    ]
    if rows:
        await connection.execute(delivery.insert(), rows)


async def pending_deliveries(connection: AsyncConnection, limit: int) -> Sequence[sa.Row[Any]]:
    """The oldest delivery records that Kafka has not acknowledged."""
    query = sa.select(delivery).order_by(delivery.c.seq).limit(limit)
    return (await connection.execute(query)).all()


async def drop_deliveries(connection: AsyncConnection, seqs: Sequence[int]) -> None:
    """Forgets delivery records that Kafka has acknowledged."""
    await connection.execute(delivery.delete().where(delivery.c.seq.in_(seqs)))


async def setting_or(connection: AsyncConnection, name: str, otherwise: str) -> str:
    """A kept setting; where there is none, `otherwise` is kept from now on."""
    found = await connection.scalar(sa.select(setting.c.value).where(setting.c.name == name))
    if found is None:
        await connection.execute(setting.insert().values(name=name, value=otherwise))
        return otherwise
    return str(found)
