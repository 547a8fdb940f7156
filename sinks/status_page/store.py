"""The page's own database: public incidents, positions, and when each component appeared."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from sinks.database import Database, Schema, upsert
from sinks.positions import read_positions, take_new
from sinks.sink import Record
from sinks.status_page.incident import PublicIncident

SCHEMA = Schema("status_page", "status_page_alembic_version", Path(__file__).parent / "migrations")

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

_decoder = msgspec.json.Decoder(PublicIncident)


class Transaction:
    """What is written together with the positions; see `Store.transaction`."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def take_new(self, records: Sequence[Record]) -> list[Record]:
        """The records that were not read before, behind which the positions move."""
        return await take_new(self._connection, positions, records)

    async def incident(self, incident_id: str) -> PublicIncident | None:
        """What is known of the incident, also if it is not public."""
        found = await self._connection.scalar(
            sa.select(incidents.c.document).where(incidents.c.id == incident_id)
        )
        return None if found is None else _decoder.decode(found)

    async def save(self, incident: PublicIncident) -> None:
        """Replaces what is known of the incident."""
        values = {
            "id": incident.id,
            "version": incident.version,
            "public": incident.public,
            "opened_ms": incident.opened_ms,
            "resolved_ms": incident.resolved_ms,
            "document": msgspec.json.encode(incident).decode(),
        }
        await upsert(self._connection, incidents, values)


class Store:
    """What the page knows, in SQLite or PostgreSQL. Raises `StoreError` for another URL."""

    def __init__(
        self, url: str, password: str | None = None, database: Database | None = None
    ) -> None:
        self._database = database or Database(SCHEMA, url, password)

    async def open(self) -> None:
        """Connects and brings the schema up to date. Raises `StoreError`."""
        await self._database.migrate()

    async def close(self) -> None:
        """Closes every connection; a second call does nothing."""
        await self._database.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commits when the body ends, rolls back when it raises."""
        async with self._database.writing() as connection:
            yield Transaction(connection)

    async def read_positions(self) -> dict[tuple[str, int], int]:
        """The next offset to read by topic and partition."""
        async with self._database.reading() as connection:
            return await read_positions(connection, positions)

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
        async with self._database.reading() as connection:
            return [_decoder.decode(text) for text in await connection.scalars(query)]

    async def public_incident(self, incident_id: str) -> PublicIncident | None:
        """The incident if it is public, however old."""
        async with self._database.reading() as connection:
            found = await Transaction(connection).incident(incident_id)
        return found if found is not None and found.public else None

    async def register(self, component_ids: Iterable[str], now_ms: int) -> dict[str, int]:
        """Remembers components not seen before; since when each is on the page, by id."""
        async with self._database.writing() as connection:
            rows = await connection.execute(sa.select(components))
            since = {row.id: row.since_ms for row in rows}
            new = [one for one in component_ids if one not in since]
            if new:
                values = [{"id": one, "since_ms": now_ms} for one in new]
                await connection.execute(sa.insert(components), values)
        return since | dict.fromkeys(new, now_ms)
