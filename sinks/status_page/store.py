"""The page's own database: public incidents, positions, and when each component appeared."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from sinks.status_page.incident import PublicIncident

metadata = sa.MetaData()

incidents = sa.Table(
    "status_page_incidents",
    metadata,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("public", sa.Boolean, nullable=False),
    sa.Column("opened_ms", sa.BigInteger, nullable=False),
    sa.Column("resolved_ms", sa.BigInteger),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index("status_page_incidents_by_end", "public", "resolved_ms"),
)
positions = sa.Table(
    "status_page_positions",
    metadata,
    sa.Column("topic", sa.String(249), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)
components = sa.Table(
    "status_page_components",
    metadata,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
)

_ASYNC_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
}
_decoder = msgspec.json.Decoder(PublicIncident)


class Transaction:
    """What is written together with the positions; see `Store.transaction`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        rows = await self._connection.execute(sa.select(positions))
        return {(row.topic, row.partition): row.next_offset for row in rows}

    async def incident(self, incident_id: str) -> PublicIncident | None:
        """What is known of the incident, also if it is not public."""
        found = await self._connection.scalar(
            sa.select(incidents.c.document).where(incidents.c.id == incident_id)
        )
        return None if found is None else _decoder.decode(found)

    async def save(self, incident: PublicIncident) -> None:
        """Replaces what is known of the incident."""
        values = {
            "version": incident.version,
            "public": incident.public,
            "opened_ms": incident.opened_ms,
            "resolved_ms": incident.resolved_ms,
            "document": msgspec.json.encode(incident).decode(),
        }
        await self._upsert(incidents, {"id": incident.id}, values)

    async def move(self, topic: str, partition: int, next_offset: int) -> None:
        """Records the next offset to read."""
        keys = {"topic": topic, "partition": partition}
        await self._upsert(positions, keys, {"next_offset": next_offset})

    async def _upsert(
        self, table: sa.Table, keys: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        # One writer: update, then insert, is the same on every database.
        match = sa.and_(*(table.c[name] == value for name, value in keys.items()))
        done = await self._connection.execute(sa.update(table).where(match).values(**values))
        if done.rowcount == 0:
            await self._connection.execute(sa.insert(table).values(**keys, **values))


class Store:
    """Opens the database at an SQLAlchemy URL (`sqlite:///…` or `postgresql://…`).

    On PostgreSQL the password comes from `PGPASSWORD` or `~/.pgpass`, as for every client.
    """

    def __init__(self, url: str) -> None:
        self._url = _async_url(url)
        self._engine: AsyncEngine | None = None

    async def open(self) -> None:
        """Connects and brings the schema up to date."""
        self._engine = _engine(self._url)
        async with self._writing.begin() as connection:
            await connection.run_sync(_migrate)

    async def close(self) -> None:
        """Closes every connection; a second call does nothing."""
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    @property
    def _reading(self) -> AsyncEngine:
        if self._engine is None:
            raise RuntimeError("the status page's store is not open; await start() first")
        return self._engine

    @property
    def _writing(self) -> AsyncEngine:
        return self._reading.execution_options(tocsin_write=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits when the body ends, rolls back when it raises."""
        async with self._writing.begin() as connection:
            yield Transaction(connection)

    async def read_positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        async with self._reading.connect() as connection:
            return await Transaction(connection).positions()

    async def public_incidents(self, since_ms: int) -> list[PublicIncident]:
        """Public incidents that were open at or after `since_ms`, newest first."""
        query = (
            sa.select(incidents.c.document)
            .where(
                incidents.c.public,
                sa.or_(incidents.c.resolved_ms.is_(None), incidents.c.resolved_ms >= since_ms),
            )
            .order_by(incidents.c.opened_ms.desc(), incidents.c.id)
        )
        async with self._reading.connect() as connection:
            return [_decoder.decode(text) for text in await connection.scalars(query)]

    async def public_incident(self, incident_id: str) -> PublicIncident | None:
        """The incident if it is public, however old."""
        async with self._reading.connect() as connection:
            found = await Transaction(connection).incident(incident_id)
        return found if found is not None and found.public else None

    async def register(self, component_ids: Iterable[str], now_ms: int) -> dict[str, int]:
        """Remembers components not seen before; since when each is on the page, by id."""
        async with self._writing.begin() as connection:
            rows = await connection.execute(sa.select(components))
            since = {row.id: row.since_ms for row in rows}
            new = [one for one in component_ids if one not in since]
            if new:
                values = [{"id": one, "since_ms": now_ms} for one in new]
                await connection.execute(sa.insert(components), values)
        return since | dict.fromkeys(new, now_ms)


def _async_url(url: str) -> URL:
    parsed = make_url(url)
    return parsed.set(drivername=_ASYNC_DRIVERS.get(parsed.drivername, parsed.drivername))


def _engine(url: URL) -> AsyncEngine:
    if not url.drivername.startswith("sqlite"):
        return create_async_engine(url, pool_pre_ping=True)
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url)
    sa.event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    sa.event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own BEGIN is switched off: it comes too late to guard a read before a write.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "busy_timeout=10000", "synchronous=NORMAL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    write = connection.get_execution_options().get("tocsin_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _migrate(connection: sa.Connection) -> None:
    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
